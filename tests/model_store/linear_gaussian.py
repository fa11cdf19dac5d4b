"""A model whose posterior is exact: probabilistic PCA with orthogonal directions, for tests of imputation."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from aeframe.factory import build
from aeframe.model.assembly import assemble
from aeframe.model_store.writer import save_model
from aeframe.types import TrainingProgress

NAMES = ["a", "b", "c", "d", "e"]
SCALE = 0.6
"""The standard deviation of the likelihood."""


@dataclass(frozen=True)
class LinearGaussian:
    """x = W z + mean + noise, z standard normal."""

    weight: NDArray[np.float64]
    mean: NDArray[np.float64]

    @classmethod
    def of(cls, dim: int = 2) -> LinearGaussian:
        rng = np.random.default_rng(3)
        directions, _ = np.linalg.qr(rng.normal(size=(len(NAMES), dim)))
        # Orthogonal columns: the covariance of z given x is diagonal.
        return cls(directions * np.linspace(2, 1, dim), rng.normal(size=len(NAMES)))

    def draw(self, num: int, seed: int) -> NDArray[np.float64]:
        rng = np.random.default_rng(seed)
        z = rng.normal(size=(num, self.weight.shape[1]))
        return z @ self.weight.T + self.mean + SCALE * rng.normal(size=(num, len(NAMES)))

    def conditional(self, x: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return mean and covariance of the NaN of one row ``(D,)`` given its other values."""
        covariance = self.weight @ self.weight.T + SCALE**2 * np.eye(len(x))
        gaps = np.isnan(x)
        gain = covariance[np.ix_(gaps, ~gaps)] @ np.linalg.inv(covariance[np.ix_(~gaps, ~gaps)])
        mean = self.mean[gaps] + gain @ (x - self.mean)[~gaps]
        return mean, covariance[np.ix_(gaps, gaps)] - gain @ covariance[np.ix_(~gaps, gaps)]


def save_linear_gaussian(folder: Path, truth: LinearGaussian, **changes: Any) -> None:
    """Write a model with exact encoder and decoder as ``folder/model``, and its data as ``folder/train.csv``."""
    dim = truth.weight.shape[1]
    pd.DataFrame(truth.draw(60, 0), columns=NAMES).to_csv(folder / "train.csv", index=False)
    config = {
        "model": {"name": "ppca"},
        "encoder": {"name": "mlp", "hidden": []},
        "decoder": {"name": "mlp", "hidden": []},
        "latent": {"name": "gaussian", "dim": dim},
        "loss": {"name": "gaussian", "scale": SCALE},
        "objective": "elbo",
        "sampler": {"name": "prior"},
        "modality": {"name": "vector", "scale": "none"},
        "data": {"name": "numbers", "path": str(folder / "train.csv")},
        "seed": 3,
        "batch_size": 64,
        **changes,
    }
    modality, dataset = build("modality", config["modality"]), build("dataset", config["data"])
    modality.prepare(dataset)
    model = assemble(config, modality.spec(dataset))
    weight, mean = (torch.tensor(array, dtype=torch.float32) for array in (truth.weight, truth.mean))
    variance = SCALE**2 / (weight.square().sum(0) + SCALE**2)
    gain = variance[:, None] * weight.T / SCALE**2
    with torch.no_grad():
        head, last = model.latent.head.linear, model.decoder.last
        head.weight.copy_(torch.cat([gain, torch.zeros_like(gain)]))
        head.bias.copy_(torch.cat([-gain @ mean, variance.log()]))
        last.weight.copy_(weight)
        last.bias.copy_(mean)
    sampler = build("sampler", config["sampler"], model=model)
    save_model(folder / "model", model, modality, config, sampler, metrics={}, progress=TrainingProgress())
