"""Train a reference model for a few epochs, with the Trainer, module and checkpoints of a real run."""

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
from aeframe.testing.reference import ReferenceSetup
from aeframe.training.module import AutoencoderModule
from aeframe.training.run_checkpoints import RunCheckpoints
from aeframe.training.trainer import make_trainer
from aeframe.training.warning_filters import quiet_lightning
from aeframe.types import Batch, TrainingProgress

_BATCH_SIZE, _NUM_TRAIN, _EPOCHS = 8, 24, 4
_TRAINER = {"accelerator": "cpu", "devices": 1}


@dataclass(frozen=True)
class ShortRun:
    """The result of a short training run."""

    model: Autoencoder
    """The trained model, in evaluation mode."""
    progress: TrainingProgress
    checkpoint: Path
    """The newest checkpoint, ``last.ckpt``."""
    state: dict[str, Tensor]
    """Parameters, buffers and optimizer states by name."""


class _StopAfter(L.Callback):
    """Stop a run after some epochs, as if it were interrupted."""

    works_in_groups = True
    """The module may run several batches in one training step; this callback acts on whole epochs only."""

    def __init__(self, epochs: int) -> None:
        self.epochs = epochs

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        trainer.should_stop |= trainer.current_epoch + 1 >= self.epochs


def train_shortly(setup: ReferenceSetup, folder: Path, *, epochs: int, resume: bool = False) -> ShortRun:
    """Train the model of `setup` on 24 samples, in batches of 8.

    Args:
        setup: The model config and at least 25 samples; those after the first 24 are held out.
        folder: The folder of the checkpoints.
        epochs: The epoch to stop after; 4 are planned.
        resume: Continue from ``last.ckpt`` in `folder`.
    """
    model = setup.model()
    train = _source(setup.rows, 0, _NUM_TRAIN)
    held_out = _source(setup.rows, _NUM_TRAIN, len(setup.rows))
    data = DataModule(Splits(train, held_out, held_out), batch_size=_BATCH_SIZE, seed=5)
    module = AutoencoderModule(
        model, setup.config["optimizer"], seed=5, clip=1.0, callbacks=[Evaluator(model, {}, seed=5)]
    )
    with quiet_lightning(logging.ERROR):
        trainer = make_trainer(
            _TRAINER,
            folder=folder,
            callbacks=[_StopAfter(epochs), RunCheckpoints(folder)],
            model=model,
            max_epochs=_EPOCHS,
        )
        trainer.fit(module, datamodule=data, ckpt_path=folder / "last.ckpt" if resume else None, weights_only=True)
    return ShortRun(model.eval(), module.progress, folder / "last.ckpt", _state(module))


def _source(rows: Batch, start: int, stop: int) -> TensorSource:
    selected = rows.rows(slice(start, stop))
    return TensorSource(selected.x, mask=selected.mask, condition=selected.condition, extras=selected.extras)


def _state(module: AutoencoderModule) -> dict[str, Tensor]:
    """Return copies of all tensors and numbers in the states of the model and its optimizers."""
    state: dict[str, Any] = dict(module.model.state_dict())
    for index, optimizer in enumerate(module.trainer.optimizers):
        for parameter, values in optimizer.state_dict()["state"].items():
            state |= {f"optimizer {index}/{parameter}/{name}": value for name, value in values.items()}
    return {
        name: torch.as_tensor(value).clone() for name, value in state.items() if isinstance(value, (Tensor, float, int))
    }
