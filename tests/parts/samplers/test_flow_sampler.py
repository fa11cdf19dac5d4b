"""The flow sampler: codes that no normal has come out again, by the run's seed, and saved with the model."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from aeframe.errors import AeframeError
from aeframe.factory import build
from aeframe.model.assembly import assemble
from aeframe.model.autoencoder import Autoencoder
from aeframe.types import DataSpec, Domain

SMALL = {"num_transforms": 2, "hidden": [16], "steps": 150, "lr": 1e-2}


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)


def model() -> Autoencoder:
    config = {"encoder": "mlp", "latent": {"name": "point", "dim": 2}, "loss": "mse"}
    return assemble(config, DataSpec((4,), Domain("real"))).eval()


def banana(num: int) -> Tensor:
    """Codes along a parabola, far from the origin and of another size."""
    x = torch.randn(num, 1)
    return torch.cat([x, x.square() + 0.3 * torch.randn(num, 1)], 1) * 20 + 100


def fitted(z: Tensor, **options: Any) -> Any:
    sampler = build("sampler", {"name": "flow", **SMALL, **options}, model=model())
    # As the house calls it.
    with torch.no_grad():
        sampler.fit(z, None)
    return sampler


def test_the_shape_of_the_codes_comes_out_again() -> None:
    sampler = fitted(banana(1000))
    drawn = sampler.sample(model(), 2000)
    x, y = ((drawn - 100) / 20).T
    assert abs(x.mean()) < 0.15
    assert abs(x.std() - 1) < 0.15
    # y - x^2 has a spread of 0.3; of a normal with the same moments it would be about 2.
    assert (y - x.square()).abs().median() < 0.4
    assert not drawn.requires_grad


def test_what_it_learned_is_saved_and_the_seed_decides_it() -> None:
    z, fits = banana(100), []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        sampler = fitted(z, steps=20)
        torch.manual_seed(9)
        fits.append(sampler.sample(model(), 5))
    assert torch.equal(fits[0], fits[1])
    assert not torch.equal(fits[0], fits[2])
    again = build("sampler", {"name": "flow", **SMALL}, model=model())
    again.load_state_dict(sampler.state_dict())
    torch.manual_seed(9)
    assert torch.equal(again.sample(model(), 5), fits[2])


def test_a_flow_that_falls_apart_in_training_is_not_kept() -> None:
    z = banana(400)
    sampler = fitted(z, lr=3.0, steps=101)
    with torch.no_grad():
        rows = (z - sampler.mean) / sampler.scale
        # What it began with is no better than 5 nats, and what it came to is above 50.
        assert -sampler.density.log_prob(rows).mean() < 10


def test_a_number_that_never_moves_keeps_its_place() -> None:
    z = banana(50)
    z[:, 1] = 7.0
    drawn = fitted(z, steps=5).sample(model(), 20)
    torch.testing.assert_close(drawn[:, 1], torch.full((20,), 7.0), atol=1e-3, rtol=0)


def test_what_cannot_be_is_refused() -> None:
    for options, found in (({"steps": 0}, "0 and 0.01"), ({"lr": 0.0}, "150 and 0.0")):
        with pytest.raises(AeframeError) as error:
            build("sampler", {"name": "flow", **SMALL, **options}, model=model())
        assert str(error.value) == f"sampler flow needs steps of at least 1 and lr above 0, found {found}"
    with pytest.raises(AeframeError) as error:
        fitted(torch.zeros(1, 2))
    assert str(error.value) == "sampler flow needs at least 2 codes to fit, found 1"
    with pytest.raises(AeframeError) as error:
        build("sampler", "flow", model=model()).sample(model(), 2)
    assert str(error.value) == (
        "sampler flow was asked for new codes before it was fitted; fit it to training codes first"
    )
