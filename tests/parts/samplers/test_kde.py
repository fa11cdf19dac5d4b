"""The kernel density sampler, compared with scipy."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from scipy.stats import gaussian_kde

from aeframe.errors import AeframeError
from aeframe.factory import build
from aeframe.model.assembly import assemble
from aeframe.model.autoencoder import Autoencoder
from aeframe.types import DataSpec, Domain


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)


def model_of(dim: int) -> Autoencoder:
    config = {"encoder": "mlp", "latent": {"name": "point", "dim": dim}, "loss": "mse"}
    return assemble(config, DataSpec((4,), Domain("real"))).eval()


def fitted(z: torch.Tensor, **options: Any) -> Any:
    sampler = build("sampler", {"name": "kde", **options}, model=model_of(z.shape[1]))
    sampler.fit(z, None)
    return sampler


@pytest.mark.parametrize("bandwidth", ["scott", "silverman", 0.3])
@pytest.mark.parametrize("dim", [1, 3])
def test_the_bandwidth_equals_scipy(dim: int, bandwidth: Any) -> None:
    z = torch.randn(80, dim) * torch.arange(1, dim + 1)
    factor = gaussian_kde(z.T.double().numpy(), bw_method=bandwidth).factor
    torch.testing.assert_close(fitted(z, bandwidth=bandwidth).scale, z.std(0) * factor, atol=1e-6, rtol=1e-5)


def test_samples_have_the_density_of_scipy() -> None:
    # Two modes; in one dimension a diagonal bandwidth equals the full one of scipy.
    z = torch.cat([torch.randn(60, 1) - 3, 0.3 * torch.randn(30, 1) + 2])
    drawn = fitted(z).sample(model_of(1), 20_000)[:, 0]
    theirs = gaussian_kde(z.T.double().numpy())
    for at in (-4.0, -2.0, 0.0, 1.5, 2.5):
        expected = theirs.integrate_box_1d(-torch.inf, at)
        assert abs((drawn < at).float().mean().item() - expected) < 4 * (expected * (1 - expected) / 20_000) ** 0.5


def test_fewer_kernels_than_codes() -> None:
    z = torch.arange(50.0).unsqueeze(1)
    sampler = fitted(z, kernels=10, bandwidth=1e-6)
    assert len(set(sampler.centres.flatten().tolist())) == 10
    drawn = sampler.sample(model_of(1), 200)
    assert (drawn - sampler.centres.T).abs().min(1).values.max() < 1e-3
    again = build("sampler", {"name": "kde", "kernels": 10}, model=model_of(1))
    again.fit(z[:3], None)
    assert again.weights.tolist() == pytest.approx([1 / 3] * 3 + [0] * 7)
    assert set(again.sample(model_of(1), 50).round().flatten().tolist()) <= set(range(-5, 8))


def test_error_messages() -> None:
    for options, found in (({"kernels": 0}, "0 and scott"), ({"bandwidth": -0.5}, "2000 and -0.5")):
        with pytest.raises(AeframeError) as error:
            build("sampler", {"name": "kde", **options}, model=model_of(1))
        assert str(error.value) == f"sampler kde needs kernels of at least 1 and a bandwidth above 0, found {found}"
    with pytest.raises(AeframeError) as error:
        fitted(torch.zeros(1, 2))
    assert str(error.value) == "sampler kde needs at least 2 codes to fit, found 1"
    with pytest.raises(AeframeError) as error:
        build("sampler", "kde", model=model_of(1)).sample(model_of(1), 2)
    assert str(error.value) == ("sampler kde must be fitted before it can sample; fit it to training codes first")
