"""Unordered elements: what is refused, outputs of another length, conditions, masks and what stands under them."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import aeframe
from aeframe import registry
from aeframe.cli.main import main as cli
from aeframe.data.modality import Modality
from aeframe.errors import AeframeError
from aeframe.experiment.checks import check
from aeframe.experiment.compose import compose
from aeframe.experiment.main import main as train
from aeframe.model.autoencoder import append_condition, shape_with_condition
from aeframe.model_store.trained_model import TrainedModel
from aeframe.testing.options import SuiteOptions
from aeframe.testing.suite_runner import SuiteRunner
from aeframe.types import Batch, DataSpec, Domain

torch.set_num_threads(1)
PLUGIN = Path(__file__).parent / "clouds_plugin.py"
QUICK = ["data=shells", "max_epochs=1", "batch_size=8", "trainer.accelerator=cpu"]


@pytest.fixture(scope="module", autouse=True)
def clouds(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AEFRAME_PLUGIN_FILES", str(PLUGIN))
        patch.setenv("AEFRAME_DISABLE", "")
        patch.chdir(tmp_path_factory.mktemp("clouds"))
        registry.reset()
        yield
    registry.reset()


@pytest.fixture(scope="module")
def run(clouds: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "run"
    arguments = ["model=vae", *QUICK, "corruption=drop_points", "label_classes=3", "latent.dim=2", f"folder={folder}"]
    assert train(arguments) == 0
    return folder


@pytest.fixture(scope="module")
def trained(run: Path) -> TrainedModel:
    return aeframe.load(run)


def samples() -> Batch:
    source = (
        registry.registry().load("modality", "cloud")().apply(registry.registry().load("dataset", "shells")().load())
    )
    return source.test.batch(torch.arange(4))


def checked(*overrides: str) -> DataSpec:
    return check(compose([*QUICK, *overrides]))[2]


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            ("model=ae", "loss=mse"),
            "loss 'mse' compares each element of x with the one of the reconstruction at the same position, and the "
            "elements of modality 'cloud' have no order; choose loss=chamfer",
        ),
        (
            ("model=wae_mmd",),
            "loss 'mse' compares each element of x with the one of the reconstruction at the same position, and the "
            "elements of modality 'cloud' have no order; choose loss=chamfer",
        ),
        (
            ("model=vae", "loss=gaussian"),
            "loss 'gaussian' compares each element of x with the one of the reconstruction at the same position, and "
            "the elements of modality 'cloud' have no order; choose loss=chamfer",
        ),
        (
            ("model=ae", "metrics.mse={}"),
            "metric 'mse' compares elements by their position, and the elements of modality 'cloud' have no order; "
            "leave out metrics.mse",
        ),
    ],
)
def test_parts_that_compare_by_position_are_refused(overrides: tuple[str, ...], message: str) -> None:
    with pytest.raises(AeframeError) as caught:
        checked(*overrides)
    assert str(caught.value) == message


def test_a_corruption_of_positions_is_refused_and_noise_is_not() -> None:
    with pytest.raises(AeframeError, match=r"corruption 'masking' chooses elements by their position, and the elem.*"):
        checked("model=ae", "corruption=masking")
    checked("model=ae", "corruption=gaussian")
    checked("model=ae", "metrics.mse=null")


def test_every_built_in_loss_compares_by_position() -> None:
    known = registry.registry()
    by_position = {name: known.load("loss", name).by_position for name in known.names("loss")}
    assert {name for name, value in by_position.items() if not value} == {"chamfer"}


def test_another_number_of_elements_needs_a_loss_that_accepts_it(monkeypatch: pytest.MonkeyPatch) -> None:
    checked("model=ae", "decoder.points=5")
    monkeypatch.setattr(registry.registry().load("loss", "chamfer"), "any_length", False)
    with pytest.raises(AeframeError) as caught:
        checked("model=ae", "decoder.points=5")
    assert str(caught.value) == (
        "decoder 'points' returns shape (1, 5, 3) for each sample, expected (1, 12, 3); correct it, or choose another "
        "decoder, or a loss that accepts any number of elements"
    )
    checked("model=ae", "decoder.points=0")


def test_a_run_has_the_metrics_of_sets_only(run: Path) -> None:
    names = {line.split(",")[3] for line in (run / "metrics.csv").read_text(encoding="utf-8").splitlines()[1:]}
    assert "coverage" in names
    assert not names & {"mse", "mae", "r2"}
    assert (run / "pictures" / "reconstructions.png").stat().st_size > 0


def test_samples_of_another_length_pass_through_every_method(trained: TrainedModel) -> None:
    batch, condition = samples(), torch.eye(3)[:1].expand(4, 3)
    x_hat = trained.reconstruct(batch, condition=condition)
    assert x_hat.shape == (4, 7, 3)
    assert trained.sample(4, condition=0, seed=0).shape == (4, 7, 3)
    assert trained.interpolate(batch, batch.rows(torch.tensor([1, 2, 3, 0])), 3, condition=0).shape == (4, 3, 7, 3)
    # Fewer points than in training are padded, and the padding is masked.
    codes = trained.encode(x_hat, condition=condition)
    padded = torch.cat([x_hat, torch.full((4, 5, 3), torch.nan)], 1)
    torch.testing.assert_close(trained.encode(padded, condition=condition, mask=~padded.isnan().any(-1)), codes)
    assert trained.score(x_hat, condition=condition).shape == (4,)


def test_a_mask_can_be_passed_with_a_tensor(trained: TrainedModel) -> None:
    batch, condition = samples(), torch.eye(3)[:1].expand(4, 3)
    x, mask = batch.nan_masked_x(), batch.mask
    assert mask is not None
    assert not bool(mask.all())
    for method in (trained.encode, trained.reconstruct, trained.score):
        torch.testing.assert_close(method(x, condition=condition, mask=mask), method(batch, condition=condition))
        assert torch.equal(
            method(x.numpy(), condition=condition, mask=mask.numpy()), method(batch, condition=condition)
        )
    assert torch.equal(
        trained.posterior(x, condition=condition, mask=mask).mean, trained.encode(batch, condition=condition)
    )
    with pytest.raises(AeframeError, match=r"sample 0 has others \(from nan to nan\); pass mask=~x.isnan\(\) if they"):
        trained.encode(x, condition=condition)
    with pytest.raises(AeframeError) as caught:
        trained.encode(x, condition=condition, mask=mask[:, :3])
    assert str(caught.value) == (
        "model 'vae' expects a mask of truth values, True where x is valid, of the shape of x (4, 12, 3) or of its "
        "leading dimensions, found torch.bool of shape (4, 3)"
    )
    with pytest.raises(AeframeError, match=r"found torch.float32 of shape \(4, 12\)"):
        trained.encode(x, condition=condition, mask=mask.float())


def test_the_commands_take_other_lengths_and_masks(run: Path, tmp_path: Path) -> None:
    file = tmp_path / "clouds.npy"
    np.save(file, samples().nan_masked_x().numpy())
    assert cli(["reconstruct", str(run), str(file), "--label", "0", "-o", str(tmp_path / "again.npy")]) == 0
    assert np.load(tmp_path / "again.npy").shape == (4, 7, 3)
    assert cli(["generate", str(run), "-n", "3", "--label", "1", "-o", str(tmp_path / "new.npy")]) == 0
    assert np.load(tmp_path / "new.npy").shape == (3, 7, 3)
    assert cli(["encode", str(run), str(tmp_path / "new.npy"), "--label", "1", "-o", str(tmp_path / "z.npz")]) == 0


# -- the condition -----------------------------------------------------------------------------------------------


def test_the_condition_of_a_set_is_appended_to_each_element(trained: TrainedModel) -> None:
    assert trained.spec.encoder_condition_axis == 1
    assert trained.model.encoder.layers[0].in_features == 6
    batch = samples()
    codes = [trained.encode(batch, condition=label) for label in (0, 1)]
    assert not torch.allclose(*codes)


def test_the_axis_of_the_condition() -> None:
    assert DataSpec((1, 8, 8), Domain("unit"), condition=2).encoder_condition_axis == 0
    assert DataSpec((8, 3), Domain("real"), condition=2, unordered=True).encoder_condition_axis == 1
    assert DataSpec((4, 5, 6), Domain("real"), condition_axis=-2).encoder_condition_axis == 1
    with pytest.raises(AeframeError, match="needs condition_axis in \\[-2, 1\\], found 2"):
        _ = DataSpec((4, 5), Domain("real"), condition_axis=2).encoder_condition_axis
    with pytest.raises(AeframeError, match="set condition_encoder=false"):
        _ = DataSpec((8,), Domain("real"), condition=2, unordered=True).encoder_condition_axis


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_append_condition_along_each_axis(axis: int) -> None:
    value, condition = torch.zeros(2, 3, 4, 5), torch.tensor([[1.0, 2.0], [3.0, 4.0]])
    found = append_condition(value, condition, axis)
    assert found.shape == (2, *shape_with_condition((3, 4, 5), 2, axis))
    appended = found.tensor_split([value.shape[axis + 1]], axis + 1)[1]
    assert (appended.movedim(axis + 1, 1).flatten(2) == condition.unsqueeze(-1)).all()


def test_a_spec_keeps_what_it_says_of_sets() -> None:
    spec = DataSpec((8, 3), Domain("real"), unordered=True, condition_axis=1)
    assert DataSpec.from_dict(spec.to_dict()) == spec
    assert "unordered" not in DataSpec((8,), Domain("real")).to_dict()


def test_the_vamp_prior_takes_the_condition_along_its_axis() -> None:
    checked("model=vae", "prior=vamp", "prior.components=3", "label_classes=3")


# -- what stands under a mask ------------------------------------------------------------------------------------


def test_masked_values_are_nan_outside_of_networks() -> None:
    mask = torch.tensor([[True, False]])
    batch = Batch(torch.tensor([[[1.0, 2.0], [3.0, 4.0]]]), mask=mask)
    assert batch.masked_x().tolist() == [[[1, 2], [0, 0]]]
    assert batch.nan_masked_x()[0, 0].tolist() == [1, 2]
    assert batch.nan_masked_x()[0, 1].isnan().all()
    integers = Batch(torch.tensor([[1, 2]]), mask=mask)
    assert integers.nan_masked_x() is integers.x


def test_render_receives_nan_where_points_are_masked(
    run: Path, trained: TrainedModel, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from aeframe.evaluation.report import pictures

    panels: dict[str, Any] = {}
    render = type(trained.modality).render

    def recorded(modality: Modality, given: dict[str, torch.Tensor]) -> Any:
        panels.update(given)
        return render(modality, given)

    monkeypatch.setattr(type(trained.modality), "render", recorded)
    batch = samples()
    batch.condition = torch.eye(3)[torch.arange(4) % 3]
    pictures.draw_pictures(tmp_path, trained.model, trained.modality, batch, trained.sampler, seed=0, measurements=[])
    hidden = {title: int(x.isnan().any(-1).sum()) for title, x in panels.items()}
    assert batch.mask is not None
    assert hidden["original"] == int((~batch.mask).sum()) > 0
    assert hidden["input of the encoder"] > hidden["original"]
    assert hidden["reconstruction"] == hidden["samples"] == 0


# -- the suite, and what users see -------------------------------------------------------------------------------


def test_config_why_names_the_modality_under_a_recipe(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli(["config", "why", "loss", "model=wae_mmd", "data=shells"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[1:4] == [
        "  set by    model=wae_mmd (aeframe.conf/model/wae_mmd.yaml)",
        "  overrides modality 'cloud' (clouds:Clouds), value chamfer",
        "  overrides aeframe.conf/train.yaml, value mse",
    ]


def test_a_plugin_of_sets_passes_the_conformance_suite() -> None:
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    slow = dict.fromkeys(("exact resume", "two processes"), "tested with other parts")
    outcomes = SuiteRunner(SuiteOptions("clouds_plugin", not_applicable=slow)).outcomes()
    assert [
        (outcome.part, outcome.check.name, outcome.message) for outcome in outcomes if outcome.state == "failed"
    ] == []
    passed = {(outcome.part, outcome.check.name) for outcome in outcomes if outcome.state == "ok"}
    # None of these is passed by only not being applicable.
    assert {
        ("loss=chamfer", "order of the elements"),
        ("loss=chamfer", "loss of padding"),
        ("loss=chamfer", "minimum at the data"),
        ("encoder=pointnet", "padding length"),
        ("encoder=pointnet", "condition"),
        ("metric=coverage", "metric of padding"),
        ("modality=cloud", "masked samples"),
        ("dataset=shells", "repeatable data"),
    } <= passed
