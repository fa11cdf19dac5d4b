"""Latents against codes computed by hand and closed forms; their terms are per sample."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from aeframe.errors import AeframeError
from aeframe.factory import build
from aeframe.parts.networks.head import Head
from aeframe.types import Shape, TrainingProgress

QUANTISERS: dict[str, dict[str, Any]] = {
    "vq ema": {"name": "vq", "codebook_size": 16, "dim": 4},
    "vq gradient": {"name": "vq", "codebook_size": 16, "dim": 4, "update": "gradient"},
    "vq cosine": {"name": "vq", "codebook_size": 16, "dim": 4, "distance": "cosine"},
    "vq rotation": {"name": "vq", "codebook_size": 16, "dim": 4, "rotation_trick": True},
    "vq plain": {"name": "vq", "codebook_size": 16, "dim": 4, "kmeans_init": False, "revive": 0.0},
    "fsq": {"name": "fsq", "levels": [5, 4, 3]},
    "rvq": {"name": "rvq", "codebook_size": 16, "dim": 4, "num_quantizers": 3},
    "rvq gradient": {"name": "rvq", "codebook_size": 16, "dim": 4, "num_quantizers": 2, "update": "gradient"},
    "rvq groups": {"name": "rvq", "codebook_size": 16, "dim": 4, "num_quantizers": 2, "groups": 2},
    "rvq shared": {"name": "rvq", "codebook_size": 16, "dim": 4, "groups": 2, "shared": True, "rotation_trick": True},
    "rfsq": {"name": "rfsq", "levels": [5, 4, 2], "num_quantizers": 3},
    "lfq": {"name": "lfq", "dim": 4, "joint_bits": 3},
    "simvq": {"name": "simvq", "codebook_size": 16, "dim": 4},
}
EVERY = {"point": {"name": "point", "dim": 4}, "gaussian": {"name": "gaussian", "dim": 4}, **QUANTISERS}


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)


def make(config: dict[str, Any], feature_shape: Shape = (6, 3, 2)) -> Any:
    return build("latent", config, feature_shape=feature_shape)


def set_identity_projection(latent: Any) -> None:
    """Set the projection to the identity, so that features are the vectors to quantise."""
    nn.init.eye_(latent.tokens.head.linear.weight)
    nn.init.zeros_(latent.tokens.head.linear.bias)


def hand_made(**options: Any) -> Any:
    """Return a latent with four codes in the plane; features ``(2, T)`` are T points of the plane."""
    latent = make({"name": "vq", "codebook_size": 4, "dim": 2, "kmeans_init": False, "revive": 0, **options}, (2, 3))
    set_identity_projection(latent)
    codebook = latent.codebooks[0]
    codebook.table.data.copy_(torch.tensor([[0.0, 0.0], [4.0, 0.0], [0.0, 2.0], [9.0, 9.0]]))
    codebook.cluster_sum.copy_(codebook.table.detach())
    return latent


# Two samples of three points each: (1, 0), (3, 1), (0, 2) and (8, 8), (-1, -1), (0.5, 1.5).
POINTS = torch.tensor([[[1.0, 3.0, 0.0], [0.0, 1.0, 2.0]], [[8.0, -1.0, 0.5], [8.0, -1.0, 1.5]]])
CODES = torch.tensor([[0, 1, 2], [3, 0, 2]])
# 1 + 2 + 0 and 2 + 2 + 0.5.
COMMITMENT = torch.tensor([3.0, 4.5])


# -- every latent ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("spatial", [False, True])
@pytest.mark.parametrize("feature_shape", [(6,), (6, 5), (6, 3, 2), (6, 2, 1, 2)])
@pytest.mark.parametrize("name", list(EVERY))
def test_shapes(name: str, feature_shape: Shape, spatial: bool) -> None:
    config = {**EVERY[name], "spatial": spatial} if name in ("point", "gaussian") else EVERY[name]
    latent = make(config, feature_shape)
    features = torch.randn(4, *feature_shape)
    for mode in (True, False):
        latent.train(mode)
        one = latent(features, sample=True)
        assert one.z.shape == one.mean.shape == (4, *latent.shape)
        assert all(term.shape == (4,) for term in one.terms.values())
        if name in QUANTISERS:
            assert one.codes is not None
            assert one.codes.dtype == torch.long
            assert one.codes.shape == (4, *latent.shape[1:], latent.num_levels)
            assert 0 <= int(one.codes.min()) <= int(one.codes.max()) < latent.num_codes
    if name in QUANTISERS or spatial:
        assert latent.shape[1:] == (feature_shape[1:] or ((8,) if name in QUANTISERS else ()))
    else:
        assert len(latent.shape) == 1


@pytest.mark.parametrize("name", list(EVERY))
def test_evaluation_is_deterministic_and_changes_no_state(name: str) -> None:
    latent = make(EVERY[name]).eval()
    before = {key: value.clone() for key, value in latent.state_dict().items()}
    features = torch.randn(5, 6, 3, 2)
    first, second = latent(features, sample=False), latent(features, sample=False)
    assert torch.equal(first.z, second.z)
    assert torch.equal(first.z, first.mean)
    assert all(torch.equal(value, before[key]) for key, value in latent.state_dict().items())


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("name", list(QUANTISERS))
def test_terms_do_not_change_when_the_batch_is_doubled(name: str, training: bool) -> None:
    latent = make(QUANTISERS[name])
    features = torch.randn(8, 6, 3, 2)
    latent(features, sample=True)
    latent.train(training)
    state = {key: value.clone() for key, value in latent.state_dict().items()}
    alone = latent(features, sample=training)
    latent.load_state_dict(state)
    doubled = latent(torch.cat([features, features]), sample=training)
    torch.testing.assert_close(doubled.z, torch.cat([alone.z, alone.z]))
    assert set(doubled.terms) == set(alone.terms)
    for term, value in alone.terms.items():
        torch.testing.assert_close(doubled.terms[term], torch.cat([value, value]))


@pytest.mark.parametrize("name", list(QUANTISERS))
def test_from_codes_returns_z(name: str) -> None:
    latent = make(QUANTISERS[name])
    features = torch.randn(5, 6, 3, 2)
    latent(features, sample=True)
    found = latent.eval()(features, sample=False)
    assert torch.equal(latent.from_codes(found.codes), found.z)


@pytest.mark.parametrize("name", list(EVERY))
def test_the_gradient_reaches_features_and_every_parameter(name: str) -> None:
    latent = make(EVERY[name])
    features = torch.randn(16, 6, 3, 2, requires_grad=True)
    code = latent(features, sample=True)
    loss = (code.z * torch.randn_like(code.z)).sum() + sum(term.sum() for term in code.terms.values())
    loss.backward()
    assert features.grad is not None
    assert features.grad.abs().sum() > 0
    for parameter_name, parameter in latent.named_parameters():
        assert parameter.grad is not None, parameter_name
        assert parameter.grad.abs().sum() > 0, parameter_name


@pytest.mark.parametrize("name", list(QUANTISERS))
def test_autocast_changes_no_code(name: str) -> None:
    latent = make(QUANTISERS[name])
    vectors = torch.randn(4, 20, 20, latent.shape[0])
    latent.tokens.forward = lambda features: features
    with torch.autocast("cpu", dtype=torch.bfloat16):
        half = latent.eval()(vectors, sample=False)
    full = latent(vectors, sample=False)
    assert half.z.dtype == torch.float32
    assert torch.equal(half.codes, full.codes)


@pytest.mark.parametrize("name", list(QUANTISERS))
def test_training_works_under_autocast_and_in_double(name: str) -> None:
    latent = make(QUANTISERS[name])
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert latent(torch.randn(8, 6, 3, 2), sample=True).z.dtype == torch.float32
    double = latent.double()(torch.randn(8, 6, 3, 2).double(), sample=True)
    assert double.z.dtype == torch.float64
    assert latent.from_codes(double.codes).dtype == torch.float64


@pytest.mark.parametrize("name", list(EVERY))
def test_the_meta_device_runs_every_latent(name: str) -> None:
    with torch.device("meta"):
        latent = make(EVERY[name])
        assert latent(torch.randn(2, 6, 3, 2), sample=True).z.shape == (2, *latent.shape)


# -- point and gaussian ------------------------------------------------------------------------------------------


def test_a_spatial_head_is_a_convolution_of_kernel_one() -> None:
    head = Head((6, 3, 2), 4, spatial=True)
    x = torch.randn(5, 6, 3, 2)
    by_convolution = nn.functional.conv2d(x, head.linear.weight[:, :, None, None], head.linear.bias)
    torch.testing.assert_close(head(x), by_convolution)


def test_point_bounds_its_code() -> None:
    latent = make({"name": "point", "activation": "sigmoid"})
    z = latent(10 * torch.randn(8, 6, 3, 2), sample=True).z
    assert ((z > 0) & (z < 1)).all()


def test_gaussian_samples_have_the_posterior_s_moments() -> None:
    latent = make({"name": "gaussian", "dim": 3}, (4,))
    code = latent(torch.randn(2, 4).repeat(20_000, 1), sample=True)
    mean, std = code.posterior.loc[:2], code.posterior.scale[:2]
    z = code.z.unflatten(0, (-1, 2))
    # Four standard errors.
    assert ((z.mean(0) - mean).abs() < 4 * std / math.sqrt(20_000)).all()
    assert ((z.std(0) / std - 1).abs() < 4 / math.sqrt(2 * 20_000)).all()
    assert torch.equal(code.mean, code.posterior.loc)


def test_gaussian_log_variance_is_clamped() -> None:
    latent = make({"name": "gaussian", "dim": 1, "max_log_variance": 3.0}, (1,))
    nn.init.constant_(latent.head.linear.weight, 1.0)
    nn.init.zeros_(latent.head.linear.bias)
    code = latent(torch.tensor([[-1e6], [-2.0], [0.0], [1e6]]), sample=False)
    log_variance = 2 * code.posterior.scale.log().flatten()
    torch.testing.assert_close(log_variance, torch.tensor([-3.0, -2.0, 0.0, 3.0]))
    assert torch.equal(code.mean.flatten(), torch.tensor([-1e6, -2.0, 0.0, 1e6]))


# -- vector quantisation -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("training", [True, False])
def test_vq_assigns_the_nearest_codes(training: bool) -> None:
    latent = hand_made().train(training)
    before = latent.codebooks[0].vectors.clone()
    found = latent(POINTS, sample=True)
    assert torch.equal(found.codes[..., 0], CODES)
    assert torch.equal(found.z, before[CODES].movedim(-1, 1))
    assert set(found.terms) == {"commitment"}
    torch.testing.assert_close(found.terms["commitment"], COMMITMENT)
    assert latent.weights["commitment"](TrainingProgress()) == 0.25


def gradients(term: Tensor, *inputs: Tensor) -> list[Tensor | None]:
    return list(torch.autograd.grad(term.sum(), inputs, allow_unused=True))


def test_vq_gradient_of_the_terms() -> None:
    latent = hand_made(update="gradient")
    features = POINTS.clone().requires_grad_()
    terms = latent(features, sample=True).terms
    torch.testing.assert_close(terms["codebook"], COMMITMENT)
    codes = latent.codebooks[0].table
    to_features = 2 * (POINTS - latent.codebooks[0].vectors.detach()[CODES].movedim(-1, 1))
    # Code 0 was taken by (1, 0) and (-1, -1): 2 * (0 - 1 + 0 + 1, 0 - 0 + 0 + 1). Code 1 by (3, 1), 2 by the rest.
    to_codes = torch.tensor([[0.0, 2.0], [2.0, -2.0], [-1.0, 1.0], [2.0, 2.0]])
    for term, expected in (("commitment", [to_features, None]), ("codebook", [None, to_codes])):
        for found, wanted in zip(gradients(terms[term], features, codes), expected, strict=True):
            assert (found is None) == (wanted is None)
            torch.testing.assert_close(found, wanted)


def test_straight_through_copies_the_gradient() -> None:
    features = POINTS.clone().requires_grad_()
    z = hand_made()(features, sample=True).z
    weight = torch.randn_like(z)
    (gradient,) = torch.autograd.grad((z * weight).sum(), features)
    torch.testing.assert_close(gradient, weight)


def test_the_rotation_trick_rotates_and_scales_the_gradient() -> None:
    features = POINTS.clone().requires_grad_()
    z = hand_made(rotation_trick=True)(features, sample=True).z
    torch.testing.assert_close(z[0, :, 1], torch.tensor([4.0, 0.0]))
    # The point (3, 1) is turned by -atan(1/3) and scaled by 4 / sqrt(10): dz/dx is this map.
    rows = [torch.autograd.grad(z[0, i, 1], features, retain_graph=True)[0][0, :, 1] for i in (0, 1)]
    cos, sin = 3 / math.sqrt(10), 1 / math.sqrt(10)
    expected = 4 / math.sqrt(10) * torch.tensor([[cos, sin], [-sin, cos]])
    torch.testing.assert_close(torch.stack(rows), expected, atol=1e-5, rtol=1e-5)


def test_ema_moves_codes_to_the_mean_of_their_vectors() -> None:
    latent = hand_made(decay=0.5)
    latent(POINTS, sample=True)
    codebook = latent.codebooks[0]
    # Counts 2, 1, 2, 1 of this batch, averaged with 1 at the start; sums likewise.
    torch.testing.assert_close(codebook.cluster_size, torch.tensor([1.5, 1.0, 1.5, 1.0]))
    sums = torch.tensor([[0.0, -0.5], [3.5, 0.5], [0.25, 2.75], [8.5, 8.5]])
    torch.testing.assert_close(codebook.cluster_sum, sums)
    expected = torch.tensor([[0.0, -0.5 / 1.5], [3.5, 0.5], [0.25 / 1.5, 2.75 / 1.5], [8.5, 8.5]])
    torch.testing.assert_close(latent.codebooks[0].vectors, expected, atol=1e-4, rtol=1e-4)


def test_only_training_with_gradients_updates_the_codebook() -> None:
    latent = hand_made()
    before = latent.codebooks[0].vectors.clone()
    latent.eval()(POINTS, sample=False)
    assert torch.equal(latent.codebooks[0].vectors, before)
    with torch.no_grad():
        latent.train()(POINTS, sample=True)
    assert torch.equal(latent.codebooks[0].vectors, before)
    latent(POINTS, sample=True)
    assert not torch.equal(latent.codebooks[0].vectors, before)


@pytest.mark.parametrize("update", ["ema", "gradient"])
def test_dead_codes_are_revived(update: str) -> None:
    latent = hand_made(update=update, revive=0.9, decay=0.0)
    features = POINTS.clone()
    features[1, :, 0] = torch.tensor([3.0, 0.5])
    latent(features, sample=True)
    # Code 3 was not used; after the forward pass it equals a vector of the batch.
    vectors = features.movedim(1, -1).flatten(0, 1)
    assert (vectors == latent.codebooks[0].vectors[3]).all(1).any()


@pytest.mark.parametrize("copies", [1, 2])
def test_the_threshold_of_dead_codes_does_not_depend_on_the_batch_size(copies: int) -> None:
    features = POINTS.repeat(copies, 1, 1)
    # Uniform use is 6 / 4 = 1.5 in the batch of two; the codes are used 2, 1, 2 and 1 times.
    for revive, counts in ((0.9, [2.0, 1.35, 2.0, 1.35]), (0.6, [2.0, 1.0, 2.0, 1.0])):
        latent = hand_made(revive=revive, decay=0.0)
        latent(features, sample=True)
        torch.testing.assert_close(latent.codebooks[0].cluster_size, copies * torch.tensor(counts))


def test_kmeans_initialises_the_codebook_once() -> None:
    latent = make({"name": "vq", "codebook_size": 3, "dim": 2, "revive": 0, "decay": 0.999}, (2, 100))
    set_identity_projection(latent)
    centres = torch.tensor([[5.0, 0.0], [-5.0, 0.0], [0.0, 7.0]])
    points = centres[torch.arange(300) % 3] + 0.1 * torch.randn(300, 2)
    features = points.reshape(3, 100, 2).movedim(-1, 1)
    latent.eval()(features, sample=False)
    assert not latent.codebooks[0].initialized
    latent.train()(features, sample=True)
    assert latent.codebooks[0].initialized
    # For any random start, each code is a mean of points and so not far from them.
    initial = latent.codebooks[0].vectors.clone()
    assert torch.cdist(initial, points).min(1).values.max() < 6
    again = make({"name": "vq", "codebook_size": 3, "dim": 2, "revive": 0, "decay": 0.999}, (2, 100))
    again.load_state_dict(latent.state_dict())
    again(features + 100, sample=True)
    assert (again.codebooks[0].vectors - initial).abs().max() < 1


def test_a_codebook_with_more_codes_than_vectors_contains_all_vectors() -> None:
    latent = make({"name": "vq", "codebook_size": 32, "dim": 2}, (2, 3))
    set_identity_projection(latent)
    for _ in range(3):
        latent(POINTS, sample=True)
    vectors = POINTS.movedim(1, -1).flatten(0, 1)
    found = latent.eval()(POINTS, sample=False)
    torch.testing.assert_close(found.z, POINTS, atol=1e-3, rtol=1e-3)
    assert torch.cdist(vectors, latent.codebooks[0].vectors).min(1).values.max() < 1e-3


def test_a_resumed_codebook_is_bit_identical() -> None:
    config = {"name": "vq", "codebook_size": 16, "dim": 4, "revive": 0.5}
    batches = torch.randn(6, 8, 6, 3, 2)
    straight = make(config)
    resumed = make(config)
    for batch in batches[:3]:
        straight(batch, sample=True)
    resumed.load_state_dict(straight.state_dict())
    for batch in batches[3:]:
        straight(batch, sample=True)
    torch.randn(100)
    for batch in batches[3:]:
        resumed(batch, sample=True)
    assert torch.equal(straight.codebooks[0].vectors, resumed.codebooks[0].vectors)


def test_a_quantiser_does_not_use_the_global_generator() -> None:
    latent = make({"name": "vq", "codebook_size": 16, "dim": 4, "revive": 0.9})
    features = torch.randn(8, 6, 3, 2)
    before = torch.get_rng_state()
    latent(features, sample=True)
    assert torch.equal(torch.get_rng_state(), before)


def test_cosine_codes_have_length_one() -> None:
    latent = make(QUANTISERS["vq cosine"])
    features = torch.randn(8, 6, 3, 2)
    for _ in range(3):
        found = latent(features, sample=True)
    torch.testing.assert_close(latent.codebooks[0].vectors.norm(dim=1), torch.ones(16))
    torch.testing.assert_close(found.z.norm(dim=1), torch.ones(8, 3, 2))


# -- finite scalars ----------------------------------------------------------------------------------------------


def test_fsq_rounds_by_hand() -> None:
    latent = make({"name": "fsq", "levels": [5, 3]}, (2, 4))
    set_identity_projection(latent)
    features = torch.tensor([[[0.0, 0.6, -9.0, 9.0], [0.0, -0.6, 9.0, 0.2]]])
    found = latent(features, sample=True)
    # tanh(0.6) * 2 = 1.07 rounds to 1 of -2..2, so 1/2; tanh(-0.6) = -0.54 rounds to -1 of -1..1.
    assert torch.equal(found.z, torch.tensor([[[0.0, 0.5, -1.0, 1.0], [0.0, -1.0, 1.0, 0.0]]]))
    # A code is first + 5 * second, each counted from its lowest level.
    assert torch.equal(found.codes[0, :, 0], torch.tensor([2 + 5, 3 + 0, 0 + 10, 4 + 5]))
    assert found.terms == {}


def test_fsq_with_an_even_number_of_levels_uses_all_values() -> None:
    latent = make({"name": "fsq", "levels": [4]}, (1, 401))
    set_identity_projection(latent)
    found = latent(torch.linspace(-6, 6, 401)[None, None], sample=True)
    assert found.z.unique().tolist() == [-1.0, -0.5, 0.0, 0.5]
    assert found.codes.unique().tolist() == [0, 1, 2, 3]


def test_fsq_codes_have_different_z() -> None:
    latent = make({"name": "fsq", "levels": [5, 4, 3]}, (6,))
    assert latent.num_codes == 60
    z: Tensor = latent.from_codes(torch.arange(60).reshape(1, 60, 1))
    assert z.shape == (1, 3, 60)
    assert len(z[0].T.unique(dim=0)) == 60


def test_fsq_passes_the_gradient_of_its_bound() -> None:
    latent = make({"name": "fsq", "levels": [5]}, (1, 1))
    set_identity_projection(latent)
    features = torch.tensor([[[0.3]]], requires_grad=True)
    latent(features, sample=True).z.sum().backward()
    # z = tanh(v) * half / 2 with half = 2 * 1.001 without the rounding.
    assert features.grad is not None
    torch.testing.assert_close(features.grad.item(), 1.001 * (1 - math.tanh(0.3) ** 2))


# -- invalid options ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"name": "vq", "codebook_size": 1}, "a codebook needs at least 2 codes, found 1; set latent.codebook_size"),
        ({"name": "vq", "decay": 1.0}, "a codebook needs decay and revive in [0, 1), found 1.0 and 0.1"),
        (
            {"name": "vq", "update": "gradient", "distance": "cosine"},
            "a codebook has no distance=cosine with update=gradient; set update=ema",
        ),
        ({"name": "vq", "tokens": 0}, "a quantised latent needs dim and tokens of at least 1, found 64 and 0"),
        ({"name": "fsq", "levels": [8, 2]}, "latent fsq needs levels of at least 3, found [8, 2]"),
    ],
)
def test_invalid_options_are_rejected(config: dict[str, Any], message: str) -> None:
    with pytest.raises(AeframeError) as error:
        make(config)
    assert str(error.value) == message
