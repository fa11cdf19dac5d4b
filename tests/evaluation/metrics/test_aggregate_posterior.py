"""The aggregate posterior against closed forms."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch.distributions import Normal

from aeframe.evaluation.metrics.aggregate_posterior import AggregatePosterior, _log_mixture
from aeframe.noise import random_rows
from aeframe.types import Batch, ForwardOutput, Latent


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)


def measured(model: Any, mean: torch.Tensor, scale: torch.Tensor, *sizes: int, **options: Any) -> dict[str, float]:
    metric = AggregatePosterior(model, **options)
    for rows in torch.arange(len(mean)).split(list(sizes) or [len(mean)]):
        q = Normal(mean[rows], scale[rows])
        x = torch.zeros(len(rows), *model.spec.shape)
        out = ForwardOutput(Batch(x), Batch(x), Latent(q.loc, q.loc, q), x[:, None], torch.zeros(len(rows)))
        metric.update(model, out)
    return {name: float(value) for name, value in metric.compute().items()}


def test_mutual_information_of_a_gaussian_channel(make_model: Any) -> None:
    # z = mean + noise with mean ~ N(0, 1 - s^2) by dimension and q(z) = N(0, 1): I = -log s for each of them.
    model = make_model((30,), "real", latent={"name": "gaussian", "dim": 2})
    s = torch.tensor([0.5, 0.8])
    mean = (1 - s.square()).sqrt() * torch.randn(1024, 2)
    values = measured(model, mean, s.expand(1024, 2))
    assert values["mutual_information"] == pytest.approx(float(-s.log().sum()), abs=0.08)
    assert values["marginal_kl"] == pytest.approx(0.0, abs=0.08)
    kl = Normal(mean, s.expand(1024, 2))
    exact = torch.distributions.kl_divergence(kl, Normal(0.0, 1.0)).double().mean(0)
    assert [values["kl/1"], values["kl/2"]] == pytest.approx(exact.tolist(), rel=1e-5)
    # Mutual information and marginal KL add up to the mean KL.
    assert values["mutual_information"] + values["marginal_kl"] == pytest.approx(float(exact.sum()), abs=0.1)


def test_codes_far_from_the_prior_have_a_marginal_kl(make_model: Any) -> None:
    model = make_model((30,), "real", latent={"name": "gaussian", "dim": 1})
    values = measured(model, torch.full((256, 1), 3.0), torch.ones(256, 1))
    assert values["mutual_information"] == pytest.approx(0.0, abs=1e-5)
    assert values["marginal_kl"] == pytest.approx(4.5, abs=0.5)
    assert values["kl_dimensions"] == 1


def test_mutual_information_of_disjoint_posteriors_is_the_logarithm_of_their_number(make_model: Any) -> None:
    model = make_model((30,), "real", latent={"name": "gaussian", "dim": 1})
    values = measured(model, 100.0 * torch.arange(64.0)[:, None], torch.ones(64, 1))
    assert values["mutual_information"] == pytest.approx(math.log(64), abs=1e-4)


def test_values_do_not_depend_on_the_batch_size(make_model: Any) -> None:
    model = make_model((30,), "real", latent={"name": "gaussian", "dim": 3})
    mean, scale = torch.randn(40, 3), torch.rand(40, 3) + 0.1
    whole = measured(model, mean, scale, samples=32)
    assert measured(model, mean, scale, 7, 7, 7, 7, 7, 5, samples=32) == pytest.approx(whole, rel=1e-6)
    assert "kl/3" in whole
    assert "kl/3" not in measured(model, mean, scale, named=2)


def test_sorted_samples_are_compared_as_shuffled_ones(make_model: Any) -> None:
    # Four classes with disjoint posteriors, sorted: their mutual information is log 4, but 0 for the first of them.
    model = make_model((30,), "real", latent={"name": "gaussian", "dim": 1})
    mean = 100.0 * torch.arange(4.0).repeat_interleave(500)[:, None]
    ordered = measured(model, mean, torch.ones(2000, 1), *[100] * 20, samples=200)
    assert ordered["mutual_information"] == pytest.approx(math.log(4), abs=0.05)
    # Neither the order in which the samples arrive nor the batch size changes the subset.
    metric = AggregatePosterior(model, samples=200)
    for rows in torch.randperm(2000).split(7):
        q = Normal(mean[rows], torch.ones(len(rows), 1))
        x = torch.zeros(len(rows), 30)
        batch = Batch(x, index=rows)
        metric.update(model, ForwardOutput(batch, batch, Latent(q.loc, q.loc, q), x[:, None], torch.zeros(len(rows))))
        assert sum(len(keys) for keys in metric.keys) <= 400 + 7
    assert torch.equal(metric.stored()["means"].sort(0).values, mean[random_rows(2000, 200, 0)])
    metric.reset()
    assert metric.keys == []


@pytest.mark.parametrize("offset", [0.0, 1e4])
def test_density_of_the_aggregate_posterior_against_torch(offset: float) -> None:
    # Narrow and wide posteriors; the offset would cancel all digits of squared distances in float32.
    means, scales = torch.randn(50, 6, dtype=torch.float64) + offset, torch.rand(50, 6, dtype=torch.float64) + 1e-3
    z = means + scales * torch.randn(50, 6, dtype=torch.float64)
    components = torch.distributions.Independent(Normal(means, scales), 1)
    mixture = torch.distributions.MixtureSameFamily(
        torch.distributions.Categorical(torch.ones(50, dtype=torch.float64)), components
    )
    torch.testing.assert_close(_log_mixture(z, means, scales), mixture.log_prob(z), rtol=1e-8, atol=1e-8)
