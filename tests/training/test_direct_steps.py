"""A step without Lightning's wrappers, where they would call nothing, is the same step."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import lightning.pytorch as L
import pytest
import torch
from lightning.pytorch.plugins import MixedPrecision

from aeframe.data.datamodule import DataModule
from aeframe.training.lightning_progress import steps_directly
from aeframe.training.module import AutoencoderModule

MakeModule = Callable[..., AutoencoderModule]
MakeTrainer = Callable[..., L.Trainer]


class Follow(L.Callback):
    """Follows the backward pass, and so needs Lightning's wrappers."""

    def __init__(self) -> None:
        self.steps = 0

    def on_before_optimizer_step(self, trainer: L.Trainer, pl_module: L.LightningModule, optimizer: Any) -> None:
        self.steps += 1


@pytest.mark.parametrize("recipe", ["vae", "aae"])
def test_direct_steps_have_identical_results_and_counts(
    recipe: str, trainer: MakeTrainer, module: MakeModule, data: DataModule
) -> None:
    follow = Follow()
    direct, wrapped = module(recipe, clip=0.5, accumulate=2), module(recipe, clip=0.5, accumulate=2)
    first, second = trainer(), trainer(callbacks=[follow])
    first.fit(direct, datamodule=data)
    assert steps_directly(first)
    second.fit(wrapped, datamodule=data)
    assert not steps_directly(second)
    assert first.global_step == second.global_step == follow.steps > 0
    for name, value in direct.state_dict().items():
        assert torch.equal(value, wrapped.state_dict()[name]), name


def test_a_scaler_or_an_overridden_backward_requires_the_wrappers(
    trainer: MakeTrainer, module: MakeModule, data: DataModule, monkeypatch: pytest.MonkeyPatch
) -> None:
    scaled = trainer(plugins=[MixedPrecision("16-mixed", "cpu", torch.amp.GradScaler("cpu"))])
    scaled.fit(module(), datamodule=data)
    assert not steps_directly(scaled)
    called: list[float] = []

    def backward(self: L.LightningModule, loss: torch.Tensor, *_: Any, **__: Any) -> None:
        called.append(float(loss.detach()))
        loss.backward()

    own = module()
    monkeypatch.setattr(type(own), "backward", backward)
    its_trainer = trainer()
    its_trainer.fit(own, datamodule=data)
    assert not steps_directly(its_trainer)
    assert called
