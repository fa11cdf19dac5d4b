"""Feature matching by hand, and what it says where there is nothing to look into."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from aeframe.errors import AeframeError
from aeframe.model.assembly import assemble
from aeframe.model.autoencoder import Autoencoder
from aeframe.parts.penalties.adversarial import SampleDiscriminator
from aeframe.types import Batch, DataSpec, Domain

SHAPE = (1, 8, 8)


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)


def model_with(objective: str = "deterministic", **penalties: Any) -> Autoencoder:
    config = {
        "encoder": {"name": "mlp", "hidden": (5,)},
        "latent": {"name": "point", "dim": 3},
        "loss": "mse",
        "objective": objective,
        "penalties": penalties,
    }
    return assemble(config, DataSpec(SHAPE, Domain("real")))


def test_it_is_the_distance_over_all_stages(monkeypatch: pytest.MonkeyPatch) -> None:
    model = model_with(adversarial={}, feature_matching={}, squared={"name": "feature_matching", "distance": "squared"})
    p = model(Batch(torch.randn(2, *SHAPE)))
    features = {
        True: [torch.zeros(2, 1, 2), torch.tensor([[1.0], [2.0]])],
        False: [torch.tensor([[[1.0, -2.0]], [[0.0, 0.5]]]), torch.tensor([[4.0], [2.0]])],
    }

    def seen(_: SampleDiscriminator, batch: Batch) -> list[Tensor]:
        return features[batch.x is p.batch.x]

    monkeypatch.setattr(SampleDiscriminator, "features", seen)
    assert model.penalties["feature_matching"](model, p).tolist() == [3.0 + 3.0, 0.5]
    assert model.penalties["squared"](model, p).tolist() == [0.5 * (5.0 + 9.0), 0.5 * 0.25]


def test_it_is_zero_for_a_perfect_reconstruction_and_trains_the_decoder() -> None:
    model = model_with(adversarial={}, feature_matching={})
    p, penalty = model(Batch(torch.randn(3, *SHAPE))), model.penalties["feature_matching"]
    penalty(model, p).sum().backward()
    assert all(p.grad is not None and p.grad.any() for p in model.decoder.parameters())
    p.output = p.batch.x.unsqueeze(1)
    assert penalty(model, p).tolist() == [0, 0, 0]


@pytest.mark.parametrize(
    ("objective", "penalties", "of", "found"),
    [
        ("deterministic", {}, "discriminator_x", "none"),
        # A discriminator of z has nothing to show.
        ("adversarial", {}, "discriminator", "none"),
        ("deterministic", {"adversarial": {}}, "discriminator_y", "discriminator_x"),
    ],
)
def test_without_a_player_to_look_into_it_says_so(
    objective: str, penalties: dict[str, Any], of: str, found: str
) -> None:
    model = model_with(objective, **penalties, feature_matching={"of": of})
    with pytest.raises(AeframeError) as error:
        model.penalties["feature_matching"](model, model(Batch(torch.randn(2, *SHAPE))))
    assert str(error.value) == (
        f"penalty feature_matching needs a player '{of}' that has features, but those of this model are {found}; "
        "add penalties.adversarial, or set penalties.feature_matching.of"
    )
