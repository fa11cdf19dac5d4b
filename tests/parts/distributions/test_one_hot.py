"""One-hot distributions against numbers computed by hand, and products of distributions."""

from __future__ import annotations

import math

import pytest
import torch
from torch.distributions import Normal

from aeframe.parts.distributions.one_hot import OneHot, ProductDistribution

# Two samples of two variables of three classes.
PROBABILITIES = torch.tensor([[[0.5, 0.25, 0.25], [1 / 3, 1 / 3, 1 / 3]], [[0.98, 0.01, 0.01], [0.1, 0.2, 0.7]]])


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)


def classes(temperature: float, *, hard: bool = False) -> OneHot:
    # Any constant may be added to logits.
    return OneHot(PROBABILITIES.log() + 3, torch.tensor(temperature), hard=hard)


def test_probabilities_and_divergence() -> None:
    q = classes(1.0)
    assert q.batch_shape == (2,)
    torch.testing.assert_close(q.mean, PROBABILITIES.flatten(1))
    # 0.5 log 1.5 + 2 * 0.25 log 0.75 for the first; 0 for a uniform one.
    first = 0.5 * math.log(1.5) + 0.5 * math.log(0.75)
    third = 0.98 * math.log(2.94) + 0.02 * math.log(0.03)
    fourth = 0.1 * math.log(0.3) + 0.2 * math.log(0.6) + 0.7 * math.log(2.1)
    torch.testing.assert_close(q.kl_to_uniform(), torch.tensor([[first, 0], [third, fourth]]), atol=1e-6, rtol=0)


def test_the_log_probability_of_one_hot_vectors() -> None:
    row = torch.tensor([0.0, 1, 0, 0, 0, 1])
    expected = torch.tensor([math.log(0.25) + math.log(1 / 3), math.log(0.01) + math.log(0.7)])
    torch.testing.assert_close(classes(1.0).log_prob(row), expected)
    several = classes(1.0).rsample((5,))
    assert classes(1.0).log_prob(several).shape == (5, 2)


@pytest.mark.parametrize("temperature", [0.05, 1.0])
def test_samples_have_the_class_probabilities(temperature: float) -> None:
    num = 20_000
    z = classes(temperature).sample((num,)).unflatten(-1, (2, 3))
    torch.testing.assert_close(z.sum(-1), torch.ones(num, 2, 2))
    chosen = torch.nn.functional.one_hot(z.argmax(-1), 3).float().mean(0)
    errors = (PROBABILITIES * (1 - PROBABILITIES) / num).sqrt()
    assert bool(((chosen - PROBABILITIES).abs() < 4.5 * errors).all())
    # Near temperature 0 samples are nearly one-hot, at 1 they are not.
    assert (float(z.amax(-1).mean()) > 0.95) == (temperature < 0.1)


def test_hard_samples_are_one_hot_with_the_gradient_of_relaxed_ones() -> None:
    logits = PROBABILITIES.log().requires_grad_()
    gradients = []
    for hard in (True, False):
        torch.manual_seed(1)
        z = OneHot(logits, torch.tensor(0.5), hard=hard).rsample()
        if hard:
            torch.testing.assert_close(z, z.round())
            torch.testing.assert_close(z.unflatten(-1, (2, 3)).sum(-1), torch.ones(2, 2))
        gradients.append(torch.autograd.grad((z * torch.arange(6.0)).sum(), logits)[0])
    torch.testing.assert_close(*gradients)
    assert bool(gradients[0].any())


def test_a_product_concatenates_its_parts() -> None:
    normal, rows = Normal(torch.randn(2, 4), torch.rand(2, 4) + 0.1), classes(0.5)
    q = ProductDistribution(normal, rows)
    assert q.batch_shape == (2,)
    torch.testing.assert_close(q.mean, torch.cat([normal.mean, rows.mean], dim=1))
    for shape in ((), (3,)):
        z = q.rsample(shape)
        assert z.shape == (*shape, 2, 10)
        expected = normal.log_prob(z[..., :4]).sum(-1) + rows.log_prob(z[..., 4:])
        torch.testing.assert_close(q.log_prob(z), expected)
