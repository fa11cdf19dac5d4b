"""The average of the weights: its recurrence, when it is evaluated, and what a checkpoint holds of it.

`WeightAverage` uses the private ``_average_model`` of Lightning 2.6: `test_the_private_name_exists` fails where a
version renames it.
"""

from __future__ import annotations

import copy
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import lightning
import lightning.pytorch as L
import pytest
import torch
from lightning.pytorch.callbacks import Callback
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from aeframe.errors import AeframeError
from aeframe.training.averaging import WeightAverage
from aeframe.training.module import AutoencoderModule

from .short_runs import PER_EPOCH, differences, make_data, make_module, plain_trainer, train


class OneWeight(L.LightningModule):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1))
        self.register_buffer("steps", torch.zeros(1, dtype=torch.long))


def average_of(callback: WeightAverage) -> AveragedModel:
    assert callback._average_model is not None
    return callback._average_model


def test_the_private_name_exists() -> None:
    assert lightning.__version__.startswith("2.6"), "check aeframe/training/averaging.py against this version"
    callback = WeightAverage(0.9)
    assert callback._average_model is None
    callback.setup(plain_trainer(), make_module(), "fit")
    assert isinstance(callback._average_model, AveragedModel)


def recurrence(values: list[float], decay: float) -> float:
    """Return the average after a step to each value: the first is copied, then the decay rises to `decay`."""
    average = values[0]
    for t, value in enumerate(values[1:], start=1):
        ramp = min(decay, (1 + t) / (10 + t))
        average = ramp * average + (1 - ramp) * value
    return average


VALUES = [2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0]


@pytest.mark.parametrize("decay", [0.5, 0.2, 0.999])
def test_the_average_follows_its_recurrence(decay: float) -> None:
    module, callback = OneWeight(), WeightAverage(decay)
    first, second = (torch.optim.SGD(module.parameters(), lr=1.0) for _ in range(2))
    trainer: Any = SimpleNamespace(optimizers=[first, second], global_step=0)
    callback.setup(plain_trainer(), module, "fit")
    for value in VALUES:
        nn.init.constant_(module.weight, value)
        module.steps += 1
        callback.on_before_zero_grad(trainer, module, first)
        # Steps of other optimizers, and Lightning's own moments, change nothing.
        callback.on_before_zero_grad(trainer, module, second)
        trainer.global_step += 2
        callback.on_train_batch_end(trainer, module, None, None, 0)
    callback.on_train_epoch_end(trainer, module)
    # For a decay of 0.5 the ramp is shorter than these ten steps, for 0.999 it is longer.
    assert average_of(callback).module.weight.item() == pytest.approx(recurrence(VALUES, decay), rel=1e-6)
    assert callback.state_dict()["num_updates"] == len(VALUES)
    assert average_of(callback).module.steps.item() == len(VALUES), "buffers are copied, not averaged"


def test_a_restored_average_continues_its_recurrence() -> None:
    module = OneWeight()
    first = torch.optim.SGD(module.parameters(), lr=1.0)
    trainer: Any = SimpleNamespace(optimizers=[first], global_step=0, strategy=None)
    states: dict[str, Any] = {}
    for values in (VALUES[:4], VALUES[4:]):
        callback = WeightAverage(0.999)
        callback.setup(plain_trainer(), module, "fit")
        if states:
            callback.load_state_dict(states["callback"])
            callback.on_load_checkpoint(trainer, module, states["checkpoint"])
            assert module.weight.item() == VALUES[3]
        for value in values:
            nn.init.constant_(module.weight, value)
            callback.on_before_zero_grad(trainer, module, first)
        checkpoint: dict[str, Any] = {"state_dict": module.state_dict()}
        callback.on_save_checkpoint(trainer, module, checkpoint)
        states = copy.deepcopy({"callback": callback.state_dict(), "checkpoint": checkpoint})
        module = OneWeight()
        first = trainer.optimizers[0] = torch.optim.SGD(module.parameters(), lr=1.0)
    assert states["checkpoint"]["state_dict"]["weight"].item() == pytest.approx(recurrence(VALUES, 0.999), rel=1e-6)


@pytest.mark.parametrize("decay", [0.0, 1.0, -1.0])
def test_a_decay_is_between_0_and_1(decay: float) -> None:
    with pytest.raises(AeframeError) as caught:
        WeightAverage(decay)
    assert str(caught.value) == f"ema is a decay in (0, 1), found {decay}; set ema=0.999, or null for no average"


class Weights(Callback):
    """Keep the weights after every step of an optimizer."""

    works_in_groups = True

    def __init__(self, optimizer: int = 0) -> None:
        self.optimizer, self.found = optimizer, []  # type: ignore[var-annotated]

    def on_before_zero_grad(self, trainer: L.Trainer, pl_module: L.LightningModule, optimizer: Any) -> None:
        if optimizer is trainer.optimizers[self.optimizer]:
            self.found.append({name: value.detach().clone() for name, value in pl_module.named_parameters()})


@pytest.mark.parametrize("recipe", ["vae", "aae"])
@pytest.mark.parametrize("steps_per_call", [1, 4])
@pytest.mark.parametrize("accumulate", [1, 3])
def test_each_step_of_the_first_optimizer_updates_it_once(
    recipe: str, steps_per_call: int, accumulate: int, tmp_path: Path
) -> None:
    weights = Weights()
    run = train(tmp_path, recipe, steps_per_call=steps_per_call, accumulate=accumulate, callbacks=[weights])
    assert len(weights.found) == 2 * -(-PER_EPOCH // accumulate)
    expected = weights.found[0]
    for t, current in enumerate(weights.found[1:], start=1):
        decay = min(0.9, (1 + t) / (10 + t))
        expected = {name: torch.lerp(value, current[name], 1 - decay) for name, value in expected.items()}
    stored = run.last()
    assert stored["callbacks"]["WeightAverage"]["num_updates"] == len(weights.found)
    assert differences({name: stored["state_dict"][name] for name in expected}, expected) == []


@pytest.mark.parametrize("recipe", ["vae", "vqvae", "aae"])
def test_several_batches_in_a_call_give_the_same_average(recipe: str, tmp_path: Path) -> None:
    one, several = (train(tmp_path / str(k), recipe, steps_per_call=k).last() for k in (1, 4))
    for key in ("state_dict", "current_model_state", "averaging_state"):
        assert differences(one[key], several[key]) == []


class Validated(Callback):
    """Keep the weights that are evaluated, and those before and after."""

    def __init__(self) -> None:
        self.before: list[Tensor] = []
        self.during: list[Tensor] = []
        self.after: list[Tensor] = []

    @staticmethod
    def _weight(pl_module: L.LightningModule) -> Tensor:
        return next(pl_module.parameters()).detach().clone()

    def on_validation_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self.before.append(self._weight(pl_module))

    def on_validation_batch_start(self, trainer: L.Trainer, pl_module: L.LightningModule, *_: Any) -> None:
        self.during.append(self._weight(pl_module))

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self.after.append(self._weight(pl_module))


def test_validation_evaluates_the_average_and_restores_the_weights(tmp_path: Path) -> None:
    validated, weights = Validated(), Weights()
    run = train(tmp_path, callbacks=[validated, weights])
    name = next(iter(weights.found[0]))
    assert [torch.equal(a, b) for a, b in zip(validated.before, validated.after, strict=True)] == [True, True]
    for epoch in range(2):
        assert torch.equal(validated.before[epoch], weights.found[PER_EPOCH * (epoch + 1) - 1][name])
        # Two batches of validation.
        assert torch.equal(validated.during[2 * epoch], validated.during[2 * epoch + 1])
        assert not torch.equal(validated.during[2 * epoch], validated.before[epoch])
    stored = run.last()
    assert torch.equal(stored["state_dict"][name], validated.during[-1])


def test_a_checkpoint_has_weights_and_average(tmp_path: Path) -> None:
    weights = Weights()
    stored = train(tmp_path, callbacks=[weights]).last()
    for name, value in weights.found[-1].items():
        assert torch.equal(stored["current_model_state"][name], value)
        assert not torch.equal(stored["state_dict"][name], value)
    assert list(stored["state_dict"]) == list(stored["current_model_state"])


def test_weights_are_restored_after_an_interrupted_validation() -> None:
    module, callback = make_module(), WeightAverage(0.9)
    trainer = plain_trainer(callbacks=[callback])
    callback.setup(trainer, module, "fit")
    initial = [parameter.detach().clone() for parameter in module.parameters()]
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(1.0)
    trained = [parameter.detach().clone() for parameter in module.parameters()]
    callback.restore_weights(module)
    assert differences([p.detach() for p in module.parameters()], trained) == []
    callback.on_validation_epoch_start(trainer, module)
    assert differences([p.detach() for p in module.parameters()], initial) == []
    for _ in range(2):  # once, however often it is called
        callback.restore_weights(module)
        assert differences([p.detach() for p in module.parameters()], trained) == []
    assert differences([p.detach() for p in average_of(callback).module.parameters()], initial) == []
    callback.on_validation_epoch_start(trainer, module)
    callback.on_validation_epoch_end(trainer, module)
    callback.restore_weights(module)
    assert differences([p.detach() for p in module.parameters()], trained) == []


def test_frozen_parameters_do_not_change(tmp_path: Path) -> None:
    module, callback = make_module(), WeightAverage(0.9)
    parameter = next(module.model.decoder.parameters())
    parameter.requires_grad_(False)
    before = parameter.detach().clone()
    trainer = plain_trainer(callbacks=[callback], max_epochs=1, default_root_dir=tmp_path)
    trainer.fit(module, datamodule=make_data())
    names = {id(p): name for name, p in module.named_parameters()}
    averaged = dict(average_of(callback).module.named_parameters())
    assert torch.equal(averaged[names[id(parameter)]], before)


def test_double_precision_is_not_rounded(tmp_path: Path) -> None:
    validated, weights = Validated(), Weights()
    run = train(tmp_path, epochs=1, trainer={"precision": "64-true"}, callbacks=[validated, weights])
    assert all(value.dtype == torch.float64 for value in weights.found[-1].values())
    # Evaluation swaps the weights with their average, which would round them if it were in single precision.
    assert validated.before[-1].dtype == torch.float64
    assert torch.equal(validated.before[-1], validated.after[-1])
    assert not torch.equal(validated.before[-1], validated.before[-1].float().double())
    stored = run.last()
    floating = [value for value in stored["state_dict"].values() if value.is_floating_point()]
    assert {value.dtype for value in floating if value.ndim} == {torch.float64}
    expected = weights.found[0]
    for t, current in enumerate(weights.found[1:], start=1):
        decay = (1 + t) / (10 + t)
        expected = {name: torch.lerp(value, current[name], 1 - decay) for name, value in expected.items()}
    assert differences({name: stored["state_dict"][name] for name in expected}, expected) == []


def test_a_module_of_this_package_is_averaged_in_any_trainer(tmp_path: Path) -> None:
    module: AutoencoderModule = make_module()
    callback, weights = WeightAverage(0.9), Weights()
    plain_trainer(callbacks=[callback, weights], max_epochs=1).fit(module, datamodule=make_data())
    averaged = dict(average_of(callback).module.named_parameters())
    assert callback.state_dict()["num_updates"] == PER_EPOCH
    assert any(not torch.equal(averaged[name], value) for name, value in weights.found[-1].items())
