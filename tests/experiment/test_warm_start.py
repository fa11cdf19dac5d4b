"""Runs that start from trained weights, and runs with frozen parts: from Python, from the command line, and resumed."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

import aeframe
from aeframe import registry
from aeframe.errors import AeframeError
from aeframe.experiment.main import main
from aeframe.runs.folder import RunFolder
from aeframe.training.module import AutoencoderModule

SMALL: dict[str, Any] = {
    "data": "breast_cancer",
    "encoder": {"hidden": [8]},
    "max_epochs": 1,
    "batch_size": 128,
    "pictures": False,
    "trainer": {"threads": 1, "accelerator": "cpu"},
}
WORDS = ["data=breast_cancer", "encoder.hidden=[8]", "max_epochs=1", "batch_size=128", "pictures=false"]


def fit(folder: Path | str, model: str = "vae", **settings: Any) -> RunFolder:
    merged = {**SMALL, "model": model, "latent": {"dim": 3}, **settings}
    return RunFolder(aeframe.fit(folder=str(folder), **merged).folder)


def weights(run: RunFolder) -> dict[str, Tensor]:
    return load_file(run.model / "model.safetensors")


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    registry.reset()
    return fit(tmp_path_factory.mktemp("source") / "first")


@pytest.mark.parametrize("saved_model", [False, True])
def test_a_frozen_encoder_keeps_the_weights_of_the_source(
    source: RunFolder, saved_model: bool, capfd: pytest.CaptureFixture[str]
) -> None:
    path = source.model if saved_model else source.path
    run = fit("second", init=path, init_parts=["encoder", "decoder"], freeze=["encoder"], ema=0.9)
    before, after = weights(source), weights(run)
    encoder = [name for name in after if name.startswith("model.encoder.")]
    assert encoder
    assert all(torch.equal(after[name], before[name]) for name in encoder)
    assert not torch.equal(after["model.decoder.last.weight"], before["model.decoder.last.weight"])
    printed = capfd.readouterr().err
    assert f"note: init took 6 tensors of '{path}' (encoder, decoder), skipped 2 (latent.head" in printed
    assert "176 parameters, frozen" not in printed
    assert "248 parameters, frozen" in printed
    assert "eval mode" not in printed
    listed = (run.path / "init.txt").read_text(encoding="utf-8")
    assert "taken: encoder.layers.0.weight\n" in listed
    assert "skipped: latent.head.linear.weight: other part\n" in listed


def test_weights_that_are_not_taken_are_those_of_the_seed_and_the_data_keep_their_order(source: RunFolder) -> None:
    settings = {**SMALL, "model": "vae", "latent": {"dim": 5}, "seed": 7}
    plain, plain_data = aeframe.build(**settings)
    warm, warm_data = aeframe.build(**settings, init=source.path, init_parts=["encoder", "latent"])
    stored, initial = weights(source), plain.model.state_dict()
    for name, tensor in warm.model.state_dict().items():
        if name.startswith("encoder."):
            assert torch.equal(tensor, stored[f"model.{name}"])
        elif name.startswith("decoder."):
            assert torch.equal(tensor, initial[name])
    bias = warm.model.latent.head.linear.bias
    assert torch.equal(bias[:3], stored["model.latent.head.linear.bias"][:3])
    assert torch.equal(bias[5:8], stored["model.latent.head.linear.bias"][3:])
    assert torch.equal(bias[3:5], initial["latent.head.linear.bias"][3:5])
    for data in (plain_data, warm_data):
        data.setup("fit")
    batches = zip(plain_data.train_dataloader(), warm_data.train_dataloader(), strict=True)
    assert all(torch.equal(one.x, other.x) for one, other in batches)


def test_another_recipe_starts_from_the_weights_that_fit(source: RunFolder) -> None:
    module, _ = aeframe.build(**SMALL, model="ae", latent={"dim": 3}, init=source.path)
    stored = weights(source)
    assert torch.equal(module.model.latent.head.linear.weight, stored["model.latent.head.linear.weight"][:3])
    assert torch.equal(module.model.decoder.last.weight, stored["model.decoder.last.weight"])


def test_the_command_line_takes_the_same_settings(source: RunFolder, capfd: pytest.CaptureFixture[str]) -> None:
    words = ["model=vae", *WORDS, "latent.dim=3", f"init={source.path}", "init_parts=[encoder]", "freeze=[encoder]"]
    assert main([*words, "lr_factors={decoder: 0.1}", "folder=run"]) == 0
    assert "note: init took 2 tensors of" in capfd.readouterr().err
    config = RunFolder(Path("run")).read_config()
    assert config["init"] == str(source.path.resolve())
    assert (config["init_parts"], config["freeze"], config["lr_factors"]) == (
        ["encoder"],
        ["encoder"],
        {"decoder": 0.1},
    )
    lines = (Path("run") / "metrics.csv").read_text(encoding="utf-8").splitlines()
    rates = {line.split(",")[3]: float(line.split(",")[4]) for line in lines if ",lr/" in line}
    assert rates == {"lr/autoencoder": 1e-3, "lr/autoencoder/decoder": pytest.approx(1e-4)}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["init=frist"], "init=frist cannot be used: there is no folder"),
        (["init=first", "init_parts=[encodr]"], "init_parts names an unknown part 'encodr', did you mean 'encoder'?"),
        (["init_parts=[encoder]"], "init_parts selects parts of the model that init names, but init is not set"),
        (["init.parts=[encoder]"], "init expects the path of a run or a saved model, found the settings parts; write"),
        (["init=first", "prior=mixture", "init_parts=[prior]"], "no tensor of part 'prior' fits those of init 'first'"),
        (["freeze=[encodr]"], "freeze names an unknown part 'encodr', did you mean 'encoder'?"),
        (["freeze=[encoder,latent,decoder]"], "freeze=[encoder,latent,decoder] leaves no parameter to train"),
        (
            ["freeze=[encoder,latent,decoder]", "prior=mixture", "objective=deterministic"],
            "freeze=[encoder,latent,decoder] leaves optimizer group 'autoencoder' no term that depends on a trainable",
        ),
        (["lr_factors={encodr: 2}"], "lr_factors names an unknown part 'encodr', did you mean 'encoder'?"),
        (["lr_factors={encoder: 0}"], "setting 'lr_factors' must be above 0, found 0"),
        (["lr_factors={encoder: 2}", "freeze=[encoder]"], "lr_factors names 'encoder', which has no trainable"),
    ],
)
def test_an_error_is_raised_before_anything_is_written(
    words: list[str], message: str, source: RunFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(source.path, "first")
    assert main(["model=vae", *WORDS, "latent.dim=3", *words, "folder=run"]) == 2
    assert capsys.readouterr().err.strip().splitlines()[-1].startswith(f"error: {message}")
    assert not Path("run").exists()


def test_a_run_without_a_saved_model_is_an_error(source: RunFolder) -> None:
    shutil.copytree(source.path, "first")
    shutil.rmtree("first/model")
    with pytest.raises(AeframeError, match=r"init=first cannot be used: .* with aeframe finish"):
        fit("run", init="first")


def test_a_resumed_run_is_not_initialised_again(source: RunFolder) -> None:
    shutil.copytree(source.path, "first")
    settings: dict[str, Any] = {"init": "first", "freeze": ["encoder"], "lr_factors": {"decoder": 0.5}}
    whole = fit("whole", **settings, max_epochs=2)
    part = fit("part", **settings)
    # Neither the weights of the source nor its folder are needed.
    shutil.rmtree("first")
    resumed = RunFolder(aeframe.fit(resume="part", max_epochs=2).folder)
    assert part.path == resumed.path
    expected, found = weights(whole), weights(resumed)
    assert all(torch.equal(tensor, found[name]) for name, tensor in expected.items())
    assert torch.equal(found["model.encoder.layers.0.weight"], weights(source)["model.encoder.layers.0.weight"])


def test_a_run_that_ended_before_its_first_checkpoint_is_initialised_on_resume(
    source: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = fit("whole", init=source.path)
    with monkeypatch.context() as patch:
        patch.setattr(AutoencoderModule, "training_step", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            fit("part", init=source.path)
    resumed = RunFolder(aeframe.fit(resume="part").folder)
    expected, found = weights(whole), weights(resumed)
    assert all(torch.equal(tensor, found[name]) for name, tensor in expected.items())


def test_the_same_command_resumes_a_run_with_a_relative_init(source: RunFolder) -> None:
    shutil.copytree(source.path, "first")
    fit("part", init="first")
    fit("part", init="first", max_epochs=2, resume="auto")
    aeframe.fit(resume="part", init="first", max_epochs=3)
    with pytest.raises(AeframeError, match="resume cannot change 'init'"):
        aeframe.fit(resume="part", init="another", max_epochs=4)
    with pytest.raises(AeframeError, match="resume cannot change 'freeze'"):
        aeframe.fit(resume="part", freeze=["encoder"], max_epochs=4)


@pytest.mark.parametrize("form", ["run", "model"])
def test_a_run_or_a_model_in_memory_is_a_source(form: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    first = aeframe.fit(folder=tmp_path / "first", **SMALL, model="vae", latent={"dim": 3})
    value, name = (first, str(first.folder)) if form == "run" else (first.model, "a model in memory")
    run = fit(tmp_path / "second", init=value, freeze=["encoder"])
    assert f"note: init took 8 tensors of '{name}' (encoder, latent, decoder)" in capfd.readouterr().err
    before, after = weights(RunFolder(first.folder)), weights(run)
    assert all(torch.equal(after[key], before[key]) for key in after if key.startswith("model.encoder."))
    assert f"init: {name}" in (run.path / "config.yaml").read_text(encoding="utf-8")


def test_only_a_folder_a_run_or_a_trained_model_is_a_source() -> None:
    with pytest.raises(AeframeError) as error:
        fit("second", init=torch.nn.Linear(2, 2))
    assert str(error.value) == (
        "fit: init expects a folder, a run or a trained model, found Linear; pass aeframe.load(folder)"
    )


class OwnEncoder(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(30, 8)

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.layer(x))


def test_the_source_may_have_the_modules_of_the_new_run(tmp_path: Path) -> None:
    first = fit(tmp_path / "first", encoder=OwnEncoder(), decoder="mlp")
    run = fit(tmp_path / "second", encoder=OwnEncoder(), decoder="mlp", init=first.path, freeze=["encoder"])
    name = "model.encoder.module.layer.weight"
    assert torch.equal(weights(run)[name], weights(first)[name])
