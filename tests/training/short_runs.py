"""Short runs of tiny models in the Trainer of a run, and their comparison bit by bit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning.pytorch as L
import torch
from lightning.pytorch.callbacks import Callback
from torch import Tensor

from aeframe.data.datamodule import DataModule
from aeframe.data.memory import TensorSource
from aeframe.data.modality import Splits
from aeframe.evaluation.evaluator import Evaluator
from aeframe.model.assembly import assemble
from aeframe.model.autoencoder import Autoencoder
from aeframe.training.averaging import WeightAverage
from aeframe.training.module import AutoencoderModule
from aeframe.training.run_checkpoints import RunCheckpoints
from aeframe.training.trainer import make_trainer
from aeframe.types import DataSpec, Domain

SPEC = DataSpec((12,), Domain("unit"))
NUM_ROWS, BATCH_SIZE, PER_EPOCH = 100, 16, 7
"""Six whole batches, and one of four rows."""

RECIPES: dict[str, dict[str, Any]] = {
    "vae": {"latent": {"name": "gaussian", "dim": 3}, "objective": "elbo"},
    "vqvae": {
        "latent": {"name": "vq", "dim": 2, "codebook_size": 8, "tokens": 4, "kmeans_init": True, "revive": 0.5},
        "objective": "deterministic",
    },
    "aae": {"latent": {"name": "point", "dim": 3}, "objective": "adversarial", "critics": {"discriminator_z": {}}},
    "contractive": {"latent": {"name": "point", "dim": 3}, "penalties": {"contractive": {"weight": 0.1, "probes": 2}}},
}


def make_model(recipe: str = "vae") -> Autoencoder:
    torch.manual_seed(0)
    encoder = {"name": "mlp", "hidden": [16]}
    return assemble({"encoder": encoder, "loss": "mse", "corruption": "gaussian", **RECIPES[recipe]}, SPEC)


def make_rows() -> Tensor:
    return torch.rand(NUM_ROWS, 12, generator=torch.Generator().manual_seed(7))


def make_data(x: Tensor | None = None, steps_per_call: Any = 1) -> DataModule:
    x = make_rows() if x is None else x
    splits = Splits(TensorSource(x), TensorSource(x[:20]), TensorSource(x[:20]))
    return DataModule(splits, batch_size=BATCH_SIZE, seed=3, steps_per_call=steps_per_call)


def make_module(recipe: str = "vae", **options: Any) -> AutoencoderModule:
    model = make_model(recipe)
    rate = {"name": "linear", "start": 1e-2, "end": 0.0}
    defaults = {"optimizer": {"name": "adam", "lr": rate}, "clip": 1.0, "seed": 3}
    return AutoencoderModule(model, **{**defaults, "callbacks": [Evaluator(model, {"mse": {}}, seed=3)], **options})


def plain_trainer(**arguments: Any) -> L.Trainer:
    """Return a Trainer as a user of Lightning makes it, without output and files."""
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    return L.Trainer(**{"accelerator": "cpu", "devices": 1, "enable_checkpointing": False, **quiet, **arguments})


@dataclass(frozen=True)
class ShortRun:
    """What a run leaves behind."""

    module: AutoencoderModule
    trainer: L.Trainer
    checkpoints: RunCheckpoints

    def last(self) -> dict[str, Any]:
        """Return the newest checkpoint."""
        found: dict[str, Any] = torch.load(self.checkpoints.last, weights_only=True)
        return found

    def best(self) -> dict[str, Any]:
        """Return the best checkpoint."""
        found: dict[str, Any] = torch.load(self.checkpoints.best, weights_only=True)
        return found


def train(
    folder: Path,
    recipe: str = "vae",
    *,
    epochs: int = 2,
    steps_per_call: Any = 1,
    resume: Path | None = None,
    ema: float | None = 0.9,
    x: Tensor | None = None,
    callbacks: Sequence[Callback] = (),
    trainer: Mapping[str, Any] | None = None,
    every_batches: int | None = None,
    **options: Any,
) -> ShortRun:
    """Train a tiny model in the Trainer of a run; `options` are those of `AutoencoderModule`."""
    module = make_module(recipe, **options)
    checkpoints = RunCheckpoints(folder, every_batches=every_batches)
    average = [] if ema is None else [WeightAverage(ema)]
    made = make_trainer(
        {"accelerator": "cpu", "devices": 1, **(trainer or {})},
        folder=folder,
        callbacks=[*average, checkpoints, *callbacks],
        model=module.model,
        max_epochs=epochs,
        log_every_n_steps=3,
    )
    made.fit(module, datamodule=make_data(x, steps_per_call), ckpt_path=resume, weights_only=True)
    return ShortRun(module, made, checkpoints)


def differences(one: Any, other: Any, path: str = "") -> list[str]:
    """Return the paths of all leaves in which two nests of mappings and sequences differ, bit by bit."""
    if isinstance(one, dict) and isinstance(other, dict):
        missing = [f"{path}/{key}" for key in one.keys() ^ other.keys()]
        both = [key for key in one if key in other]
        return missing + [each for key in both for each in differences(one[key], other[key], f"{path}/{key}")]
    if isinstance(one, (list, tuple)) and isinstance(other, (list, tuple)):
        if len(one) != len(other):
            return [path]
        return [each for row in range(len(one)) for each in differences(one[row], other[row], f"{path}/{row}")]
    if isinstance(one, Tensor) and isinstance(other, Tensor):
        return [] if one.dtype == other.dtype and torch.equal(one, other) else [path]
    return [] if type(one) is type(other) and one == other else [path]
