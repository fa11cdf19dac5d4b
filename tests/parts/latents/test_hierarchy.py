"""Hierarchies of latents: groups computed by hand, moments of large samples, and repeated top-down passes."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.distributions import Normal

from aeframe.errors import AeframeError
from aeframe.experiment.checks import check_parts
from aeframe.experiment.compose import compose
from aeframe.factory import build
from aeframe.model.assembly import assemble
from aeframe.parts.latents.hierarchy.base import GroupedPosterior, Hierarchy, normal_from, sample_normal
from aeframe.parts.latents.hierarchy.ladder import precision_weighted
from aeframe.parts.latents.hierarchy.nvae import residual_normal
from aeframe.parts.latents.hierarchy.vdvae import _NearestUpsample
from aeframe.types import Batch, DataSpec, Domain, Shape

SMALL: dict[str, dict[str, Any]] = {
    "ladder": {"name": "ladder", "dims": [2, 3, 4], "hidden": 8},
    "nvae": {"name": "nvae", "dim": 2, "scales": [1, 2], "width": 8, "expansion": 2, "activation": "silu"},
    "vdvae": {"name": "vdvae", "dim": 2, "scales": [2, 2], "width": 8, "activation": "gelu"},
}
SHAPES: list[Shape] = [(6,), (6, 5), (6, 3, 2), (6, 2, 1, 3)]


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)


def make(name: str, feature_shape: Shape = (6, 3, 2), **options: Any) -> Hierarchy:
    latent = build("latent", {**SMALL[name], **options}, feature_shape=feature_shape)
    assert isinstance(latent, Hierarchy)
    # Parameters that are initialised to zero are changed, as by training.
    with torch.no_grad():
        for parameter in latent.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return latent


def posterior_of(latent: Any) -> GroupedPosterior:
    assert isinstance(latent.posterior, GroupedPosterior)
    return latent.posterior


@pytest.fixture(params=SMALL)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


# -- shapes ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("feature_shape", SHAPES)
def test_shapes(name: str, feature_shape: Shape) -> None:
    latent = make(name, feature_shape)
    features = torch.randn(4, *feature_shape)
    assert latent.shape == (sum(latent.groups),)
    for sample in (True, False):
        for mode in (True, False):
            latent.train(mode)
            one = latent(features, sample=sample)
            assert one.z.shape == one.mean.shape == (4, *latent.shape)
            assert one.decoder_input.shape == (4, *latent.decoder_shape)
            assert posterior_of(one).log_prob(one.z).shape == one.z.shape


def test_groups_are_ordered_from_the_coarsest() -> None:
    assert make("ladder").groups == (2, 3, 4)
    # Two numbers at 3 x 4 positions, once, and twice at 5 x 7; the decoder reads 8 channels there.
    latent = make("nvae", (6, 5, 7))
    assert latent.groups == (24, 70, 70)
    assert latent.decoder_shape == (8, 5, 7)
    # A flat row of features is one position, and the decoder reads a flat row again.
    assert make("vdvae", (6,)).groups == (2, 2, 2, 2)
    assert make("vdvae", (6,)).decoder_shape == (8,)


# -- the top-down path -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("sample", [True, False])
def test_the_decoder_input_of_z_equals_that_of_the_forward_pass(name: str, sample: bool, training: bool) -> None:
    latent = make(name).train(training)
    code = latent(torch.randn(5, 6, 3, 2), sample=sample)
    assert torch.equal(latent.decoder_input(code.z), code.decoder_input)


def test_a_sample_has_the_prior_and_state_of_its_own_top_down_path(name: str) -> None:
    latent, features = make(name), torch.randn(5, 6, 3, 2)
    code = latent(features, sample=True)
    top = posterior_of(latent(features, sample=False)).q.loc[:, : latent.groups[0]]
    torch.testing.assert_close(posterior_of(code).q.loc[:, : latent.groups[0]], top)
    again = latent.top_down_given(code.z)
    torch.testing.assert_close(again.state, code.decoder_input)
    torch.testing.assert_close(again.p.loc, posterior_of(code).p.loc)
    torch.testing.assert_close(again.p.scale, posterior_of(code).p.scale)


def test_the_posterior_depends_on_the_groups_above_and_on_the_data(name: str) -> None:
    latent, features = make(name), torch.randn(1, 6, 3, 2)
    top = latent.groups[0]
    q = posterior_of(latent(features.expand(2, -1, -1, -1), sample=True)).q.loc
    # The same data: the top group's is the same, those below are not.
    assert torch.equal(q[0, :top], q[1, :top])
    assert (q[0, top:] != q[1, top:]).all()
    other = posterior_of(latent(features + 1, sample=False)).q.loc
    assert (posterior_of(latent(features, sample=False)).q.loc != other).any(0).float().mean() > 0.9


def test_a_code_does_not_depend_on_its_batch(name: str) -> None:
    latent, features = make(name).train(), torch.randn(5, 6, 3, 2)
    together = latent(features, sample=False).z
    for n in range(5):
        torch.testing.assert_close(latent(features[n : n + 1], sample=False).z[0], together[n])


def test_in_evaluation_the_mean_of_each_group_is_conditioned_on_the_means_above(name: str) -> None:
    latent, features = make(name).eval(), torch.randn(4, 6, 3, 2)
    undrawn = latent(features, sample=False)
    assert torch.equal(undrawn.z, undrawn.mean)
    torch.testing.assert_close(latent(features, sample=True).mean, undrawn.mean)


def test_in_training_the_mean_is_an_unbiased_estimate(name: str) -> None:
    latent, features = make(name).train(), torch.randn(1, 6, 3, 2)
    with torch.no_grad():
        code = latent(features.expand(20_000, -1, -1, -1), sample=True)
    error = code.z.std(0) / 20_000**0.5
    # The error is dominated by that of the mean of the samples.
    assert ((code.mean.mean(0) - code.z.mean(0)).abs() < 5 * error).all()


def test_samples_are_distributed_as_the_posterior(name: str) -> None:
    latent, features = make(name), torch.randn(2, 6, 3, 2)
    with torch.no_grad():
        code = latent(features.repeat(5000, 1, 1, 1), sample=True)
    q = posterior_of(code).q
    noise = (code.z - q.loc) / q.scale
    assert (noise.mean(0).abs() < 0.06).all()
    assert ((noise.std(0) - 1).abs() < 0.06).all()


def test_the_gradient_reaches_features_and_every_parameter(name: str) -> None:
    latent = make(name)
    features = torch.randn(16, 6, 3, 2, requires_grad=True)
    code = latent(features, sample=True)
    posterior = posterior_of(code)
    kl = torch.distributions.kl_divergence(posterior.q, posterior.p).sum()
    (kl + (code.decoder_input * torch.randn_like(code.decoder_input)).sum()).backward()
    assert features.grad is not None
    assert features.grad.flatten(1).any(1).all()
    for parameter, value in latent.named_parameters():
        assert value.grad is not None, parameter
        assert value.grad.any(), parameter


# -- blocks ------------------------------------------------------------------------------------------------------


def test_the_ladder_combines_normals_by_precision() -> None:
    # Precisions 4 and 1: mean (4 * 1 + 1 * -1) / 5, variance 1 / 5.
    q = precision_weighted(
        Normal(torch.tensor([1.0]), torch.tensor([0.5])), Normal(torch.tensor([-1.0]), torch.tensor([1.0]))
    )
    torch.testing.assert_close(q.loc, torch.tensor([0.6]))
    torch.testing.assert_close(q.variance, torch.tensor([0.2]))


def test_the_ladder_s_top_posterior_comes_from_the_data_and_the_others_are_combined() -> None:
    latent = make("ladder")
    features = torch.randn(3, 6, 3, 2)
    code = latent(features, sample=True)
    q, p = posterior_of(code).q, posterior_of(code).p
    assert torch.equal(p.loc[:, :2], torch.zeros(3, 2))
    assert torch.equal(p.scale[:, :2], torch.ones(3, 2))
    encoder_features = latent.bottom_up(features)
    top: Any = latent.blocks[0]
    torch.testing.assert_close(q.loc[:, :2], normal_from(top.likelihood(encoder_features[0])).loc)
    middle: Any = latent.blocks[1]
    expected_p = normal_from(middle.prior(code.z[:, :2]))
    expected_q = precision_weighted(normal_from(middle.likelihood(encoder_features[1])), expected_p)
    torch.testing.assert_close(p.scale[:, 2:5], expected_p.scale)
    torch.testing.assert_close(q.loc[:, 2:5], expected_q.loc)
    # The combination has a smaller scale than the prior.
    assert (q.scale[:, 2:] < p.scale[:, 2:]).all()
    assert torch.equal(code.decoder_input, code.z[:, 5:])


def test_the_ladder_s_top_group_receives_the_deepest_layer() -> None:
    latent = make("ladder")
    features = torch.randn(3, 6, 3, 2)
    x = features.flatten(1)
    found = latent.bottom_up(features)
    for layer, output in zip(latent.up, reversed(found), strict=True):  # type: ignore[arg-type]
        x = layer(x)
        assert torch.equal(x, output)


def test_nvae_s_posterior_is_relative_to_the_prior() -> None:
    q = residual_normal(
        Normal(torch.tensor([1.0]), torch.tensor([2.0])), Normal(torch.tensor([0.5]), torch.tensor([0.25]))
    )
    assert (float(q.loc), float(q.scale)) == (1.5, 0.5)


def test_nvae_with_a_zero_posterior_network_equals_its_prior() -> None:
    latent = make("nvae")
    for block in latent.blocks:
        nn.init.zeros_(block.posterior.weight)  # type: ignore[arg-type, union-attr]
        nn.init.zeros_(block.posterior.bias)  # type: ignore[arg-type, union-attr]
    posterior = posterior_of(latent(torch.randn(3, 6, 3, 2), sample=True))
    assert torch.equal(posterior.q.loc, posterior.p.loc)
    assert torch.equal(posterior.q.scale, posterior.p.scale)
    # Only the top group's prior is N(0, I).
    top = latent.groups[0]
    assert torch.equal(posterior.p.loc[:, :top], torch.zeros(3, top))
    assert posterior.p.loc[:, top:].all()


def test_vdvae_s_priors_are_initialised_to_standard_normals() -> None:
    latent = build("latent", SMALL["vdvae"], feature_shape=(6, 3, 2))
    p = posterior_of(latent(torch.randn(3, 6, 3, 2), sample=True)).p
    assert torch.equal(p.loc, torch.zeros_like(p.loc))
    assert torch.equal(p.scale, torch.ones_like(p.scale))


def test_vdvae_upsamples_to_the_nearest_with_a_bias_per_position() -> None:
    rise = _NearestUpsample(1, (5,))
    with torch.no_grad():
        rise.bias.copy_(torch.tensor([[0.0, 0.1, 0.2, 0.3, 0.4]]))
    torch.testing.assert_close(rise(torch.tensor([[[1.0, 2.0, 3.0]]])), torch.tensor([[[1.0, 1.1, 2.2, 2.3, 3.4]]]))


# -- numbers -----------------------------------------------------------------------------------------------------


def test_log_scales_are_bounded_smoothly() -> None:
    found = normal_from(torch.tensor([[0.0, 0.0, 0.0, 0.0, 0.1, -1e9, 1e9, 5.0]]))
    expected = torch.tensor([[5 * torch.tanh(torch.tensor(0.02)), -5.0, 5.0, 5 * torch.tanh(torch.tensor(1.0))]])
    torch.testing.assert_close(found.scale.log(), expected)


def test_large_features_yield_finite_numbers(name: str) -> None:
    latent = make(name)
    features = (1e6 * torch.randn(4, 6, 3, 2)).requires_grad_()
    code = latent(features, sample=True)
    posterior = posterior_of(code)
    kl = torch.distributions.kl_divergence(posterior.q, posterior.p)
    kl.sum().backward()
    assert kl.isfinite().all()
    assert features.grad is not None
    assert features.grad.isfinite().all()


def test_distributions_are_in_single_precision_under_autocast(name: str) -> None:
    latent = make(name)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        code = latent(torch.randn(4, 6, 3, 2), sample=True)
    posterior = posterior_of(code)
    for value in (code.z, code.mean, posterior.q.loc, posterior.q.scale, posterior.p.loc, posterior.p.scale):
        assert value.dtype == torch.float32


def test_a_temperature_scales_the_noise_only() -> None:
    of = Normal(torch.full((20_000,), 3.0), torch.full((20_000,), 2.0))
    sample = sample_normal(of, 0.5)
    assert abs(float(sample.mean()) - 3) < 0.05
    assert abs(float(sample.std()) - 1) < 0.03


def test_the_posterior_at_another_z_is_the_density_there(name: str) -> None:
    latent, features = make(name), torch.randn(4, 6, 3, 2)
    code = latent(features, sample=True)
    posterior = posterior_of(code)
    log_prob = posterior.log_prob(code.z)
    torch.testing.assert_close(posterior.log_prob(code.z.clone()), log_prob)
    # The top group depends on x alone, and each group below on the ones above it.
    other = torch.randn_like(code.z)
    again = posterior_of(latent(features, sample=True))
    torch.testing.assert_close(again.log_prob(other), posterior.log_prob(other))
    top = latent.groups[0]
    expected = Normal(posterior.q.loc[..., :top], posterior.q.scale[..., :top]).log_prob(other[..., :top])
    torch.testing.assert_close(posterior.log_prob(other)[..., :top], expected)
    assert not torch.allclose(posterior.log_prob(other), posterior.q.log_prob(other))


# -- errors ------------------------------------------------------------------------------------------------------


def test_the_posterior_rejects_a_z_of_another_shape() -> None:
    latent = make("ladder")
    code = latent(torch.randn(4, 6, 3, 2), sample=True)
    with pytest.raises(AeframeError) as error:
        posterior_of(code).log_prob(code.z.unsqueeze(1))
    assert str(error.value) == (
        "the posterior of a hierarchy has a density at values of the shape of its z, (4, 9), found (4, 1, 9); choose a "
        "latent of one group, such as gaussian"
    )


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"name": "ladder", "dims": []}, "latent ladder needs dims of at least 1, found []"),
        ({"name": "ladder", "hidden": 0}, "latent ladder needs hidden of at least 1, found 0"),
        ({"name": "nvae", "scales": [2, 0]}, "latent nvae needs scales of at least 1, found [2, 0]"),
        ({"name": "nvae", "expansion": 0}, "latent nvae needs expansion of at least 1, found 0"),
        ({"name": "vdvae", "scales": []}, "latent vdvae needs scales of at least 1, found []"),
        ({"name": "vdvae", "activation": "glu"}, "latent vdvae needs an activation that keeps its input's shape, "),
    ],
)
def test_invalid_options_are_rejected(config: dict[str, Any], message: str) -> None:
    with pytest.raises(AeframeError) as error:
        build("latent", config, feature_shape=(6, 3, 2))
    assert str(error.value).startswith(message)


def test_four_dimensions_of_positions_are_rejected() -> None:
    with pytest.raises(AeframeError) as error:
        build("latent", "nvae", feature_shape=(6, 2, 2, 2, 2))
    assert str(error.value) == (
        "encoder before latent nvae needs one to three dimensions of positions, found 4 in (2, 2, 2, 2); "
        "choose encoder=mlp"
    )


def test_a_prior_of_another_space_is_rejected() -> None:
    with pytest.raises(AeframeError) as error:
        check_parts(compose(["model=ladder_vae", "prior=normal"]), DataSpec((30,), Domain("real")))
    assert str(error.value) == (
        "prior 'normal' is a density of euclidean space, but the codes of latent 'ladder' live in hierarchy space; "
        "choose prior=top_down"
    )


# -- in a model --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("condition", [0, 3])
def test_the_decoder_receives_the_state_and_the_condition(name: str, condition: int) -> None:
    recipe = {"ladder": "ladder_vae"}.get(name, name)
    spec = DataSpec((1, 8, 8), Domain("unit"), condition)
    config = compose([f"model={recipe}", "encoder=conv", "encoder.channels=[4,8]"])
    model = assemble({**config, "latent": SMALL[name]}, spec).eval()
    batch = Batch(torch.rand(4, 1, 8, 8), condition=torch.randn(4, condition) if condition else None)
    p = model(batch, sample=False)
    again: Tensor = model.decode(p.latent.z, condition=batch.condition)
    assert torch.equal(again, p.output)
    assert model.prior.sample(2).shape == (2, *model.latent.shape)
