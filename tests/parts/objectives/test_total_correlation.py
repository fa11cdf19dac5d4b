"""The three parts of the KL against the closed forms of a normal aggregate posterior, and with a critic."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.distributions import Normal

from aeframe.errors import AeframeError
from aeframe.factory import build
from aeframe.model.autoencoder import Autoencoder
from aeframe.parts.critics.codes import PermutedCodes
from aeframe.parts.objectives.total_correlation import TotalCorrelation
from aeframe.types import Batch, ForwardOutput, Latent, LossTerms, TrainingProgress

Make = Callable[..., Autoencoder]
NUM, DIM, NOISE = 2000, 2, 0.5


def terms_of(model: Autoencoder, objective: TotalCorrelation, q: Normal, z: Tensor, rows: int) -> LossTerms:
    batch = Batch(torch.zeros(len(z), 6))
    out = ForwardOutput(batch, batch, Latent(z, q.loc, posterior=q), torch.zeros(len(z), 1, 6), torch.zeros(len(z)))
    return objective(model, out, TrainingProgress(rows=rows))


def correlated_posteriors() -> tuple[Normal, Tensor]:
    """Return posteriors N(m, 0.25 I) whose means are N(0, [[1, 0.9], [0.9, 1]]), and their aggregate covariance."""
    means = torch.tensor([[1.0, 0.9], [0.9, 1.0]])
    loc = torch.randn(NUM, DIM) @ torch.linalg.cholesky(means).T
    return Normal(loc, torch.full_like(loc, NOISE)), means + NOISE**2 * torch.eye(DIM)


def test_stratified_parts_are_the_closed_forms_of_a_normal_aggregate(make: Make) -> None:
    q, covariance = correlated_posteriors()
    raw = terms_of(make({"name": "elbo"}, dim=DIM), TotalCorrelation(), q, q.rsample(), NUM).raw
    variances = covariance.diagonal()
    means = {name: float(value.mean()) for name, value in raw.items()}
    correlation = 0.5 * float(variances.log().sum() - torch.logdet(covariance))
    assert correlation > 0.3
    assert means["total_correlation"] == pytest.approx(correlation, abs=0.08)
    information = 0.5 * float(torch.logdet(covariance)) - DIM * math.log(NOISE)
    assert means["index_code_information"] == pytest.approx(information, abs=0.1)
    assert means["dimension_kl"] == pytest.approx(0.5 * float((variances - 1 - variances.log()).sum()), abs=0.08)


def test_weighted_has_the_bias_of_its_docstring(make: Make) -> None:
    q, covariance = correlated_posteriors()
    objective = TotalCorrelation(estimator="weighted")
    raw = terms_of(make({"name": "elbo"}, dim=DIM), objective, q, q.rsample(), 50 * NUM).raw
    correlation = 0.5 * float(covariance.diagonal().log().sum() - torch.logdet(covariance))
    # Posteriors that overlap: log q(z) is too low by log N, and so is each of its D marginals.
    off = (DIM - 1) * math.log(50 * NUM)
    assert float(raw["total_correlation"].mean()) == pytest.approx(correlation + off, abs=0.1)


@pytest.mark.parametrize("estimator", ["stratified", "weighted"])
def test_the_three_parts_add_up_to_the_kl_of_each_sample(make: Make, estimator: str) -> None:
    model = make({"name": "total_correlation", "estimator": estimator})
    out = model(Batch(torch.randn(9, 6)))
    terms = model.terms(out, TrainingProgress(rows=100))
    kl = out.latent.posterior.log_prob(out.latent.z).sum(1) - model.prior.log_prob(out.latent.z)
    parts = [terms.raw[name] for name in ("index_code_information", "total_correlation", "dimension_kl")]
    torch.testing.assert_close(sum(parts), kl)
    # The KL itself has weight 1.
    assert terms.weights == {
        "reconstruction": 1.0, "kl": 1.0, "index_code_information": 0.0, "total_correlation": 5.0, "dimension_kl": 0.0,
    }  # fmt: skip
    assert terms.bound is not None
    torch.testing.assert_close(terms.bound, out.reconstruction + model.prior.kl(out.latent).sum(1))


def test_stratified_has_no_bias_over_the_batches_with_a_sample() -> None:
    num, size = 12, 5
    loc, z = torch.randn(num, DIM), torch.randn(1, DIM)
    densities = []
    for _ in range(4000):
        # The sample's own posterior is always in its batch, the others are random.
        rows = torch.cat([torch.zeros(1, dtype=torch.long), 1 + torch.randperm(num - 1)[: size - 1]])
        q = Normal(loc[rows], torch.ones(size, DIM))
        log_q_z, _ = TotalCorrelation()._log_aggregate(q, z.expand(size, DIM), TrainingProgress(rows=num))
        densities.append(log_q_z[0].exp())
    exact = Normal(loc, torch.ones(num, DIM)).log_prob(z).sum(1).exp().mean()
    estimates = torch.stack(densities)
    assert abs(float(estimates.mean() - exact)) < 4 * float(estimates.std()) / len(estimates) ** 0.5


def test_the_number_of_rows_does_not_change_the_gradient_of_the_weighted_estimate(make: Make) -> None:
    gradients = []
    for rows in (100, 100_000):
        torch.manual_seed(2)
        model = make({"name": "total_correlation", "estimator": "weighted"})
        model.terms(model(Batch(torch.ones(9, 6))), TrainingProgress(rows=rows)).total().mean().backward()
        gradients.append([p.grad for p in model.parameters() if p.grad is not None])
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("estimator", ["stratified", "weighted", "adversarial"])
@pytest.mark.parametrize(("num", "rows"), [(1, 0), (1, 50), (2, 0), (2, 2), (9, 0)])
def test_any_batch_gives_numbers(make: Make, estimator: str, num: int, rows: int) -> None:
    model = make({"name": "total_correlation", "estimator": estimator}, critics={"permuted_codes": {}})
    terms = model.terms(model(Batch(torch.randn(num, 6))), TrainingProgress(rows=rows))
    assert all(value.isfinite().all() and value.shape == (num,) for value in terms.raw.values())


def test_a_batch_of_all_rows_is_the_mean_of_their_posteriors() -> None:
    q, z = Normal(torch.randn(6, DIM), torch.ones(6, DIM)), torch.randn(6, DIM)
    log_q_z, _ = TotalCorrelation()._log_aggregate(q, z, TrainingProgress(rows=6))
    others = Normal(q.loc, q.scale).log_prob(z[:, None]).sum(2).exp()
    # The paper's weights with M = N - 1: 1 / N for its own, 1 / M for all others but one, which has the rest.
    weights = torch.full((6, 6), 1 / 5)
    weights[torch.arange(6), torch.arange(6)] = 1 / 6
    weights[torch.arange(6), torch.arange(6) - 1] = 1 / 30
    torch.testing.assert_close(log_q_z.exp(), (weights * others).sum(1))
    torch.testing.assert_close(weights.sum(1), torch.ones(6))


# -- adversarial -------------------------------------------------------------------------------------------------


def test_adversarial_adds_the_critic_s_logit_to_the_kl(make: Make) -> None:
    model = make(
        {"name": "total_correlation", "estimator": "adversarial", "beta": 11.0}, critics={"permuted_codes": {}}
    )
    out = model(Batch(torch.randn(9, 6)))
    terms = model.terms(out, TrainingProgress())
    assert terms.weights == {"reconstruction": 1.0, "kl": 1.0, "total_correlation": 10.0}
    critic = model.critics["permuted_codes"]
    assert isinstance(critic, PermutedCodes)
    torch.testing.assert_close(terms.raw["total_correlation"], -critic.logit(out.latent.z))
    torch.testing.assert_close(terms.raw["kl"], model.prior.kl(out.latent).sum(1))


# -- refusals ----------------------------------------------------------------------------------------------------


def test_other_weights_are_refused_with_a_critic() -> None:
    for options in ({"alpha": 2.0}, {"gamma": {"name": "linear"}}):
        config = {"name": "total_correlation", "estimator": "adversarial", **options}
        with pytest.raises(AeframeError) as error:
            build("objective", config)
        assert str(error.value) == (
            "objective total_correlation with estimator=adversarial estimates no part of the KL but the total "
            "correlation; leave alpha and gamma at 1"
        )


def test_a_posterior_that_is_not_normal_is_refused(make: Make) -> None:
    model = make({"name": "total_correlation"})
    out = model(Batch(torch.randn(9, 6)))
    out.latent.posterior = torch.distributions.Laplace(out.latent.mean, torch.ones(9, 3))
    with pytest.raises(AeframeError) as error:
        model.terms(out, TrainingProgress())
    assert str(error.value) == (
        "objective 'total_correlation' splits a normal posterior by dimension, but this latent's is Laplace; "
        "choose latent=gaussian"
    )
