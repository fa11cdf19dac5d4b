"""The VampPrior, a mixture of the encoder's posteriors."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch.distributions import Categorical, Independent, MixtureSameFamily

from aeframe.errors import AeframeError
from aeframe.model.assembly import assemble
from aeframe.model.autoencoder import Autoencoder
from aeframe.parts.priors.vamp import Vamp
from aeframe.types import Batch, DataSpec, Domain, TrainingProgress


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)


def model_of(domain: str = "real", *, latent: Any = None, condition: int = 0, **options: Any) -> Autoencoder:
    config = {
        "encoder": {"name": "mlp", "hidden": [8]},
        "latent": latent or {"name": "gaussian", "dim": 2},
        "prior": {"name": "vamp", "components": 5, **options},
        "loss": "mse",
        "objective": "elbo",
    }
    return assemble(config, DataSpec((6,), Domain.parse(domain), condition=condition))


def as_torch(model: Autoencoder) -> MixtureSameFamily:
    assert isinstance(model.prior, Vamp)
    q = model.latent(model.encoder(Batch(model.prior.pseudo_inputs())), sample=False).posterior
    return MixtureSameFamily(Categorical(torch.ones(5)), Independent(q, 1))


@pytest.mark.parametrize("lead", [(7,), (3, 7)])
def test_log_prob_is_torch_s_mixture_of_posteriors(lead: tuple[int, ...]) -> None:
    model, z = model_of(), 2 * torch.randn(*lead, 2)
    torch.testing.assert_close(model.prior.log_prob(z), as_torch(model).log_prob(z))


def test_samples_have_the_moments_of_the_mixture() -> None:
    model = model_of(spread=3.0)
    with torch.no_grad():
        samples, mixture = model.prior.sample(20_000), as_torch(model)
        assert samples.shape == (20_000, 2)
        torch.testing.assert_close(samples.mean(0), mixture.mean, atol=0.05, rtol=0)
        torch.testing.assert_close(samples.var(0), mixture.variance, atol=0, rtol=0.06)


def test_the_kl_is_that_of_quadrature() -> None:
    model = model_of(spread=3.0)
    line = torch.linspace(-10, 10, 401)
    plane = torch.cartesian_prod(line, line).unsqueeze(1)
    with torch.no_grad():
        x = torch.randn(1, 6)
        code = model.embed(Batch(x.expand(20_000, 6)), sample=True)
        log_q = model.embed(Batch(x)).posterior.log_prob(plane).sum(-1)  # type: ignore[union-attr]
        exact = (log_q.exp() * (log_q - model.prior.log_prob(plane))).sum() * (line[1] - line[0]) ** 2
        estimates = model.prior.kl(code)
    # Four standard errors.
    assert abs(estimates.mean() - exact) < 4 * estimates.std() / 20_000**0.5 + 1e-3


@pytest.mark.parametrize("transform", ["planar", "iaf"])
def test_a_mixture_of_flow_posteriors(transform: str) -> None:
    model = model_of(latent={"name": "flow", "dim": 2, "transform": transform, "context": 3})
    assert isinstance(model.prior, Vamp)
    z = torch.randn(7, 2)
    features = model.encoder(Batch(model.prior.pseudo_inputs()))
    by_component = [model.latent(features[k : k + 1], sample=False).posterior.log_prob(z) for k in range(5)]
    expected = torch.logsumexp(torch.stack(by_component), 0) - torch.tensor(5.0).log()
    torch.testing.assert_close(model.prior.log_prob(z), expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("domain", ["real", "unit", "signed", "binary", "count", "simplex"])
def test_pseudo_inputs_lie_within_the_bounds_of_the_data(domain: str) -> None:
    prior = model_of(domain, spread=5.0).prior
    assert isinstance(prior, Vamp)
    bounds = Domain("real" if domain == "real" else "simplex" if domain == "simplex" else "unit")
    low, high = Domain.parse(domain).bounds
    x = prior.pseudo_inputs().detach()
    assert ((x >= low) & (x <= high)).all()
    if domain == "simplex":
        assert not bounds.violations(x).any()
    assert x.std() > 0.05


def test_the_encoder_is_trained_through_pseudo_inputs_and_not_registered_twice() -> None:
    model = model_of()
    assert [name for name, _ in model.prior.named_parameters()] == ["free"]
    model.prior.log_prob(torch.randn(7, 2)).sum().backward()
    for part in (model.prior, model.encoder, model.latent):
        assert all(bool(parameter.grad.any()) for parameter in part.parameters() if parameter.grad is not None)
    assert all(parameter.grad is not None for parameter in model.encoder.parameters())


def test_a_deep_copy_uses_its_own_encoder() -> None:
    model, z = model_of(), torch.randn(7, 2)
    before, other = model.prior.log_prob(z), copy.deepcopy(model)
    with torch.no_grad():
        for parameter in other.encoder.parameters():
            parameter.mul_(3)
    assert torch.equal(model.prior.log_prob(z), before)
    assert not torch.allclose(other.prior.log_prob(z), before)


def test_pseudo_inputs_have_a_condition_where_the_encoder_receives_one() -> None:
    model = model_of("unit", condition=3)
    assert isinstance(model.prior, Vamp)
    assert model.prior.pseudo_inputs().shape == (5, 9)
    assert torch.equal(model.prior.pseudo_inputs()[:, 6:], model.prior.free[:, 6:])
    terms = model.terms(model(Batch(torch.rand(7, 6), condition=torch.eye(3)[torch.arange(7) % 3])), TrainingProgress())
    assert terms.raw["kl"].shape == (7,)


def test_invalid_options_are_rejected() -> None:
    with pytest.raises(AeframeError) as error:
        model_of(components=0)
    assert str(error.value) == "prior vamp needs components >= 1, found 0"
    config = {"encoder": "mlp", "latent": "gaussian", "prior": "vamp", "loss": "categorical", "objective": "elbo"}
    with pytest.raises(AeframeError) as error:
        assemble(config, DataSpec((6,), Domain.parse("category(4)")))
    assert str(error.value) == (
        "prior vamp learns pseudo-inputs by gradients, which category data do not have; choose prior=mixture or "
        "prior=flow"
    )
