"""Frozen parts do not change in training, and a part's learning rate is its factor times that of the optimizer."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from aeframe.errors import AeframeError
from aeframe.model.autoencoder import Autoencoder
from aeframe.model.part_names import named_parts
from aeframe.training.freezing import freeze
from aeframe.training.optimizer_groups import make_optimizer_groups

from . import short_runs
from .short_runs import ShortRun, differences, make_data, make_module, plain_trainer, train

# Lightning warns of frozen parts in a Trainer that is not that of a run.
pytestmark = pytest.mark.filterwarnings("ignore:Found .* in eval mode")
LINEAR = {"name": "linear", "start": 1e-2, "end": 0.0}
RATES = {"name": "sgd", "lr": LINEAR}


@pytest.fixture(autouse=True)
def batch_norm(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give the encoder of every model batch normalisation, whose statistics are buffers, and dropout."""
    plain = short_runs.make_model

    def make_model(recipe: str = "vae") -> Autoencoder:
        model = plain(recipe)
        model.encoder.layers.extend([nn.BatchNorm1d(16), nn.Dropout(0.5)])
        return model

    monkeypatch.setattr(short_runs, "make_model", make_model)


def changed(run: ShortRun, recipe: str) -> set[str]:
    """Return the parts of which a tensor differs from its initial value."""
    initial, trained = short_runs.make_model(recipe).state_dict(), run.module.model.state_dict()
    parts = named_parts(run.module.model)
    return {
        next(part for part in parts if name.startswith(f"{part}."))
        for name, tensor in trained.items()
        if not torch.equal(tensor, initial[name])
    }


@pytest.mark.parametrize(
    ("recipe", "frozen", "expected"),
    [
        ("vae", [], {"encoder", "latent", "decoder"}),
        ("vae", ["encoder"], {"latent", "decoder"}),
        ("vae", ["decoder"], {"encoder", "latent"}),
        ("vae", ["encoder", "latent"], {"decoder"}),
        # The codebook is in buffers.
        ("vqvae", [], {"encoder", "latent", "decoder"}),
        ("vqvae", ["latent"], {"encoder", "decoder"}),
        ("aae", [], {"encoder", "latent", "decoder", "critics.discriminator_z"}),
        ("aae", ["encoder"], {"latent", "decoder", "critics.discriminator_z"}),
        ("aae", ["critics.discriminator_z"], {"encoder", "latent", "decoder"}),
        ("aae", ["encoder", "latent", "decoder"], {"critics.discriminator_z"}),
    ],
)
def test_parameters_and_buffers_of_frozen_parts_stay_bit_identical(
    recipe: str, frozen: list[str], expected: set[str], tmp_path: Path
) -> None:
    run = train(tmp_path, recipe, freeze=frozen, ema=0.5)
    assert changed(run, recipe) == expected
    initial = short_runs.make_model(recipe).state_dict()
    parts = {name.split(".")[0] if "critics" not in name else "critics.discriminator_z" for name in initial}
    for name, average in run.best()["state_dict"].items():
        part = next(part for part in (*frozen, *sorted(parts)) if name.startswith(f"model.{part}."))
        if part in frozen:
            assert torch.equal(average, initial[name.removeprefix("model.")]), f"the average of {name}"
    trained = {
        id(p) for optimizer in run.trainer.optimizers for group in optimizer.param_groups for p in group["params"]
    }
    for name in frozen:
        assert trained.isdisjoint(id(p) for p in named_parts(run.module.model)[name].parameters())


def test_dropout_of_a_frozen_part_is_off_and_the_rest_is_trained(tmp_path: Path) -> None:
    modes: list[tuple[bool, bool, bool]] = []
    module = make_module(freeze=["encoder"])
    module.model.encoder.register_forward_hook(
        lambda part, *_: modes.append((module.training, module.model.decoder.training, part.layers[-1].training))
    )
    plain_trainer(max_epochs=2).fit(module, datamodule=make_data())
    assert {mode for mode in modes if mode[0]} == {(True, True, False)}
    # A Trainer or a callback may set the mode of the whole module.
    assert module.train().model.decoder.training
    assert not any(each.training for each in module.model.encoder.modules())


@pytest.mark.parametrize("recipe", ["vae", "aae"])
def test_a_resumed_run_keeps_parts_frozen_and_equals_one_without_interruption(recipe: str, tmp_path: Path) -> None:
    options: dict[str, Any] = {"freeze": ["encoder"], "lr_factors": {"decoder": 0.5}}
    whole = train(tmp_path / "whole", recipe, epochs=3, optimizer={"name": "adam", "lr": 1e-2}, **options)
    first = train(tmp_path / "first", recipe, epochs=1, optimizer={"name": "adam", "lr": 1e-2}, **options)
    resumed = train(
        tmp_path / "second",
        recipe,
        epochs=3,
        resume=first.checkpoints.last,
        optimizer={"name": "adam", "lr": 1e-2},
        **options,
    )
    assert differences(whole.last()["state_dict"], resumed.last()["state_dict"]) == []
    assert differences(whole.last()["optimizer_states"], resumed.last()["optimizer_states"]) == []
    assert "encoder" not in changed(resumed, recipe)


def test_gradients_reach_the_encoder_through_a_frozen_decoder() -> None:
    module = make_module(freeze=["decoder"])
    output = module.model(next(iter(loader())))
    module.model.terms(output, module.progress).total().mean().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in module.model.encoder.layers[0].parameters())
    assert all(p.grad is None for p in module.model.decoder.parameters())


def loader() -> Any:
    data = make_data()
    data.setup("fit")
    return data.train_dataloader()


def test_the_schedule_of_a_frozen_latent_does_not_advance() -> None:
    module = make_module(freeze=["latent"])
    calls: list[float] = []
    module.model.latent.on_progress = lambda progress: calls.append(progress.batch)  # type: ignore[method-assign]
    plain_trainer(max_epochs=1).fit(module, datamodule=make_data())
    assert calls == []


def test_an_unknown_part_is_named() -> None:
    with pytest.raises(AeframeError) as caught:
        freeze(short_runs.make_model("aae"), ["critics.discriminator"])
    assert str(caught.value) == (
        "freeze names an unknown part 'critics.discriminator', did you mean 'critics.discriminator_z'?; the parts of "
        "this model are corruption, encoder, latent, prior, decoder, loss, objective, critics.discriminator_z"
    )


def test_a_model_without_a_part_to_train_is_an_error() -> None:
    model = short_runs.make_model()
    frozen = freeze(model, ["encoder", "latent", "decoder"])
    with pytest.raises(AeframeError) as caught:
        make_optimizer_groups(model, RATES, frozen=frozen)
    assert str(caught.value) == "freeze=[encoder,latent,decoder] leaves no parameter to train; freeze fewer parts"


# -- learning rates --------------------------------------------------------------------------------------------------


def rates(run: ShortRun) -> list[dict[str, float]]:
    return [group.rates() for group in run.module.groups]


def test_a_part_follows_the_schedule_of_the_optimizer_times_its_factor(tmp_path: Path) -> None:
    run = train(tmp_path, epochs=1, optimizer=RATES, lr_factors={"decoder": 0.1, "encoder": 2.0}, ema=None)
    (group,) = run.module.groups
    at_the_end = group._rate(run.module.progress)
    assert rates(run) == [
        {
            "autoencoder": at_the_end,
            "autoencoder/encoder": 2.0 * at_the_end,
            "autoencoder/decoder": 0.1 * at_the_end,
        }
    ]
    module = make_module(optimizer=RATES, lr_factors={"decoder": 0.1})
    seen: list[list[float]] = []
    module.on_before_zero_grad = lambda optimizer: seen.append(  # type: ignore[method-assign]
        [each["lr"] for each in optimizer.param_groups]
    )
    plain_trainer(max_epochs=2).fit(module, datamodule=make_data())
    expected = [1e-2 * (1 - batch / 14) for batch in range(14)]
    for observed, rate in zip(seen, expected, strict=True):
        assert observed == pytest.approx([rate, 0.1 * rate])


def test_each_parameter_is_in_the_group_of_its_part() -> None:
    model = short_runs.make_model("aae")
    first, second = make_optimizer_groups(model, RATES, lr_factors={"latent": 0.5, "encoder": 0.1})
    by_name = {group["name"]: {id(p) for p in group["params"]} for group in first.optimizer.param_groups}
    assert list(by_name) == ["others", "encoder", "latent"]
    assert by_name["encoder"] == {id(p) for p in model.encoder.parameters()}
    assert by_name["latent"] == {id(p) for p in model.latent.parameters()}
    assert by_name["others"] == {id(p) for p in model.decoder.parameters()}
    assert len(second.optimizer.param_groups) == 1


def test_a_factor_scales_the_learning_rate_of_the_group_too() -> None:
    model = short_runs.make_model()
    (group,) = make_optimizer_groups(
        model,
        RATES,
        {"autoencoder": {"optimizer": {"lr": 0.2}}},
        lr_factors=dict.fromkeys(("encoder", "latent", "decoder"), 0.5),
    )
    group.make_scheduler(make_module().progress)
    assert group.rates() == {f"autoencoder/{part}": 0.1 for part in ("encoder", "latent", "decoder")}


def test_a_factor_of_one_changes_nothing(tmp_path: Path) -> None:
    with_factor = train(tmp_path / "a", epochs=1, lr_factors={"encoder": 1.0}, ema=None)
    without = train(tmp_path / "b", epochs=1, ema=None)
    assert differences(with_factor.module.model.state_dict(), without.module.model.state_dict()) == []


def test_a_factor_changes_the_step_of_its_part_only() -> None:
    models = [short_runs.make_model() for _ in range(2)]
    moves: list[dict[str, Tensor]] = []
    for model, factors in zip(models, ({}, {"decoder": 0.5}), strict=True):
        (group,) = make_optimizer_groups(model, {"name": "sgd", "lr": 1.0}, lr_factors=factors)
        group.make_scheduler(make_module().progress)
        before = copy.deepcopy(model.state_dict())
        for parameter in group.parameters:
            parameter.grad = torch.ones_like(parameter)
        group.optimizer.step()
        moves.append({name: p.detach() - before[name] for name, p in model.named_parameters()})
    for name, move in moves[1].items():
        torch.testing.assert_close(move, moves[0][name] * (0.5 if name.startswith("decoder.") else 1.0))


@pytest.mark.parametrize(
    ("factors", "message"),
    [
        ({"encodr": 0.1}, "lr_factors names an unknown part 'encodr', did you mean 'encoder'?; "),
        ({"loss": 0.1}, "lr_factors names 'loss', which has no trainable parameters; leave it out"),
        (
            {"critics.discriminator_z": 0.1},
            "lr_factors names 'critics.discriminator_z', but a critic has an optimizer of its own; set "
            "optimizers.discriminator_z.optimizer.lr",
        ),
    ],
)
def test_a_factor_of_no_part_is_an_error(factors: dict[str, float], message: str) -> None:
    with pytest.raises(AeframeError) as caught:
        make_optimizer_groups(short_runs.make_model("aae"), RATES, lr_factors=factors)
    assert str(caught.value).startswith(message)
