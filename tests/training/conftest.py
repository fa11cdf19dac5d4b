"""Small models and data, and a plain Trainer for them."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import lightning.pytorch as L
import pytest
import torch
from torch import Tensor

from aeframe.data.datamodule import DataModule
from aeframe.data.memory import TensorSource
from aeframe.data.modality import Splits
from aeframe.evaluation.evaluator import Evaluator
from aeframe.model.assembly import assemble
from aeframe.training.module import AutoencoderModule
from aeframe.types import DataSpec, Domain

SPEC = DataSpec((12,), Domain("unit"))
ROWS, BATCH, EPOCH = 100, 16, 7  # six whole batches, and one of four rows
RECIPES: dict[str, dict[str, Any]] = {
    "vae": {"latent": {"name": "gaussian", "dim": 3}, "objective": "elbo"},
    "aae": {"latent": {"name": "point", "dim": 3}, "objective": "adversarial", "critics": {"discriminator_z": {}}},
}


def make_rows() -> Tensor:
    return torch.rand(ROWS, 12, generator=torch.Generator().manual_seed(7))


def make_module(
    recipe: str = "vae",
    *,
    kind: type[AutoencoderModule] = AutoencoderModule,
    metrics: bool = True,
    encoder: dict[str, Any] | None = None,
    **options: Any,
) -> AutoencoderModule:
    torch.manual_seed(0)
    encoder = {"name": "mlp", "hidden": [16], **(encoder or {})}
    model = assemble({"encoder": encoder, "loss": "mse", **RECIPES[recipe]}, SPEC)
    callbacks = [Evaluator(model, {"mse": {}}, seed=3)] if metrics else []
    chosen = {"optimizer": {"name": "adam", "lr": 1e-3}, "seed": 3, "callbacks": callbacks, **options}
    return kind(model, **chosen)


def make_data(**options: Any) -> DataModule:
    x = make_rows()
    splits = Splits(TensorSource(x), TensorSource(x[:40]), TensorSource(x[40:80]))
    return DataModule(splits, **{"batch_size": BATCH, "seed": 3, **options})


@pytest.fixture(autouse=True)
def _single_thread_without_log_lines() -> Iterator[None]:
    logger = logging.getLogger("lightning.pytorch")
    level, threads = logger.level, torch.get_num_threads()
    logger.setLevel(logging.ERROR)
    torch.set_num_threads(1)
    yield
    logger.setLevel(level)
    torch.set_num_threads(threads)


@pytest.fixture
def rows() -> Tensor:
    return make_rows()


@pytest.fixture
def module() -> Callable[..., AutoencoderModule]:
    """Return `make_module`."""
    return make_module


@pytest.fixture
def data() -> DataModule:
    """Return 100, 40 and 40 rows in batches of 16."""
    return make_data()


@pytest.fixture
def trainer(tmp_path: Path) -> Callable[..., L.Trainer]:
    """Return a plain Trainer with Lightning's defaults, on the CPU and without output on the terminal."""

    def make(**arguments: Any) -> L.Trainer:
        quiet = {"enable_progress_bar": False, "enable_model_summary": False, "logger": False}
        return L.Trainer(
            **{
                "accelerator": "cpu",
                "devices": 1,
                "default_root_dir": tmp_path,
                "log_every_n_steps": 3,
                "max_epochs": 2,
                **quiet,
                **arguments,
            }
        )

    return make
