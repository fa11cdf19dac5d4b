"""Discriminators of codes: their terms by hand, permuted dimensions, and a total correlation that is known."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from aeframe.model.autoencoder import Autoencoder
from aeframe.parts.critics.codes import DiscriminatorZ, PermutedCodes
from aeframe.types import Batch, ForwardOutput, Latent, TrainingProgress

Make = Callable[..., Autoencoder]


def in_evaluation() -> Any:
    """Return a stand-in for a model of which only the mode is used."""
    return nn.Identity().eval()


def test_terms_are_the_cross_entropy_of_codes_and_draws_from_the_prior(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, real = make(critics={"discriminator_z": {"hidden": (4,)}}), torch.randn(9, 3)
    monkeypatch.setattr(model.prior, "sample", lambda num: real[:num])
    critic = model.critics["discriminator_z"]
    assert isinstance(critic, DiscriminatorZ)
    out = model(Batch(torch.randn(5, 6)))
    terms = model.critic_terms(out, TrainingProgress())["discriminator_z"]
    torch.testing.assert_close(terms.raw["real"], -F.logsigmoid(critic.logit(real[:5])))
    torch.testing.assert_close(terms.raw["fake"], -F.logsigmoid(-critic.logit(out.latent.z)))
    assert terms.weights == {"real": 1.0, "fake": 1.0}
    assert not terms.raw["real"].isclose(terms.raw["fake"]).any()


def test_permuted_codes_keep_each_dimension_and_lose_their_dependence() -> None:
    z = torch.arange(400.0)[:, None].expand(400, 3) + torch.tensor([0.0, 1000.0, 2000.0])
    real = PermutedCodes((3,), hidden=(4,)).real_samples(in_evaluation(), z)
    torch.testing.assert_close(real.sort(0).values, z)
    assert abs(float(torch.corrcoef(real.T)[0, 1])) < 0.2
    assert abs(float(torch.corrcoef(real.T)[1, 2])) < 0.2


def test_a_trained_discriminator_estimates_the_total_correlation_of_normals() -> None:
    rho = 0.8
    factor = torch.linalg.cholesky(torch.tensor([[1.0, rho], [rho, 1.0]])).T
    critic = PermutedCodes((2,), hidden=(32,))
    optimizer = torch.optim.Adam(critic.parameters(), lr=1e-2)
    batch = Batch(torch.zeros(512, 6))
    for _ in range(300):
        z = torch.randn(512, 2) @ factor
        out = ForwardOutput(batch, batch, Latent(z, z), torch.zeros(512), torch.zeros(512))
        optimizer.zero_grad()
        critic.terms(in_evaluation(), out, TrainingProgress()).total().mean().backward()
        optimizer.step()
    with torch.no_grad():
        estimate = -critic.logit(torch.randn(20_000, 2) @ factor).mean()
    assert float(estimate) == pytest.approx(-0.5 * math.log(1 - rho**2), abs=0.1)
