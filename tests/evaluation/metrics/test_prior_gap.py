"""The gap between aggregate posterior and prior, against closed forms."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.distributions import MultivariateNormal, Normal, kl_divergence

from aeframe.evaluation.metrics.prior_gap import PriorGap
from aeframe.types import Batch, ForwardOutput, Latent


def measured(model: Any, train: Tensor, held_out: Tensor, scale: float, *sizes: int) -> tuple[dict[str, float], str]:
    metric = PriorGap(model)

    def latent(mean: Tensor) -> Latent:
        return Latent(mean, mean, Normal(mean, torch.full_like(mean, scale)))

    if len(train):
        metric.update_training(model, Batch(torch.zeros(len(train), 30)), latent(train))
    metric.reset()
    x = torch.randn(len(held_out), 30, generator=torch.Generator().manual_seed(7))
    for rows in torch.arange(len(held_out)).split(list(sizes) or [len(held_out)]):
        batch = Batch(x[rows], index=rows)
        out = ForwardOutput(batch, batch, latent(held_out[rows]), x[rows, None], torch.zeros(len(rows)))
        metric.update(model, out)
    return {name: float(value) for name, value in metric.compute().items()}, metric.protocol()


@pytest.fixture
def model(make_model: Any) -> Any:
    return make_model((30,), "real", latent={"name": "gaussian", "dim": 2})


def normal(num: int, seed: int) -> Tensor:
    return torch.randn(num, 2, generator=torch.Generator().manual_seed(seed))


def test_the_gap_of_a_normal_aggregate_posterior_is_its_kl(model: Any) -> None:
    # Means N(m, A A^T) and noise of variance 1/4: the aggregate posterior is N(m, A A^T + I/4).
    a, m = torch.tensor([[1.5, 0.0], [0.9, 0.4]]), torch.tensor([0.5, -2.0])
    train, held_out = (normal(4000, seed) @ a.T + m for seed in (1, 2))
    aggregate = MultivariateNormal(m, a @ a.T + 0.25 * torch.eye(2))
    exact = float(kl_divergence(aggregate, MultivariateNormal(torch.zeros(2), torch.eye(2))))
    values, protocol = measured(model, train, held_out, 0.5)
    assert values["prior_gap"] == pytest.approx(exact, abs=0.15)
    assert exact > 2
    assert protocol == "codes of 2048 samples, moments of those of 4000 training samples"


def test_codes_that_are_distributed_as_the_prior_have_no_gap(model: Any) -> None:
    # The mean KL is not 0: 0.75 of the variance is information about x.
    values, _ = measured(model, 0.75**0.5 * normal(2000, 1), 0.75**0.5 * normal(2000, 2), 0.5)
    assert values["prior_gap"] == pytest.approx(0, abs=0.02)


def test_a_gap_is_independent_of_the_batch_size(model: Any) -> None:
    train, held_out = 3 * normal(50, 1), 3 * normal(40, 2)
    whole, _ = measured(model, train, held_out, 0.5)
    assert measured(model, train, held_out, 0.5, 1, 22, 17)[0] == pytest.approx(whole, rel=1e-6)


@pytest.mark.parametrize(("num_train", "num"), [(0, 40), (7, 40), (50, 19)])
def test_few_samples_have_no_gap(model: Any, num_train: int, num: int) -> None:
    assert measured(model, normal(num_train, 1), normal(num, 2), 0.5) == ({}, "")
