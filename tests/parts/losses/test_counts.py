"""Count likelihoods against scipy, for counts from zero to a million, and library sizes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from scipy import special, stats
from torch import Tensor

from aeframe.errors import AeframeError
from aeframe.factory import build
from aeframe.model.assembly import assemble
from aeframe.parts.losses import counts
from aeframe.parts.losses.base import Loss
from aeframe.types import Batch, DataSpec, Domain, TrainingProgress

GENES = 6
NAMES = ("poisson", "negative_binomial", "zero_inflated_negative_binomial")


@pytest.fixture(autouse=True, params=[True, False], ids=["as on a CPU", "as on a GPU"])
def _seeded(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(counts, "_is_faster_by_index", lambda x: request.param)
    torch.set_num_threads(1)
    torch.manual_seed(0)


def make(name: str, *, condition: int = 0, genes: int = GENES, **options: Any) -> Loss:
    spec = DataSpec((genes,), Domain("count"), condition)
    loss: Loss = build("loss", {"name": name, **options}, shape=spec.shape, domain=spec.domain, spec=spec)
    return loss


def of_cells(name: str, genes: int = GENES) -> Loss:
    """Return the loss whose parameters all come from the decoder."""
    options: dict[str, Any] = {} if name == "poisson" else {"dispersion": "gene_cell"}
    return make(name, genes=genes, library="none", **options)


def of_elements(name: str, x: Tensor, *heads: Tensor) -> Tensor:
    """Return -log p of each count, with its own decoder outputs."""
    loss = of_cells(name, genes=x.shape[1])
    return loss.elements(torch.stack([head.float() for head in heads], 1), x.float())


def expected(name: str, x: Tensor, *heads: Tensor) -> np.ndarray:
    """Return -log p by scipy in double precision, of the float32 inputs."""
    k, mean, *rest = (head.float().double().numpy() for head in (x, *heads))
    mean = np.exp(mean)
    if name == "poisson":
        return -stats.poisson.logpmf(k, mean)
    r = np.exp(rest[0])
    counted = stats.nbinom.logpmf(k, r, r / (r + mean))
    if name == "negative_binomial":
        return -counted
    zero, other = special.log_expit(rest[1]), special.log_expit(-rest[1])
    return -np.where(k == 0, np.logaddexp(zero, other + counted), other + counted)


# -- -log p ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_small_counts_equal_scipy(name: str) -> None:
    x = torch.poisson(20 * torch.rand(50, 40) ** 2)
    heads = (torch.randn(50, 40) + 1, torch.randn(50, 40), torch.randn(50, 40))[: 1 + NAMES.index(name)]
    np.testing.assert_allclose(of_elements(name, x, *heads), expected(name, x, *heads), rtol=2e-6, atol=2e-6)


@pytest.mark.parametrize("x", [0, 1, 2, 3, 4, 5, 30, 1000, 1_000_000])
def test_poisson_is_accurate_for_large_counts(x: int) -> None:
    # Means far below and far above the count; x log m - m - log x! has an error of 0.5 nats at a million.
    log_mean = torch.tensor([-12.0, -1.0, 0.0, 2.0, 9.0, 13.0]) + torch.tensor([[0.0], [1e-3]])
    log_mean = torch.cat([log_mean, torch.full((2, 1), max(1, x)).log()], 1)
    counts = torch.full_like(log_mean, x)
    np.testing.assert_allclose(
        of_elements("poisson", counts, log_mean), expected("poisson", counts, log_mean), rtol=1e-6, atol=2e-6
    )


@pytest.mark.parametrize("log_r", [-6.0, -1.0, 0.0, 1.3, 4.0, 9.0])
@pytest.mark.parametrize("x", [0, 1, 3, 30, 1000, 100_000])
def test_negative_binomial_is_accurate_at_every_dispersion(x: int, log_r: float) -> None:
    log_mean = torch.tensor([[-9.0, -1.0, 0.0, 3.0, 7.0, 12.0]])
    heads = (log_mean, torch.full_like(log_mean, log_r))
    counts = torch.full_like(log_mean, x)
    found = of_elements("negative_binomial", counts, *heads)
    # scipy loses digits at large r, in differences of lgamma.
    np.testing.assert_allclose(found, expected("negative_binomial", counts, *heads), rtol=3e-6, atol=5e-6)


def test_a_negative_binomial_without_overdispersion_is_poisson() -> None:
    x, log_mean = torch.poisson(10 * torch.rand(20, 30)), torch.randn(20, 30) + 1
    found = of_elements("negative_binomial", x, log_mean, torch.full_like(log_mean, 20.0))
    torch.testing.assert_close(found, of_elements("poisson", x, log_mean), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_the_probabilities_of_all_counts_sum_to_one(name: str) -> None:
    heads = torch.tensor([[-1.0, 0.5, -2.0], [1.5, -1.0, 0.3], [2.5, 1.0, 2.0]])[:, : 1 + NAMES.index(name)]
    x = torch.arange(1500.0).unsqueeze(1).expand(-1, 3)
    spread = [column.expand(1500, 3) for column in heads.unbind(1)]
    total = of_elements(name, x, *spread).double().neg().exp().sum(0)
    torch.testing.assert_close(total, torch.ones(3, dtype=torch.double), rtol=1e-5, atol=0)


@pytest.mark.parametrize("name", NAMES)
def test_gradients_equal_those_in_double_precision(name: str) -> None:
    num = 1 + NAMES.index(name)
    x = torch.tensor([0.0, 1.0, 3.0, 7.0, 60.0, 5000.0]).repeat(5, 1)
    heads = torch.stack([torch.randn(5, 6) + x.clamp(min=0.3).log(), torch.randn(5, 6), torch.randn(5, 6)][:num], 1)
    loss = of_cells(name)
    found, exact = heads.clone().requires_grad_(), heads.double().requires_grad_()
    (gradient,) = torch.autograd.grad(loss.elements(found, x).sum(), found)
    (precise,) = torch.autograd.grad(loss.elements(exact, x).sum(), exact)
    torch.testing.assert_close(gradient, precise.float(), rtol=1e-4, atol=1e-4)
    assert torch.autograd.gradcheck(lambda heads: loss.elements(heads, x[:1]), exact[:1])


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("value", [-1e4, 1e4])
def test_no_output_makes_the_loss_infinite(name: str, value: float) -> None:
    loss = of_cells(name)
    x = torch.tensor([[0.0, 1.0, 2.0, 50.0, 1e4, 1e6]])
    for column in range(loss.num_outputs):
        output = torch.zeros(1, loss.num_outputs, GENES)
        output[:, column] = value
        output.requires_grad_()
        found = loss(output, Batch(x))
        (gradient,) = torch.autograd.grad(found.sum(), output)
        assert found.isfinite().all()
        assert gradient.isfinite().all()
        assert loss.mean(output).isfinite().all()


# -- mean and sample ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_samples_have_the_mean_and_variance_of_the_likelihood(name: str) -> None:
    log_mean, log_r, logit = (torch.tensor(value).expand(1, GENES) for value in (1.2, 0.4, -0.5))
    heads = (log_mean, log_r, logit)[: 1 + NAMES.index(name)]
    loss = of_cells(name)
    output = torch.stack(heads, 1).expand(20000, -1, -1)
    mean, r, zero = np.exp(1.2), np.exp(0.4), special.expit(-0.5)
    variance = mean if name == "poisson" else mean + mean**2 / r
    if name == NAMES[2]:
        variance = (1 - zero) * (variance + mean**2) - ((1 - zero) * mean) ** 2
        mean = (1 - zero) * mean
    drawn = loss.sample(output)
    np.testing.assert_allclose(loss.mean(output[:1]), np.full((1, GENES), mean), rtol=1e-5)
    assert drawn.mean().item() == pytest.approx(mean, rel=0.02)
    assert drawn.var().item() == pytest.approx(variance, rel=0.04)
    assert not Domain("count").violations(drawn).any()


# -- library sizes and dispersions -------------------------------------------------------------------------------


def test_the_mean_is_library_times_rho() -> None:
    loss, output = make("poisson"), torch.randn(3, 1, GENES)
    x = torch.poisson(5 * torch.ones(3, GENES))
    rho = special.softmax(output[:, 0].numpy(), axis=1)
    own = loss.mean(loss.postprocess(output, Batch(x)))
    np.testing.assert_allclose(own, x.sum(1, keepdim=True).numpy() * rho, rtol=1e-5)
    given = Batch(x, extras={"library": torch.tensor([10.0, 100.0, 1000.0])})
    np.testing.assert_allclose(
        loss.mean(loss.postprocess(output, given)), np.array([[10.0], [100.0], [1000.0]]) * rho, rtol=1e-5
    )
    new = make("poisson", default_library=50.0)
    np.testing.assert_allclose(new.mean(new.postprocess(output, None)), 50 * rho, rtol=1e-5)


def test_the_library_sums_unmasked_counts_and_is_positive() -> None:
    loss = make("poisson")
    x = torch.tensor([[1.0, 2.0, 3.0, float("nan"), 5.0, 6.0], [0.0] * 6])
    mask = ~x.isnan()
    output = loss.postprocess(torch.zeros(2, 1, GENES), Batch(x, mask=mask))
    np.testing.assert_allclose(loss.mean(output).sum(1), [17.0, 1e-6], rtol=1e-5)
    assert loss(output, Batch(x, mask=mask)).isfinite().all()


def test_the_log_likelihood_of_a_sample() -> None:
    genes = 2000
    loss = make("poisson", genes=genes)
    x, output = torch.poisson(3 * torch.rand(4, genes) ** 4), torch.randn(4, 1, genes)
    found = loss(loss.postprocess(output, Batch(x)), Batch(x))
    rho = special.softmax(output[:, 0].double().numpy(), axis=1)
    mean = x.double().numpy().sum(1, keepdims=True) * rho
    np.testing.assert_allclose(found, -stats.poisson.logpmf(x.numpy(), mean).sum(1), rtol=1e-6)


@pytest.mark.parametrize("dispersion", ["gene", "gene_batch"])
@pytest.mark.parametrize("name", NAMES[1:])
def test_dispersions_by_gene_and_by_category(name: str, dispersion: str) -> None:
    loss = make(name, condition=3, dispersion=dispersion, library="none", initial_r=2.0)
    (parameter,) = loss.parameters()
    # The initial r is 2.
    assert not parameter.any()
    torch.nn.init.normal_(parameter, std=0.1)
    log_r = 10 * parameter + np.log(2.0)
    x, output = torch.poisson(5 * torch.rand(4, GENES)), torch.randn(4, loss.num_outputs, GENES)
    category = torch.tensor([2, 0, 1, 2])
    condition = torch.eye(3)[category]
    of_sample = log_r[category] if dispersion == "gene_batch" else log_r.expand(4, -1)
    wanted = expected(name, x, output[:, 0], of_sample.detach(), *output[:, 1:].unbind(1))
    # For samples, and for new samples of a chosen category.
    for batch in (Batch(x, condition=condition), None):
        found = loss.elements(loss.postprocess(output, batch, condition), x)
        np.testing.assert_allclose(found.detach(), wanted, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("dispersion", ["gene", "gene_batch", "gene_cell"])
@pytest.mark.parametrize("name", NAMES[1:])
def test_each_importance_sample_has_the_library_of_its_sample(name: str, dispersion: str) -> None:
    spec = DataSpec((GENES,), Domain("count"), 3)
    model = assemble(
        {
            "encoder": {"name": "mlp", "hidden": (5,)}, "latent": {"name": "gaussian", "dim": 2},
            "loss": {"name": name, "dispersion": dispersion}, "objective": "elbo",
        },
        spec,
    )  # fmt: skip
    batch = Batch(torch.poisson(4 * torch.rand(7, GENES)), condition=torch.eye(3)[torch.arange(7) % 3])
    p = model(batch, num_samples=4)
    assert p.reconstruction.shape == (28,)
    for rows in torch.arange(28).split(7):
        torch.testing.assert_close(p.reconstruction[rows], model.loss(model.decode(p.latent.z[rows], batch), batch))
    model.terms(model(batch), TrainingProgress()).total().sum().backward()
    assert all(parameter.grad is not None and parameter.grad.any() for parameter in model.parameters())
    assert model.generate(p.latent.mean[:7], condition=batch.condition, draw=True).shape == (7, GENES)
    totals = model.loss.mean(model.decode(p.latent.mean[:7], batch)).sum(1)
    if name == "negative_binomial":
        torch.testing.assert_close(totals, batch.x.sum(1))


# -- errors ----------------------------------------------------------------------------------------------------


def test_gene_batch_without_a_condition_is_an_error() -> None:
    with pytest.raises(AeframeError) as error:
        make("negative_binomial", dispersion="gene_batch")
    assert str(error.value) == (
        "a loss of counts with dispersion=gene_batch needs data with a condition, these have none; "
        "set loss.dispersion=gene"
    )


def test_a_default_library_of_zero_is_an_error() -> None:
    with pytest.raises(AeframeError) as error:
        make("poisson", default_library=0)
    assert str(error.value) == "a loss of counts needs default_library > 0, found 0.0"
    with pytest.raises(AeframeError) as error:
        make("negative_binomial", initial_r=0)
    assert str(error.value) == "a loss of counts needs initial_r > 0, found 0.0"
