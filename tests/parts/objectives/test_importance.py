"""Importance-weighted bounds of a linear-Gaussian model, and gradients against those of separate bounds."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.distributions import MultivariateNormal

from aeframe.errors import AeframeError
from aeframe.factory import build
from aeframe.model.autoencoder import Autoencoder
from aeframe.parts.latents.gaussian import Gaussian
from aeframe.types import Batch, LossTerms, TrainingProgress

PROGRESS = TrainingProgress(batch=50, planned=100)
Make = Callable[..., Autoencoder]


def terms_of(model: Autoencoder, x: Tensor, num_samples: int | None = None) -> LossTerms:
    k = model.objective.num_samples if num_samples is None else num_samples
    return model.terms(model(Batch(x), sample=True, num_samples=k), PROGRESS)


def gradients(model: Autoencoder, x: Tensor) -> dict[str, Tensor]:
    """Return the gradients of one step with the noise of one seed, by parameter."""
    torch.manual_seed(7)
    terms_of(model, x).total().mean().backward()
    found = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    model.zero_grad(set_to_none=True)
    return found


def seeded_model(make: Make, **options: Any) -> Autoencoder:
    """Return a model with the same weights for all options."""
    torch.manual_seed(3)
    return make({"name": "importance", **options})


def linear(make: Make) -> tuple[Autoencoder, MultivariateNormal]:
    """Return a model with linear maps, unit prior and fixed noise, and its exact p(x)."""
    model = make(
        {"name": "importance"}, dim=2, encoder={"name": "mlp", "hidden": ()}, loss={"name": "gaussian", "scale": 0.7}
    )
    with torch.no_grad():
        # q(z|x) = N(0, 1.1^2), wider than the true posterior, so that no weight is rare and large.
        for parameter in model.latent.parameters():
            parameter.zero_()
        assert isinstance(model.latent, Gaussian)
        model.latent.head.linear.bias[2:] = 2 * math.log(1.1)
        outputs = model.decode(torch.cat([torch.zeros(1, 2), torch.eye(2)])).squeeze(1)
    offset, weight = outputs[0], (outputs[1:] - outputs[0]).T
    return model, MultivariateNormal(offset, weight @ weight.T + 0.49 * torch.eye(6))


# -- the bound ---------------------------------------------------------------------------------------------------


@torch.no_grad()
def test_the_bound_increases_with_k_to_the_exact_likelihood_of_a_linear_gaussian_model(make: Make) -> None:
    model, exact = linear(make)
    x = exact.sample((16,))
    bounds = []
    for k in (1, 4, 32, 20_000):
        # The same number of samples for each k, so that the noise is the same.
        runs = [terms_of(model, x, k).bound for _ in range(max(1, 2000 // k))]
        bounds.append(-float(torch.stack([run for run in runs if run is not None]).mean()))
    likelihood = float(exact.log_prob(x).mean())
    assert bounds[0] < bounds[1] - 0.02 < bounds[2] - 0.03 < bounds[3] - 0.03
    assert bounds[3] == pytest.approx(likelihood, abs=0.02)


@torch.no_grad()
def test_groups_are_between_the_evidence_lower_bound_and_the_bound_of_all_samples(make: Make) -> None:
    x, found = torch.randn(5, 6), {}
    for groups in (1, 2, 4, 8):
        torch.manual_seed(1)
        found[groups] = terms_of(seeded_model(make, groups=groups), x)
    values = [found[groups].raw["importance"] for groups in (1, 2, 4, 8)]
    assert all((lower > higher).all() for lower, higher in zip(values[1:], values[:-1], strict=True))
    # Groups of one sample are the evidence lower bound; models are selected by the bound of all samples.
    torch.testing.assert_close(values[3], found[8].raw["reconstruction"] + found[8].raw["kl"])
    for terms in found.values():
        assert terms.bound is not None
        torch.testing.assert_close(terms.bound, values[0])


@torch.no_grad()
def test_beta_mixes_the_two_bounds_and_follows_a_schedule(make: Make) -> None:
    x, found = torch.randn(5, 6), {}
    for name, beta in {"iwae": 0.0, "elbo": 1.0, "both": {"name": "linear", "end": 0.5}}.items():
        torch.manual_seed(1)
        found[name] = terms_of(seeded_model(make, beta=beta), x).raw["importance"]
    torch.testing.assert_close(found["both"], 0.25 * found["elbo"] + 0.75 * found["iwae"])


@torch.no_grad()
def test_a_single_sample_is_the_evidence_lower_bound(make: Make) -> None:
    model = seeded_model(make, groups=4)
    p = model(Batch(torch.randn(5, 6)), sample=True)
    terms = model.terms(p, PROGRESS)
    kl = p.latent.posterior.log_prob(p.latent.z).sum(1) - model.prior.log_prob(p.latent.z)
    torch.testing.assert_close(terms.raw["importance"], p.reconstruction + kl)
    torch.testing.assert_close(terms.raw["kl"], kl)
    assert terms.weights == {"reconstruction": 0.0, "kl": 0.0, "importance": 1.0}


# -- gradients ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("doubly", [False, True])
def test_partial_trains_the_decoder_by_all_samples_and_the_encoder_by_groups(make: Make, doubly: bool) -> None:
    x = torch.randn(5, 6)
    partial, all_samples, groups = (
        gradients(seeded_model(make, doubly_reparameterised=doubly, **options), x)
        for options in ({"groups": 4, "partial": True}, {"groups": 1}, {"groups": 4})
    )
    for name, gradient in partial.items():
        decodes = name.startswith("decoder")
        same, other = (all_samples, groups) if decodes else (groups, all_samples)
        torch.testing.assert_close(gradient, same[name])
        assert not torch.allclose(gradient, other[name], rtol=1e-2), name


def test_redirected_gradients_do_not_change_the_value(make: Make) -> None:
    x, found = torch.randn(5, 6), []
    for options in ({}, {"partial": True}, {"doubly_reparameterised": True}):
        torch.manual_seed(1)
        terms = terms_of(seeded_model(make, groups=1, **options), x)
        found.append((terms.raw["importance"], terms.bound))
    for value, bound in found[1:]:
        torch.testing.assert_close(value, found[0][0])
        torch.testing.assert_close(bound, found[0][1])


def test_a_learned_prior_learns_from_the_decoder_s_bound(make: Make) -> None:
    x, prior = torch.randn(5, 6), {"name": "mixture", "components": 2}
    found = []
    for options in ({"groups": 4, "partial": True}, {"groups": 1}):
        torch.manual_seed(3)
        found.append(gradients(make({"name": "importance", **options}, prior=prior), x))
    for name in ("prior.means", "prior.log_scales", "prior.logits"):
        torch.testing.assert_close(found[0][name], found[1][name])


@pytest.mark.parametrize("options", [{}, {"groups": 2}, {"beta": 0.5}, {"groups": 2, "partial": True}], ids=str)
def test_doubly_reparameterised_gradients_are_equal_in_expectation(make: Make, options: dict[str, Any]) -> None:
    x = torch.randn(1, 6).expand(400, 6)
    plain, doubly = (seeded_model(make, num_samples=4, doubly_reparameterised=d, **options) for d in (False, True))
    differences = []
    for seed in range(60):
        steps = []
        for model in (plain, doubly):
            torch.manual_seed(seed)
            terms_of(model, x).total().mean().backward()
            steps.append(torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None]))
            model.zero_grad(set_to_none=True)
        differences.append(steps[1] - steps[0])
    difference = torch.stack(differences)
    error = difference.std(0) / len(difference) ** 0.5
    # Those of the decoder are equal up to rounding.
    assert bool((difference.mean(0).abs() < 5 * error + 1e-6).all())
    assert bool((error > 1e-5).any())


def test_doubly_reparameterised_gradients_of_the_encoder_have_less_variance_with_many_samples(make: Make) -> None:
    x, variances = torch.randn(1, 6), []
    for doubly in (False, True):
        model = seeded_model(make, num_samples=64, doubly_reparameterised=doubly)
        samples = []
        for seed in range(100):
            torch.manual_seed(seed)
            terms_of(model, x).total().mean().backward()
            samples.append(torch.cat([p.grad.flatten() for p in model.latent.parameters() if p.grad is not None]))
            model.zero_grad(set_to_none=True)
        variances.append(float(torch.stack(samples).var(0).sum()))
    assert variances[1] < 0.7 * variances[0]


# -- errors ------------------------------------------------------------------------------------------------------


def test_groups_that_do_not_divide_the_samples_are_rejected() -> None:
    with pytest.raises(AeframeError) as error:
        build("objective", {"name": "importance", "num_samples": 8, "groups": 3})
    assert str(error.value) == "objective importance needs num_samples that groups divide, found 8 for 3 groups"


def test_a_latent_with_another_decoder_input_is_rejected(make: Make) -> None:
    model = seeded_model(make, partial=True, groups=2)
    p = model(Batch(torch.randn(5, 6)), num_samples=8)
    p.latent.decoder_input = p.latent.z
    with pytest.raises(AeframeError) as error:
        model.terms(p, PROGRESS)
    assert str(error.value) == (
        "objective importance with partial or doubly_reparameterised needs a decoder that reads z, but this latent "
        "provides another decoder input; leave both at false"
    )
