"""A fixture that saves and opens small models with any latent."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from aeframe.factory import build
from aeframe.model.assembly import assemble
from aeframe.model.autoencoder import Autoencoder
from aeframe.model_store.reader import load
from aeframe.model_store.trained_model import TrainedModel
from aeframe.model_store.writer import save_model
from aeframe.types import DataSpec, TrainingProgress

VAE: dict[str, Any] = {
    "model": {"name": "vae"},
    "activation": "relu",
    "corruption": "none",
    "encoder": {"name": "mlp", "hidden": [16]},
    "decoder": "mirror",
    "latent": {"name": "gaussian", "dim": 3},
    "prior": "normal",
    "loss": {"name": "gaussian", "variance": "learned"},
    "objective": {"name": "elbo", "beta": {"name": "linear", "end": 2.0}},
    "sampler": {"name": "prior"},
    "modality": {"name": "vector"},
    "data": {"name": "breast_cancer"},
    "seed": 3,
    "batch_size": 20,
    "max_epochs": 5,
}


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


Save = Callable[..., tuple[TrainedModel, Autoencoder]]


@pytest.fixture
def save(tmp_path: Path) -> Save:
    """Return a function that saves a model with random weights and opens it: ``save(latent=..., sampler=...)``."""

    def saved(folder: Path | None = None, condition: int = 0, **changes: Any) -> tuple[TrainedModel, Autoencoder]:
        config = {**VAE, **changes}
        modality, dataset = build("modality", config["modality"]), build("dataset", config["data"])
        splits = modality.prepare(dataset)
        spec = modality.spec(dataset)
        model = assemble(config, DataSpec(spec.shape, spec.domain, condition))
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(0.05 * torch.randn_like(parameter))
        sampler = build("sampler", config["sampler"], model=model)
        if sampler.requires_fit:
            latent = model.eval().embed(splits.train.batch(torch.arange(100)))
            sampler.fit(latent.mean.detach(), latent.codes)
        folder = folder or tmp_path / "run" / "model"
        metrics = {"mse": 0.25, "bound": float("nan")}
        save_model(
            folder, model, modality, config, sampler, metrics=metrics, progress=TrainingProgress(batch=30, planned=40)
        )
        return load(folder), model.eval()

    return saved
