"""The continuous Bernoulli against numerical integration, for logits from 0 to extreme."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import integrate
from torch import Tensor

from aeframe.factory import build
from aeframe.types import Batch, Domain

LOGITS = [0.0, 1e-6, 1e-3, 0.1, 0.99, 1.0, 1.01, 2.5, 9.0, 30.0, 200.0]


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)


LOSS = build("loss", "continuous_bernoulli", shape=(5,), domain=Domain("unit"))


def output(logit: float, num: int = 1) -> Tensor:
    return torch.full((num, 1, 5), logit)


def moment(logit: float, power: int) -> float:
    """Return E[x^power] by integration over [0, 1]; exponents are shifted below 0."""

    def of(k: int) -> float:
        return float(integrate.quad(lambda x: x**k * np.exp(logit * x - max(0.0, logit)), 0, 1, points=[0.02, 0.98])[0])

    return of(power) / of(0)


@pytest.mark.parametrize("logit", [*LOGITS, *(-logit for logit in LOGITS[1:])])
def test_the_density_integrates_to_one_and_its_mean_is_the_reconstruction(logit: float) -> None:
    x = torch.linspace(0, 1, 5).unsqueeze(0)
    whole = integrate.quad(lambda t: np.exp(logit * t - max(0.0, logit)), 0, 1, points=[0.02, 0.98])[0]
    expected = np.log(whole) + max(0.0, logit) - logit * x.double().numpy()
    np.testing.assert_allclose(LOSS.elements(output(logit), x), expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(LOSS.mean(output(logit)), np.full((1, 5), moment(logit, 1)), rtol=2e-6, atol=1e-7)


@pytest.mark.parametrize("logit", LOGITS)
def test_the_gradient_is_mean_minus_x(logit: float) -> None:
    # As in any exponential family.
    x, at = torch.rand(1, 5), output(logit).requires_grad_()
    (gradient,) = torch.autograd.grad(LOSS(at, Batch(x)).sum(), at)
    np.testing.assert_allclose(gradient[:, 0], moment(logit, 1) - x, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("logit", [0.0, 1e-5, -0.7, 4.0, -60.0])
def test_samples_have_the_moments_of_the_density(logit: float) -> None:
    drawn = LOSS.sample(output(logit, 40000))
    assert 0 <= drawn.min() <= drawn.max() <= 1
    for power in (1, 2):
        assert drawn.pow(power).mean().item() == pytest.approx(moment(logit, power), rel=0.02)


def test_it_agrees_with_torch_where_torch_is_accurate() -> None:
    logits, x = 3 * torch.randn(6, 1, 5), torch.rand(6, 5)
    theirs = torch.distributions.ContinuousBernoulli(logits=logits[:, 0])
    torch.testing.assert_close(LOSS.elements(logits, x), -theirs.log_prob(x), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(LOSS.mean(logits), theirs.mean, rtol=1e-3, atol=1e-3)
