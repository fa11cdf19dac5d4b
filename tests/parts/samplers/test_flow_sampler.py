"""The flow sampler: fits to a density that is not normal, seeds and saved states."""

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
    """Return codes along a parabola, shifted and scaled."""
    x = torch.randn(num, 1)
    return torch.cat([x, x.square() + 0.3 * torch.randn(num, 1)], 1) * 20 + 100


def fitted(z: Tensor, **options: Any) -> Any:
    sampler = build("sampler", {"name": "flow", **SMALL, **options}, model=model())
    # As `fit_sampler` calls it.
    with torch.no_grad():
        sampler.fit(z, None)
    return sampler


def test_it_recovers_the_distribution_of_the_codes() -> None:
    sampler = fitted(banana(1000))
    z = sampler.sample(model(), 2000)
    x, y = ((z - 100) / 20).T
    assert abs(x.mean()) < 0.15
    assert abs(x.std() - 1) < 0.15
    # y - x^2 has standard deviation 0.3; for a normal with the same moments it would be about 2.
    assert (y - x.square()).abs().median() < 0.4
    assert not z.requires_grad


def test_a_fit_depends_on_the_seed_and_is_saved() -> None:
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


def test_the_weights_of_a_diverged_fit_are_not_kept() -> None:
    z = banana(400)
    sampler = fitted(z, lr=3.0, steps=101)
    with torch.no_grad():
        rows = (z - sampler.mean) / sampler.scale
        # The initial loss is about 5 nats, the final one above 50.
        assert -sampler.density.log_prob(rows).mean() < 10


def test_a_constant_number_stays_constant() -> None:
    z = banana(50)
    z[:, 1] = 7.0
    drawn = fitted(z, steps=5).sample(model(), 20)
    torch.testing.assert_close(drawn[:, 1], torch.full((20,), 7.0), atol=1e-3, rtol=0)


def test_error_messages() -> None:
    for options, found in (({"steps": 0}, "0 and 0.01"), ({"lr": 0.0}, "150 and 0.0")):
        with pytest.raises(AeframeError) as error:
            build("sampler", {"name": "flow", **SMALL, **options}, model=model())
        assert str(error.value) == f"sampler flow needs steps of at least 1 and lr above 0, found {found}"
    with pytest.raises(AeframeError) as error:
        fitted(torch.zeros(1, 2))
    assert str(error.value) == "sampler flow needs at least 2 codes to fit, found 1"
    with pytest.raises(AeframeError) as error:
        build("sampler", "flow", model=model()).sample(model(), 2)
    assert str(error.value) == ("sampler flow must be fitted before it can sample; fit it to training codes first")
