"""The two-stage sampler: its second VAE matches the codes better than the prior."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from aeframe.errors import AeframeError
from aeframe.factory import build
from aeframe.model.assembly import assemble
from aeframe.model.autoencoder import Autoencoder
from aeframe.types import DataSpec, Domain


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)


@pytest.fixture
def model() -> Autoencoder:
    config = {"encoder": "mlp", "latent": {"name": "gaussian", "dim": 2}, "loss": "mse"}
    return assemble(config, DataSpec((4,), Domain("real"))).eval()


def make(model: Autoencoder, **options: Any) -> Any:
    quick = {"hidden": [32, 32], "steps": 600, "batch_size": 64, "lr": 1e-2}
    return build("sampler", {"name": "two_stage", **quick, **options}, model=model)


def circle(num: int) -> Tensor:
    """Return codes on a small circle away from the origin."""
    angle = 2 * math.pi * torch.rand(num)
    return torch.tensor([4.0, 0.0]) + 0.2 * torch.stack([angle.cos(), angle.sin()], 1) + 0.01 * torch.randn(num, 2)


def clusters(num: int) -> Tensor:
    """Return codes in two clusters, three tenths of them on the left."""
    left, right = torch.tensor([-3.0, 0.0]), torch.tensor([3.0, 1.0])
    return torch.where(torch.rand(num, 1) < 0.3, left, right) + 0.3 * torch.randn(num, 2)


def energy(one: Tensor, other: Tensor) -> float:
    """Return the energy distance of two samples, 0 for equal distributions (Székely & Rizzo 2013)."""
    within = (torch.cdist(each, each).mean() for each in (one, other))
    return float(2 * torch.cdist(one, other).mean() - sum(within))


@pytest.mark.parametrize("codes", [circle, clusters])
def test_samples_have_the_distribution_of_the_codes(model: Autoencoder, codes: Any) -> None:
    z, held_out = codes(1000), codes(1000)
    sampler = make(model)
    with torch.no_grad():
        # As `fit_sampler` calls it.
        sampler.fit(z, None)
        drawn = sampler.sample(model, 1000)
    by_moments = z.mean(0) + z.std(0) * torch.randn(1000, 2)
    assert energy(drawn, held_out) < 0.5 * energy(by_moments, held_out)
    assert energy(drawn, held_out) < 0.1 * energy(model.prior.sample(1000), held_out)


def test_samples_have_the_learned_noise(model: Autoencoder) -> None:
    z = torch.tensor([1.0, -2.0]) + torch.tensor([5.0, 0.5]) * torch.randn(1000, 2)
    sampler = make(model, steps=1)
    sampler.fit(z, None)
    learned = sampler.second.loss.distribution(torch.zeros(1, 1, 2)).scale.unique().item()
    # The decoder's mean is set to 0.
    for parameter in sampler.second.decoder.parameters():
        torch.nn.init.zeros_(parameter)
    drawn = sampler.sample(model, 4000)
    # Four standard errors.
    torch.testing.assert_close(drawn.std(0), learned * z.std(0), rtol=4 / 8000**0.5, atol=0)
    torch.testing.assert_close((drawn.mean(0) - z.mean(0)) / drawn.std(0), torch.zeros(2), rtol=0, atol=4 / 4000**0.5)


def test_a_constant_number_stays_constant(model: Autoencoder) -> None:
    z = torch.stack([torch.randn(50), torch.full((50,), 3.0)], 1)
    sampler = make(model, steps=300)
    sampler.fit(z, None)
    drawn = sampler.sample(model, 200)
    assert drawn.isfinite().all()
    assert drawn[:, 1].mean().item() == pytest.approx(3.0, abs=0.2)


def test_a_second_fit_depends_on_the_seed_alone(model: Autoencoder) -> None:
    sampler, z = make(model, steps=3), circle(20)
    fits = []
    for seed, codes in ((1, z), (2, clusters(20)), (1, z), (3, z)):
        torch.manual_seed(seed)
        sampler.fit(codes, None)
        fits.append({name: value.clone() for name, value in sampler.state_dict().items()})
    first, _, again, other = fits
    assert all(torch.equal(first[name], again[name]) for name in first)
    name = "second.encoder.layers.0.weight"
    assert not torch.equal(first[name], other[name])


def test_z_with_positions() -> None:
    config = {
        "encoder": {"name": "conv", "channels": [4]},
        "latent": {"name": "gaussian", "dim": 2, "spatial": True},
        "loss": "mse",
    }
    model = assemble(config, DataSpec((1, 8, 8), Domain("real")))
    offsets = torch.arange(32.0).reshape(model.latent.shape)
    sampler = make(model, steps=20)
    sampler.fit(offsets + 0.1 * torch.randn(50, *offsets.shape), None)
    torch.testing.assert_close(sampler.sample(model, 50).mean(0), offsets, atol=0.2, rtol=0)


def test_error_messages(model: Autoencoder) -> None:
    sampler = make(model)
    assert sampler.requires_fit
    with pytest.raises(AeframeError) as error:
        sampler.sample(model, 3)
    assert str(error.value) == ("sampler two_stage must be fitted before it can sample; fit it to training codes first")
    with pytest.raises(AeframeError) as error:
        sampler.fit(torch.zeros(1, 2), None)
    assert str(error.value) == "sampler two_stage needs at least 2 codes to fit, found 1"
    with pytest.raises(AeframeError) as error:
        make(model, steps=0)
    assert str(error.value) == "sampler two_stage needs steps and batch_size of at least 1, found 0 and 64"
