"""A run of a few tiny epochs, as a user's would go: the same Trainer, module and checkpoints."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning.pytorch as L
import torch
from torch import Tensor

from aeframe.data.datamodule import DataModule
from aeframe.data.memory import TensorSource
from aeframe.data.modality import Splits
from aeframe.evaluation.evaluator import Evaluator
from aeframe.model.autoencoder import Autoencoder
from aeframe.testing.reference import Reference
from aeframe.training.module import AutoencoderModule
from aeframe.training.run_checkpoints import RunCheckpoints
from aeframe.training.trainer import make_trainer
from aeframe.training.warning_filters import quiet_lightning
from aeframe.types import Batch, TrainingProgress

_BATCH, _TRAIN, _EPOCHS = 8, 24, 4
_SETTINGS = {"accelerator": "cpu", "devices": 1}


@dataclass(frozen=True)
class ShortRun:
    """What a short run leaves."""

    model: Autoencoder
    progress: TrainingProgress
    checkpoint: Path
    state: dict[str, Tensor]
    """Weights, buffers, and what the optimisers keep."""


class _Stop(L.Callback):
    """Stop a run before its planned end, as a machine that is needed elsewhere would."""

    works_in_groups = True

    def __init__(self, epochs: int) -> None:
        self.epochs = epochs

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        trainer.should_stop |= trainer.current_epoch + 1 >= self.epochs


def train_shortly(reference: Reference, folder: Path, *, epochs: int, resume: bool = False) -> ShortRun:
    """Train the reference model to the end of epoch `epochs`, of 4 planned; `resume` continues at ``last.ckpt``."""
    model = reference.model()
    train, held_out = _source(reference.rows, 0, _TRAIN), _source(reference.rows, _TRAIN, len(reference.rows))
    data = DataModule(Splits(train, held_out, held_out), batch_size=_BATCH, seed=5)
    module = AutoencoderModule(
        model, reference.config["optimizer"], seed=5, clip=1.0, callbacks=[Evaluator(model, {}, seed=5)]
    )
    with quiet_lightning(logging.ERROR):
        trainer = make_trainer(
            _SETTINGS,
            folder=folder,
            callbacks=[_Stop(epochs), RunCheckpoints(folder)],
            several_groups=len(model.critics) > 0,
            max_epochs=_EPOCHS,
        )
        trainer.fit(module, datamodule=data, ckpt_path=folder / "last.ckpt" if resume else None, weights_only=True)
    return ShortRun(model.eval(), module.progress, folder / "last.ckpt", _state(module))


def _source(rows: Batch, start: int, stop: int) -> TensorSource:
    part = rows.rows(slice(start, stop))
    return TensorSource(part.x, mask=part.mask, condition=part.condition, extras=part.extras)


def _state(module: AutoencoderModule) -> dict[str, Tensor]:
    state: dict[str, Any] = dict(module.model.state_dict())
    for index, optimizer in enumerate(module.trainer.optimizers):
        for row, kept in optimizer.state_dict()["state"].items():
            state |= {f"optimizer {index}/{row}/{name}": value for name, value in kept.items()}
    return {
        name: torch.as_tensor(value).clone() for name, value in state.items() if isinstance(value, (Tensor, float, int))
    }
