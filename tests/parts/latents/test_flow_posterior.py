"""The flow posterior: its density, its mean, and the KL divergence against quadrature."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.distributions import Normal

from aeframe.factory import build
from aeframe.types import Latent

NAMES = ["planar", "radial", "iaf", "maf", "spline"]


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)


def make(transform: str, feature_shape: tuple[int, ...] = (5,), **options: Any) -> Any:
    """Return a latent in double precision with a flow far from the identity."""
    config = {"dim": 2, "num_transforms": 2, "hidden": [8], "context": 3, **options}
    latent = build("latent", {"name": "flow", "transform": transform, **config}, feature_shape=feature_shape).double()
    with torch.no_grad():
        for parameter in latent.parameters():
            parameter.mul_(1.5)
    return latent


def features(num: int, *shape: int) -> Tensor:
    return torch.randn(num, *shape, dtype=torch.float64)


@pytest.mark.parametrize("name", NAMES)
def test_forward_and_inverse_yield_the_same_density(name: str) -> None:
    code = make(name)(features(4, 5), sample=True)
    assert code.z.shape == (4, 2)
    log_prob = code.posterior.log_prob(code.z)
    assert log_prob.shape == code.z.shape[:-1]
    torch.testing.assert_close(code.posterior.log_prob(code.z.clone()), log_prob, atol=1e-5, rtol=1e-5)
    again = code.posterior.rsample((6,))
    assert again.shape == (6, 4, 2)
    torch.testing.assert_close(code.posterior.log_prob(again.clone()), code.posterior.log_prob(again))


@pytest.mark.parametrize("name", NAMES)
def test_the_density_integrates_to_one_and_the_kl_is_that_of_quadrature(name: str) -> None:
    latent, prior = make(name), build("prior", "normal", z_shape=(2,)).double()
    x = features(1, 5)
    line = torch.linspace(-12, 12, 385, dtype=torch.float64)
    plane = torch.cartesian_prod(line, line).unsqueeze(1)
    with torch.no_grad():
        code = latent(x.expand(20_000, 5), sample=True)
        q = latent(x, sample=False).posterior
        log_q = q.log_prob(plane)
        mass = log_q.exp() * (line[1] - line[0]) ** 2
        torch.testing.assert_close(mass.sum(), torch.ones((), dtype=torch.float64), atol=1e-3, rtol=0)
        exact = (mass * (log_q - prior.log_prob(plane))).sum()
        estimates = prior.kl(code)
    assert estimates.shape == (20_000,)
    # Four standard errors.
    assert abs(estimates.mean() - exact) < 4 * estimates.std() / 20_000**0.5 + 1e-3
    # The posterior differs from a normal.
    normal = Normal(code.z.mean(0), code.z.std(0))
    assert abs(exact - prior.kl(Latent(code.z, code.mean, normal)).sum()) > 1e-3


@pytest.mark.parametrize("name", NAMES)
def test_without_sampling_z_is_the_transformed_mean_of_the_normal(name: str) -> None:
    latent, x = make(name), features(4, 5)
    code = latent(x, sample=False)
    assert torch.equal(code.z, code.mean)
    start = code.posterior.base.base_dist.loc
    torch.testing.assert_close(code.mean, code.posterior.transform(start))
    torch.testing.assert_close(code.posterior.log_prob(code.z), code.posterior.log_prob(code.z.clone()))
    torch.testing.assert_close(latent(x, sample=True).mean, code.mean)


@pytest.mark.parametrize("context", [0, 3])
@pytest.mark.parametrize("name", NAMES)
def test_every_parameter_is_trained(name: str, context: int) -> None:
    latent = make(name, context=context)
    code = latent(features(16, 5), sample=True)
    (code.posterior.log_prob(code.z) + code.z.square().sum(1)).sum().backward()
    assert [n for n, p in latent.named_parameters() if p.grad is None or not p.grad.any()] == []


@pytest.mark.parametrize("context", [0, 3])
def test_only_with_a_context_does_the_flow_depend_on_the_sample(context: int) -> None:
    latent = make("planar", context=context)
    start = torch.randn(1, 2, dtype=torch.float64).expand(2, 2)
    one, other = latent(features(2, 5), sample=False).posterior.transform(start)
    assert torch.equal(one, other) == (context == 0)


def test_a_spatial_z_is_flattened_for_the_flow() -> None:
    latent = make("iaf", (5, 2, 3), spatial=True)
    code = latent(features(4, 5, 2, 3), sample=True)
    assert code.z.shape == (4, 2, 2, 3)
    assert code.posterior.log_prob(code.z).shape == (4,)
    torch.testing.assert_close(code.posterior.log_prob(code.z.clone()), code.posterior.log_prob(code.z))


def test_the_flow_runs_in_single_precision_under_autocast() -> None:
    latent = make("iaf").float()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        code = latent(torch.randn(4, 5), sample=True)
    torch.testing.assert_close(code.posterior.log_prob(code.z.clone()), code.posterior.log_prob(code.z))
    assert code.z.dtype == torch.float32
