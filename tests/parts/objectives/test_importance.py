"""Importance-weighted bounds against a linear-Gaussian model, and gradients against bounds taken one by one."""

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


def alike(make: Make, **options: Any) -> Autoencoder:
    """A model with the same weights for all options."""
    torch.manual_seed(3)
    return make({"name": "importance", **options})


def linear(make: Make) -> tuple[Autoencoder, MultivariateNormal]:
    """A model with linear maps, unit prior and fixed noise, and the density that it is of x."""
    model = make(
        {"name": "importance"}, dim=2, encoder={"name": "mlp", "hidden": ()}, loss={"name": "gaussian", "scale": 0.7}
    )
    with torch.no_grad():
        # q(z|x) = N(0, 1.1^2), wider than what is true, so that no weight is rare and large.
        for parameter in model.latent.parameters():
            parameter.zero_()
        assert isinstance(model.latent, Gaussian)
        model.latent.head.linear.bias[2:] = 2 * math.log(1.1)
        at = model.decode(torch.cat([torch.zeros(1, 2), torch.eye(2)])).squeeze(1)
    offset, weight = at[0], (at[1:] - at[0]).T
    return model, MultivariateNormal(offset, weight @ weight.T + 0.49 * torch.eye(6))


# -- the bound ---------------------------------------------------------------------------------------------------


@torch.no_grad()
def test_the_bound_rises_with_k_to_the_exact_likelihood_of_a_linear_gaussian_model(make: Make) -> None:
    model, exact = linear(make)
    x = exact.sample((16,))
    bounds = []
    for k in (1, 4, 32, 20_000):
        # As many draws for each, so that none is noisier.
        runs = [terms_of(model, x, k).bound for _ in range(max(1, 2000 // k))]
        bounds.append(-float(torch.stack([run for run in runs if run is not None]).mean()))
    likelihood = float(exact.log_prob(x).mean())
    assert bounds[0] < bounds[1] - 0.02 < bounds[2] - 0.03 < bounds[3] - 0.03
    assert bounds[3] == pytest.approx(likelihood, abs=0.02)


@torch.no_grad()
def test_groups_lie_between_the_lower_bound_and_that_of_all_samples(make: Make) -> None:
    x, found = torch.randn(5, 6), {}
    for groups in (1, 2, 4, 8):
        torch.manual_seed(1)
        found[groups] = terms_of(alike(make, groups=groups), x)
    values = [found[groups].raw["importance"] for groups in (1, 2, 4, 8)]
    assert all((lower > higher).all() for lower, higher in zip(values[1:], values[:-1], strict=True))
    # One sample in each group is the evidence lower bound, and the bound that models are selected by is that of all.
    torch.testing.assert_close(values[3], found[8].raw["reconstruction"] + found[8].raw["kl"])
    for terms in found.values():
        assert terms.bound is not None
        torch.testing.assert_close(terms.bound, values[0])


@torch.no_grad()
def test_beta_mixes_the_two_bounds_and_follows_a_schedule(make: Make) -> None:
    x, found = torch.randn(5, 6), {}
    for name, beta in {"iwae": 0.0, "elbo": 1.0, "both": {"name": "linear", "end": 0.5}}.items():
        torch.manual_seed(1)
        found[name] = terms_of(alike(make, beta=beta), x).raw["importance"]
    torch.testing.assert_close(found["both"], 0.25 * found["elbo"] + 0.75 * found["iwae"])


@torch.no_grad()
def test_a_single_draw_is_the_evidence_lower_bound(make: Make) -> None:
    model = alike(make, groups=4)
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
    partial, whole, groups = (
        gradients(alike(make, doubly_reparameterised=doubly, **options), x)
        for options in ({"groups": 4, "partial": True}, {"groups": 1}, {"groups": 4})
    )
    for name, gradient in partial.items():
        decodes = name.startswith("decoder")
        same, other = (whole, groups) if decodes else (groups, whole)
        torch.testing.assert_close(gradient, same[name])
        assert not torch.allclose(gradient, other[name], rtol=1e-2), name


def test_other_gradients_leave_the_value_as_it_is(make: Make) -> None:
    x, found = torch.randn(5, 6), []
    for options in ({}, {"partial": True}, {"doubly_reparameterised": True}):
        torch.manual_seed(1)
        terms = terms_of(alike(make, groups=1, **options), x)
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
def test_doubly_reparameterised_gradients_are_the_plain_ones_in_expectation(
    make: Make, options: dict[str, Any]
) -> None:
    x = torch.randn(1, 6).expand(400, 6)
    plain, doubly = (alike(make, num_samples=4, doubly_reparameterised=d, **options) for d in (False, True))
    differences = []
    for seed in range(60):
        steps = []
        for model in (plain, doubly):
            torch.manual_seed(seed)
            terms_of(model, x).total().mean().backward()
            steps.append(torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None]))
            model.zero_grad(set_to_none=True)
        differences.append(steps[1] - steps[0])
    apart = torch.stack(differences)
    error = apart.std(0) / len(apart) ** 0.5
    # The decoder's are the same draw by draw, but for rounding.
    assert bool((apart.mean(0).abs() < 5 * error + 1e-6).all())
    assert bool((error > 1e-5).any())


def test_doubly_reparameterised_gradients_of_the_encoder_are_less_noisy_with_many_samples(make: Make) -> None:
    x, spread = torch.randn(1, 6), []
    for doubly in (False, True):
        model = alike(make, num_samples=64, doubly_reparameterised=doubly)
        draws = []
        for seed in range(100):
            torch.manual_seed(seed)
            terms_of(model, x).total().mean().backward()
            draws.append(torch.cat([p.grad.flatten() for p in model.latent.parameters() if p.grad is not None]))
            model.zero_grad(set_to_none=True)
        spread.append(float(torch.stack(draws).var(0).sum()))
    assert spread[1] < 0.7 * spread[0]


# -- refusals ----------------------------------------------------------------------------------------------------


def test_groups_that_are_no_share_are_refused() -> None:
    with pytest.raises(AeframeError) as error:
        build("objective", {"name": "importance", "num_samples": 8, "groups": 3})
    assert str(error.value) == (
        "objective importance shares num_samples out to groups equally, found 8 for 3; make one a multiple of the other"
    )


def test_a_latent_that_decodes_something_else_than_z_is_refused(make: Make) -> None:
    model = alike(make, partial=True, groups=2)
    p = model(Batch(torch.randn(5, 6)), num_samples=8)
    p.latent.decoder_input = p.latent.z
    with pytest.raises(AeframeError) as error:
        model.terms(p, PROGRESS)
    assert str(error.value) == (
        "objective importance with partial or doubly_reparameterised follows the gradient through z, and this latent "
        "hands the decoder something else; leave both at false"
    )
