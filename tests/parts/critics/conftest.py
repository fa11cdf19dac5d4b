"""One small model for the tests of critics."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from aeframe.model.assembly import assemble
from aeframe.model.autoencoder import Autoencoder
from aeframe.types import DataSpec, Domain


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)


@pytest.fixture
def make() -> Callable[..., Autoencoder]:
    """Return a function that builds a model with these parts, for data of this shape."""

    def model(shape: tuple[int, ...] = (6,), **parts: Any) -> Autoencoder:
        config = {
            "activation": "tanh",
            "encoder": {"name": "mlp", "hidden": (5,)},
            "latent": {"name": "point", "dim": 3},
            "loss": "mse",
            **parts,
        }
        return assemble(config, DataSpec(shape, Domain("real")))

    return model
