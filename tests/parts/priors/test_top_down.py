"""The prior of a hierarchy against a joint normal in closed form, large samples, and explicit divergences."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.distributions import MultivariateNormal

from aeframe.errors import AeframeError
from aeframe.experiment.checks import check_parts
from aeframe.experiment.compose import compose
from aeframe.factory import build
from aeframe.parts.latents.hierarchy.base import GroupedPosterior, Hierarchy
from aeframe.parts.priors.top_down import TopDown
from aeframe.types import DataSpec, Domain, Latent

SMALL: dict[str, dict[str, Any]] = {
    "ladder": {"name": "ladder", "dims": [2, 3], "hidden": 8},
    "nvae": {"name": "nvae", "dim": 1, "scales": [1, 1], "width": 8, "expansion": 1, "activation": "silu"},
    "vdvae": {"name": "vdvae", "dim": 1, "scales": [1, 2], "width": 8, "activation": "gelu"},
}
SLOPE, OFFSET, SCALE = 1.5, 0.7, 0.4


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)


def make(config: dict[str, Any], **options: Any) -> tuple[Hierarchy, TopDown]:
    latent = build("latent", config, feature_shape=(4, 2))
    with torch.no_grad():
        for parameter in latent.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return latent, build("prior", {"name": "top_down", **options}, z_shape=latent.shape, latent=latent)


def linear(**options: Any) -> tuple[Hierarchy, TopDown]:
    """Return a hierarchy of two numbers: z1 ~ N(0, 1) and z2 ~ N(SLOPE * z1 + OFFSET, SCALE^2)."""
    latent, prior = make({"name": "ladder", "dims": [1, 1], "hidden": 4}, **options)
    below = nn.Linear(1, 2)
    with torch.no_grad():
        below.weight.copy_(torch.tensor([[SLOPE], [0.0]]))
        # The log-scale is 5 tanh(x / 5).
        below.bias.copy_(torch.tensor([OFFSET, 5 * torch.atanh(torch.tensor(SCALE).log() / 5)]))
    latent.blocks[1].prior = below
    return latent, prior


def joint() -> MultivariateNormal:
    covariance = torch.tensor([[1.0, SLOPE], [SLOPE, SLOPE**2 + SCALE**2]])
    return MultivariateNormal(torch.tensor([0.0, OFFSET]), covariance)


@pytest.fixture(params=SMALL)
def pair(request: pytest.FixtureRequest) -> tuple[Hierarchy, TopDown]:
    return make(SMALL[request.param])


# -- a case in closed form ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("lead", [(7,), (3, 7), (2, 3, 7)])
def test_the_density_of_two_linear_groups_is_the_joint_normal_s(lead: tuple[int, ...]) -> None:
    _, prior = linear()
    z = 2 * torch.randn(*lead, 2)
    found = prior.log_prob(z)
    assert found.shape == lead
    torch.testing.assert_close(found, joint().log_prob(z))


def test_samples_of_two_linear_groups_have_the_joint_normal_s_moments() -> None:
    _, prior = linear()
    with torch.no_grad():
        z = prior.sample(40_000)
    torch.testing.assert_close(z.mean(0), joint().mean, rtol=0, atol=0.04)
    torch.testing.assert_close(z.T.cov(), joint().covariance_matrix, rtol=0, atol=0.07)


def test_a_temperature_narrows_every_group_and_leaves_the_density() -> None:
    _, prior = linear(temperature=0.5)
    with torch.no_grad():
        z = prior.sample(40_000)
    torch.testing.assert_close(z.mean(0), joint().mean, rtol=0, atol=0.03)
    torch.testing.assert_close(z.T.cov(), joint().covariance_matrix / 4, rtol=0, atol=0.03)
    torch.testing.assert_close(prior.log_prob(z[:5]), joint().log_prob(z[:5]))


def test_the_density_is_normalised() -> None:
    _, prior = make({"name": "ladder", "dims": [1, 1], "hidden": 8})
    axis = torch.linspace(-12, 12, 601)
    with torch.no_grad():
        density = prior.log_prob(torch.cartesian_prod(axis, axis)).exp().sum() * (axis[1] - axis[0]) ** 2
    assert float(density) == pytest.approx(1, abs=1e-3)


# -- divergences -------------------------------------------------------------------------------------------------


def test_the_kl_of_each_number_in_closed_form(pair: tuple[Hierarchy, TopDown]) -> None:
    latent, prior = pair
    code = latent(torch.randn(5, 4, 2), sample=True)
    assert isinstance(code.posterior, GroupedPosterior)
    q, p = code.posterior.q, code.posterior.p
    expected = (p.scale / q.scale).log() + (q.variance + (q.loc - p.loc) ** 2) / (2 * p.variance) - 0.5
    found = prior.kl(code)
    assert found.shape == (5, *latent.shape)
    torch.testing.assert_close(found, expected)


def test_the_sum_over_groups_is_the_mean_of_log_q_less_log_p(pair: tuple[Hierarchy, TopDown]) -> None:
    latent, prior = pair
    with torch.no_grad():
        code = latent(torch.randn(2, 4, 2).repeat(20_000, 1, 1), sample=True)
        # The closed form by group, given the samples above, against log q - log p, with log p by a second path.
        found = prior.kl(code).sum(1).unflatten(0, (-1, 2)).mean(0)
        assert code.posterior is not None
        log_ratio = (code.posterior.log_prob(code.z).sum(1) - prior.log_prob(code.z)).unflatten(0, (-1, 2))
    error = log_ratio.std(0) / len(log_ratio) ** 0.5
    assert ((found - log_ratio.mean(0)).abs() < 4 * error).all()
    assert (found > 10 * error).all()


def test_a_code_of_the_prior_has_no_kl() -> None:
    latent, prior = make(SMALL["nvae"])
    path = latent.top_down(6, lambda p: p.loc)
    code = Latent(path.z, path.z, posterior=GroupedPosterior(path.z, path.q, path.p, lambda _: path.q))
    assert torch.equal(prior.kl(code), torch.zeros(6, *latent.shape))


def test_a_code_without_a_posterior_has_no_kl(pair: tuple[Hierarchy, TopDown]) -> None:
    latent, prior = pair
    z = torch.zeros(2, *latent.shape)
    with pytest.raises(AeframeError) as error:
        prior.kl(Latent(z, z))
    assert str(error.value) == "a KL divergence requires a latent that provides a posterior"


# -- parameters and samples --------------------------------------------------------------------------------------


def test_samples_follow_the_density(pair: tuple[Hierarchy, TopDown]) -> None:
    """The mean of -log p over samples is the entropy, which the normals of the samples have in closed form."""
    latent, prior = pair
    with torch.no_grad():
        z = prior.sample(20_000)
        surprise: Tensor = -prior.log_prob(z)
        entropy = latent.top_down_given(z).p.entropy().sum(1)
    error = (surprise - entropy).std() / len(z) ** 0.5
    assert abs(float((surprise - entropy).mean())) < 4 * float(error)


def test_its_parameters_are_registered_in_the_latent_only(pair: tuple[Hierarchy, TopDown]) -> None:
    latent, prior = pair
    assert list(prior.parameters()) == []
    assert prior.state_dict() == {}
    both = copy.deepcopy(nn.ModuleDict({"latent": latent, "prior": prior}))
    with torch.no_grad():
        for parameter in both["latent"].parameters():
            parameter.add_(0.3)
    z = torch.randn(4, *latent.shape)
    copied: Any = both["prior"]
    assert not torch.allclose(copied.log_prob(z), prior.log_prob(z))


def test_the_prior_is_trained_by_the_kl(pair: tuple[Hierarchy, TopDown]) -> None:
    latent, prior = pair
    prior.kl(latent(torch.randn(8, 4, 2), sample=True)).sum().backward()
    for name, parameter in latent.blocks[1].prior.named_parameters():  # type: ignore[union-attr]
        assert parameter.grad is not None, name
        assert parameter.grad.any(), name


def test_a_temperature_of_zero_is_rejected() -> None:
    with pytest.raises(AeframeError) as error:
        linear(temperature=0.0)
    assert str(error.value) == "prior top_down needs a temperature above 0, found 0.0"


def test_a_latent_of_one_group_is_rejected() -> None:
    with pytest.raises(AeframeError) as error:
        check_parts(compose(["model=vae", "prior=top_down"]), DataSpec((30,), Domain("real")))
    assert str(error.value).startswith(
        "prior 'top_down' requires a latent that provides hierarchy and posterior, but 'gaussian' provides "
    )
    assert "choose latent=ladder, nvae or vdvae" in str(error.value)
