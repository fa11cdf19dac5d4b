"""Feature matching by hand."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from aeframe.model.assembly import assemble
from aeframe.model.autoencoder import Autoencoder
from aeframe.parts.critics.samples import DiscriminatorX
from aeframe.types import Batch, DataSpec, Domain

SHAPE = (1, 8, 8)


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)


def model_with(**penalties: Any) -> Autoencoder:
    config = {
        "encoder": {"name": "mlp", "hidden": (5,)},
        "latent": {"name": "point", "dim": 3},
        "loss": "mse",
        "penalties": penalties,
        "critics": {"discriminator_x": {}},
    }
    return assemble(config, DataSpec(SHAPE, Domain("real")))


def test_it_is_the_distance_over_all_stages(monkeypatch: pytest.MonkeyPatch) -> None:
    model = model_with(feature_matching={}, squared={"name": "feature_matching", "distance": "squared"})
    out = model(Batch(torch.randn(2, *SHAPE)))
    of_x = [torch.zeros(2, 1, 2), torch.tensor([[1.0], [2.0]])]
    of_x_hat = [torch.tensor([[[1.0, -2.0]], [[0.0, 0.5]]]), torch.tensor([[4.0], [2.0]])]

    def features(_: DiscriminatorX, batch: Batch) -> list[Tensor]:
        return of_x if batch.x is out.batch.x else of_x_hat

    monkeypatch.setattr(DiscriminatorX, "features", features)
    assert model.penalties["feature_matching"](model, out).tolist() == [3.0 + 3.0, 0.5]
    assert model.penalties["squared"](model, out).tolist() == [0.5 * (5.0 + 9.0), 0.5 * 0.25]


def test_it_is_zero_for_a_perfect_reconstruction_and_trains_the_decoder() -> None:
    model = model_with(feature_matching={})
    out, penalty = model(Batch(torch.randn(3, *SHAPE))), model.penalties["feature_matching"]
    penalty(model, out).sum().backward()
    assert all(weight.grad is not None and weight.grad.any() for weight in model.decoder.parameters())
    out.output = out.batch.x.unsqueeze(1)
    assert penalty(model, out).tolist() == [0, 0, 0]
