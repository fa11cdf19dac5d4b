"""Priors against torch.distributions, Monte Carlo, and the moments of their samples."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.distributions import Categorical, Independent, MixtureSameFamily, Normal, kl_divergence

from aeframe.errors import AeframeError
from aeframe.factory import build
from aeframe.parts.priors.base import Prior
from aeframe.parts.priors.mixture import Mixture
from aeframe.types import Latent

Z_SHAPE = (3, 2)
NAMES = ["normal", "mixture"]


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)


def make(name: str, z_shape: tuple[int, ...] = Z_SHAPE, **options: Any) -> Prior:
    prior: Prior = build("prior", {"name": name, **options}, z_shape=z_shape, encoder=None, latent=None)
    if isinstance(prior, Mixture):
        with torch.no_grad():
            prior.logits.normal_()
            prior.log_scales.normal_(std=0.3)
    return prior


def posterior(num: int = 4) -> Latent:
    mean, std = torch.randn(num, *Z_SHAPE), torch.rand(num, *Z_SHAPE) + 0.2
    q = Normal(mean, std)
    return Latent(q.rsample(), mean, posterior=q)


def as_torch(prior: Mixture) -> MixtureSameFamily:
    components = Independent(Normal(prior.means.flatten(1), prior.log_scales.exp().flatten(1)), 1)
    return MixtureSameFamily(Categorical(logits=prior.logits), components)


def test_standard_normal_log_prob_is_torch_s() -> None:
    z = torch.randn(5, 4, *Z_SHAPE)
    torch.testing.assert_close(make("normal").log_prob(z), Normal(0.0, 1.0).log_prob(z).sum((-2, -1)))


def test_standard_normal_kl_is_torch_s_by_dimension() -> None:
    latent = posterior()
    kl = make("normal").kl(latent)
    assert kl.shape == (4, *Z_SHAPE)
    assert isinstance(latent.posterior, Normal)
    torch.testing.assert_close(kl, kl_divergence(latent.posterior, Normal(torch.zeros(Z_SHAPE), torch.ones(Z_SHAPE))))


def test_standard_normal_kl_by_hand() -> None:
    # (4 + 0.25 - 1) / 2 - log 0.5 = 1.625 + log 2; and 0 of N(0, 1).
    q = Normal(torch.tensor([[2.0, 0.0]]), torch.tensor([[0.5, 1.0]]))
    kl = make("normal", (2,)).kl(Latent(q.mean, q.mean, posterior=q))
    torch.testing.assert_close(kl, torch.tensor([[1.625 + 0.6931472, 0.0]]))


@pytest.mark.parametrize("name", NAMES)
def test_the_kl_is_the_mean_of_log_q_less_log_p(name: str) -> None:
    prior, latent = make(name), posterior(num=2)
    many = latent.posterior.sample((20_000,))  # type: ignore[union-attr]
    with torch.no_grad():
        log_ratio = latent.posterior.log_prob(many).sum((-2, -1)) - prior.log_prob(many)  # type: ignore[union-attr]
        monte_carlo, error = log_ratio.mean(0), log_ratio.std(0) / len(many) ** 0.5
        if name == "normal":
            found = prior.kl(latent).flatten(1).sum(1)
        else:
            loc, scale = (value.repeat(len(many), 1, 1) for value in (latent.posterior.loc, latent.posterior.scale))  # type: ignore[union-attr]
            rows = Latent(many.flatten(0, 1), loc, posterior=Normal(loc, scale))
            found = prior.kl(rows).unflatten(0, (-1, 2)).mean(0)
    assert ((found - monte_carlo).abs() < 4 * error).all()


def test_mixture_kl_is_one_number_per_sample() -> None:
    prior, latent = make("mixture"), posterior()
    kl = prior.kl(latent)
    assert kl.shape == (4,)
    expected = latent.posterior.log_prob(latent.z).sum((-2, -1)) - prior.log_prob(latent.z)  # type: ignore[union-attr]
    torch.testing.assert_close(kl, expected)


def test_mixture_of_one_standard_component_is_the_standard_normal() -> None:
    prior, z = Mixture(Z_SHAPE, components=1, spread=0.0), torch.randn(6, *Z_SHAPE)
    torch.testing.assert_close(prior.log_prob(z), make("normal").log_prob(z))


@pytest.mark.parametrize("lead", [(7,), (5, 7)])
def test_mixture_log_prob_is_torch_s(lead: tuple[int, ...]) -> None:
    prior = make("mixture", components=4, spread=2.0)
    assert isinstance(prior, Mixture)
    z = 2 * torch.randn(*lead, *Z_SHAPE)
    found = prior.log_prob(z)
    assert found.shape == lead
    torch.testing.assert_close(found, as_torch(prior).log_prob(z.flatten(-2)))


@pytest.mark.parametrize("name", NAMES)
def test_samples_have_the_shape_and_the_moments_of_the_density(name: str) -> None:
    prior = make(name)
    with torch.no_grad():
        samples = prior.sample(20_000)
        mean, variance = (
            (as_torch(prior).mean, as_torch(prior).variance)
            if isinstance(prior, Mixture)
            else (torch.zeros(6), torch.ones(6))
        )
    assert samples.shape == (20_000, *Z_SHAPE)
    flat = samples.flatten(1)
    torch.testing.assert_close(flat.mean(0), mean, rtol=0, atol=0.05)
    torch.testing.assert_close(flat.var(0), variance, rtol=0.08, atol=0)


@pytest.mark.parametrize("name", NAMES)
def test_terms_of_a_doubled_batch_are_the_same_by_sample(name: str) -> None:
    prior, latent = make(name), posterior()
    assert isinstance(latent.posterior, Normal)

    def twice(value: Tensor) -> Tensor:
        return torch.cat([value, value])

    q = Normal(twice(latent.posterior.loc), twice(latent.posterior.scale))
    doubled = prior.kl(Latent(twice(latent.z), twice(latent.mean), posterior=q))
    torch.testing.assert_close(doubled, twice(prior.kl(latent)))


def test_every_parameter_of_a_mixture_is_trained_by_the_kl() -> None:
    prior = make("mixture", components=3)
    prior.kl(posterior()).sum().backward()
    assert {name for name, p in prior.named_parameters() if p.grad is not None and p.grad.any()} == {
        "means",
        "log_scales",
        "logits",
    }


def test_mixture_components_are_initialised_differently() -> None:
    means = Mixture((8,), components=5).means.flatten(1)
    assert (torch.cdist(means, means) + torch.eye(5)).min() > 0.5


@pytest.mark.parametrize("name", NAMES)
def test_a_code_without_a_posterior_has_no_kl(name: str) -> None:
    z = torch.zeros(2, *Z_SHAPE)
    with pytest.raises(AeframeError) as error:
        make(name).kl(Latent(z, z))
    assert str(error.value) == "a KL divergence requires a latent that provides a posterior"


def test_a_mixture_without_components_is_rejected() -> None:
    with pytest.raises(AeframeError) as error:
        build("prior", {"name": "mixture", "components": 0}, z_shape=Z_SHAPE)
    assert str(error.value) == "prior mixture needs components >= 1, found 0"
