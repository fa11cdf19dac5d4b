"""One small model for the tests of objectives."""

from __future__ import annotations

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
def make() -> Any:
    """Return a function that builds models for samples of 6 numbers, with partners where `pairs` is true."""

    def made(
        objective: dict[str, Any], *, latent: str = "gaussian", dim: int = 3, pairs: bool = False, **parts: Any
    ) -> Autoencoder:
        config = {
            "activation": "tanh",
            "encoder": {"name": "mlp", "hidden": (5,)},
            "latent": {"name": latent, "dim": dim},
            "loss": "gaussian",
            "objective": objective,
        }
        extras = {"partner": (6,)} if pairs else {}
        return assemble({**config, **parts}, DataSpec((6,), Domain("real"), extras=extras))

    return made
