"""The flow prior: the KL divergence against quadrature, and learning a bimodal density."""

from __future__ import annotations

import pytest
import torch
from torch.distributions import Normal

from aeframe.factory import build
from aeframe.types import Latent


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)


@pytest.mark.parametrize("transform", ["maf", "spline", "iaf"])
def test_the_kl_of_a_normal_posterior_is_that_of_quadrature(transform: str) -> None:
    prior = build("prior", {"name": "flow", "transform": transform, "hidden": [8]}, z_shape=(1, 2))
    line = torch.linspace(-9, 9, 145)
    plane = torch.cartesian_prod(line, line).reshape(-1, 1, 1, 2)
    q = Normal(torch.tensor([[[0.5, -1.0]]]), torch.tensor([[[0.4, 1.2]]]))
    with torch.no_grad():
        for parameter in prior.parameters():
            parameter.mul_(1.5)
        z = q.sample((20_000,))
        log_q = q.log_prob(plane).sum((-2, -1))
        exact = (log_q.exp() * (log_q - prior.log_prob(plane))).sum() * (line[1] - line[0]) ** 2
        estimates = prior.kl(Latent(z[:, 0], q.mean.expand(20_000, 1, 2), posterior=q.expand((20_000, 1, 2))))
    assert estimates.shape == (20_000,)
    # Four standard errors.
    assert abs(estimates.mean() - exact) < 4 * estimates.std() / 20_000**0.5 + 1e-3
    assert prior.sample(3).shape == (3, 1, 2)


def test_it_learns_two_modes() -> None:
    prior = build("prior", {"name": "flow", "transform": "spline", "num_transforms": 2, "hidden": [16]}, z_shape=(2,))
    optimizer = torch.optim.Adam(prior.parameters(), lr=2e-2)

    def modes(num: int) -> torch.Tensor:
        return 0.3 * torch.randn(num, 2) + 1.5 * (2 * torch.randint(2, (num, 1)) - 1)

    for _ in range(100):
        optimizer.zero_grad()
        (-prior.log_prob(modes(64)).mean()).backward()
        optimizer.step()
    with torch.no_grad():
        # The entropy of two modes far apart: log 2 + 2 * (log(2 pi e) / 2 + log 0.3) = 1.123 nats.
        assert -prior.log_prob(modes(2000)).mean() < 1.35
        samples = prior.sample(2000)
    assert (samples.prod(1) > 0).float().mean() > 0.95
    assert 0.4 < (samples[:, 0] > 0).float().mean() < 0.6
