"""The three parts of the KL against the closed form of a normal aggregate posterior, and the second player's view."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.distributions import Normal

from aeframe.errors import AeframeError
from aeframe.factory import build
from aeframe.model.autoencoder import Autoencoder
from aeframe.parts.objectives.total_correlation import PermutedCodes, TotalCorrelation
from aeframe.types import Batch, ForwardOutput, Latent, LossTerms, TrainingProgress

Make = Callable[..., Autoencoder]
NUM, DIM, NOISE = 2000, 2, 0.5


def terms_of(model: Autoencoder, objective: TotalCorrelation, q: Normal, z: Tensor, rows: int) -> LossTerms:
    batch = Batch(torch.zeros(len(z), 6))
    out = ForwardOutput(batch, batch, Latent(z, q.loc, posterior=q), torch.zeros(len(z), 1, 6), torch.zeros(len(z)))
    return objective(model, out, TrainingProgress(rows=rows))


def correlated() -> tuple[Normal, Tensor]:
    """Posteriors N(m, 0.25 I) whose means are N(0, [[1, 0.9], [0.9, 1]]), and the covariance of their aggregate."""
    means = torch.tensor([[1.0, 0.9], [0.9, 1.0]])
    loc = torch.randn(NUM, DIM) @ torch.linalg.cholesky(means).T
    return Normal(loc, torch.full_like(loc, NOISE)), means + NOISE**2 * torch.eye(DIM)


def test_stratified_parts_are_the_closed_forms_of_a_normal_aggregate(make: Make) -> None:
    q, covariance = correlated()
    raw = terms_of(make({"name": "elbo"}, dim=DIM), TotalCorrelation((DIM,)), q, q.rsample(), NUM).raw
    variances = covariance.diagonal()
    found = {name: float(value.mean()) for name, value in raw.items()}
    correlation = 0.5 * float(variances.log().sum() - torch.logdet(covariance))
    assert correlation > 0.3
    assert found["total_correlation"] == pytest.approx(correlation, abs=0.08)
    information = 0.5 * float(torch.logdet(covariance)) - DIM * math.log(NOISE)
    assert found["index_code_information"] == pytest.approx(information, abs=0.1)
    assert found["dimension_kl"] == pytest.approx(0.5 * float((variances - 1 - variances.log()).sum()), abs=0.08)


def test_weighted_is_off_by_what_its_docstring_says(make: Make) -> None:
    q, covariance = correlated()
    objective = TotalCorrelation((DIM,), estimator="weighted")
    raw = terms_of(make({"name": "elbo"}, dim=DIM), objective, q, q.rsample(), 50 * NUM).raw
    correlation = 0.5 * float(covariance.diagonal().log().sum() - torch.logdet(covariance))
    # Posteriors that overlap: log q(z) is too low by log N, and so is each of its D marginals.
    off = (DIM - 1) * math.log(50 * NUM)
    assert float(raw["total_correlation"].mean()) == pytest.approx(correlation + off, abs=0.1)


@pytest.mark.parametrize("estimator", ["stratified", "weighted"])
def test_the_three_parts_add_up_to_the_kl_of_each_draw(make: Make, estimator: str) -> None:
    model = make({"name": "total_correlation", "estimator": estimator})
    out = model(Batch(torch.randn(9, 6)))
    terms = model.terms(out, TrainingProgress(rows=100))
    kl = out.latent.posterior.log_prob(out.latent.z).sum(1) - model.prior.log_prob(out.latent.z)
    parts = [terms.raw[name] for name in ("index_code_information", "total_correlation", "dimension_kl")]
    torch.testing.assert_close(sum(parts), kl)
    # The KL itself is paid for once.
    assert terms.weights == {
        "reconstruction": 1.0, "kl": 1.0, "index_code_information": 0.0, "total_correlation": 5.0, "dimension_kl": 0.0,
    }  # fmt: skip
    assert terms.bound is not None
    torch.testing.assert_close(terms.bound, out.reconstruction + model.prior.kl(out.latent).sum(1))


def test_stratified_has_no_bias_over_the_batches_a_sample_may_be_in() -> None:
    num, size = 12, 5
    loc, z = torch.randn(num, DIM), torch.randn(1, DIM)
    model = build_nothing()
    densities = []
    for _ in range(4000):
        # The sample's own posterior is always in its batch, the others are drawn.
        rows = torch.cat([torch.zeros(1, dtype=torch.long), 1 + torch.randperm(num - 1)[: size - 1]])
        q = Normal(loc[rows], torch.ones(size, DIM))
        joint, _ = TotalCorrelation((DIM,))._aggregate(model, q, z.expand(size, DIM), TrainingProgress(rows=num))
        densities.append(joint[0].exp())
    exact = Normal(loc, torch.ones(num, DIM)).log_prob(z).sum(1).exp().mean()
    found = torch.stack(densities)
    assert abs(float(found.mean() - exact)) < 4 * float(found.std()) / len(found) ** 0.5


def build_nothing() -> Any:
    """Stand in for a model that is asked for nothing but its mode."""
    return torch.nn.Identity().eval()


def test_gradients_of_both_estimates_do_not_ask_how_many_rows_are_weighted(make: Make) -> None:
    found = []
    for rows in (100, 100_000):
        torch.manual_seed(2)
        model = make({"name": "total_correlation", "estimator": "weighted"})
        model.terms(model(Batch(torch.ones(9, 6))), TrainingProgress(rows=rows)).total().mean().backward()
        found.append([p.grad for p in model.parameters() if p.grad is not None])
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("estimator", ["stratified", "weighted", "adversarial"])
@pytest.mark.parametrize(("num", "rows"), [(1, 0), (1, 50), (2, 0), (2, 2), (9, 0)])
def test_any_batch_gives_numbers(make: Make, estimator: str, num: int, rows: int) -> None:
    model = make({"name": "total_correlation", "estimator": estimator})
    terms = model.terms(model(Batch(torch.randn(num, 6))), TrainingProgress(rows=rows))
    assert all(value.isfinite().all() and value.shape == (num,) for value in terms.raw.values())


def test_a_batch_of_all_rows_is_the_mean_of_their_posteriors() -> None:
    q, z = Normal(torch.randn(6, DIM), torch.ones(6, DIM)), torch.randn(6, DIM)
    joint, _ = TotalCorrelation((DIM,))._aggregate(build_nothing(), q, z, TrainingProgress(rows=6))
    others = Normal(q.loc, q.scale).log_prob(z[:, None]).sum(2).exp()
    # The paper's weights: 1 / N for its own, 1 / M for all others but one, M = N - 1, which stands for the rest.
    weights = torch.full((6, 6), 1 / 5)
    weights[torch.arange(6), torch.arange(6)] = 1 / 6
    weights[torch.arange(6), torch.arange(6) - 1] = 1 / 30
    torch.testing.assert_close(joint.exp(), (weights * others).sum(1))
    torch.testing.assert_close(weights.sum(1), torch.ones(6))


# -- adversarial -------------------------------------------------------------------------------------------------


def test_adversarial_pays_the_kl_once_and_the_discriminator_s_logit(make: Make) -> None:
    model = make({"name": "total_correlation", "estimator": "adversarial", "beta": 11.0})
    out = model(Batch(torch.randn(9, 6)))
    terms = model.terms(out, TrainingProgress())
    assert terms.weights == {"reconstruction": 1.0, "kl": 1.0, "total_correlation": 10.0}
    discriminator = model.critics()["discriminator"]
    torch.testing.assert_close(terms.raw["total_correlation"], -discriminator(out.latent.z))
    torch.testing.assert_close(terms.raw["kl"], model.prior.kl(out.latent).sum(1))


def test_permuted_codes_keep_each_dimension_and_lose_what_binds_them() -> None:
    z = torch.arange(400.0)[:, None].expand(400, 3) + torch.tensor([0.0, 1000.0, 2000.0])
    real = PermutedCodes((3,), (4,), None).real(build_nothing(), z)
    torch.testing.assert_close(real.sort(0).values, z)
    assert abs(float(torch.corrcoef(real.T)[0, 1])) < 0.2
    assert abs(float(torch.corrcoef(real.T)[1, 2])) < 0.2


def test_a_trained_discriminator_finds_the_total_correlation_of_normals() -> None:
    rho = 0.8
    factor = torch.linalg.cholesky(torch.tensor([[1.0, rho], [rho, 1.0]])).T
    discriminator = PermutedCodes((2,), (32,), None)
    optimizer = torch.optim.Adam(discriminator.parameters(), lr=1e-2)
    batch = Batch(torch.zeros(512, 6))
    for _ in range(300):
        z = torch.randn(512, 2) @ factor
        out = ForwardOutput(batch, batch, Latent(z, z), torch.zeros(512), torch.zeros(512))
        optimizer.zero_grad()
        discriminator.terms(build_nothing(), out, TrainingProgress()).total().mean().backward()
        optimizer.step()
    with torch.no_grad():
        found = -discriminator(torch.randn(20_000, 2) @ factor).mean()
    assert float(found) == pytest.approx(-0.5 * math.log(1 - rho**2), abs=0.1)


# -- refusals ----------------------------------------------------------------------------------------------------


def test_weights_that_an_opponent_cannot_tell_apart_are_refused() -> None:
    for options in ({"alpha": 2.0}, {"gamma": {"name": "linear"}}):
        config = {"name": "total_correlation", "estimator": "adversarial", **options}
        with pytest.raises(AeframeError) as error:
            build("objective", config, z_shape=(3,), activation=None)
        assert str(error.value) == (
            "objective total_correlation with estimator=adversarial sees no part of the KL but the total correlation; "
            "leave alpha and gamma at 1"
        )


def test_a_posterior_that_is_not_normal_is_refused(make: Make) -> None:
    model = make({"name": "total_correlation"})
    out = model(Batch(torch.randn(9, 6)))
    out.latent.posterior = torch.distributions.Laplace(out.latent.mean, torch.ones(9, 3))
    with pytest.raises(AeframeError) as error:
        model.terms(out, TrainingProgress())
    assert str(error.value) == (
        "objective 'total_correlation' takes a normal posterior apart by dimension, but this latent's is Laplace; "
        "choose latent=gaussian"
    )
