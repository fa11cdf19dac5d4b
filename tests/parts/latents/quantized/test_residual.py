"""Residual quantisers against codes, residuals and averages computed by hand."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from aeframe.errors import AeframeError
from aeframe.factory import build
from aeframe.testing import RowNoise
from aeframe.types import Shape


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)


def make(config: dict[str, Any], feature_shape: Shape = (2, 1), *, identity: bool = True) -> Any:
    """Build a latent, with `identity` one whose projection is the identity."""
    latent = build("latent", config, feature_shape=feature_shape)
    if identity:
        nn.init.eye_(latent.tokens.head.linear.weight)
        nn.init.zeros_(latent.tokens.head.linear.bias)
    return latent


def fill(latent: Any, *tables: list[list[float]]) -> Any:
    """Set the vectors of the codebooks."""
    for codebook, table in zip(latent.codebooks, tables, strict=True):
        codebook.table.data.copy_(torch.tensor(table))
        codebook.cluster_sum.copy_(codebook.table.detach())
    return latent


COARSE, FINE = [[0.0, 0.0], [4.0, 0.0]], [[1.0, 0.0], [0.0, -1.0]]
# (3, -1) is assigned (4, 0), its residual (-1, -1) is assigned (0, -1); (1, 0.5) is assigned (0, 0), then (1, 0).
POINTS = torch.tensor([[[3.0], [-1.0]], [[1.0], [0.5]]])
CODES = torch.tensor([[[1, 1]], [[0, 0]]])
Z = torch.tensor([[[4.0], [-1.0]], [[1.0], [0.0]]])


def hand_made(**options: Any) -> Any:
    config = {"codebook_size": 2, "dim": 2, "num_quantizers": 2, "kmeans_init": False, "revive": 0.0, **options}
    return fill(make({"name": "rvq", **config}), *[COARSE] if options.get("shared") else [COARSE, FINE])


@torch.no_grad()
def swept(latent: Any, features: Tensor) -> list[float]:
    """Return the mean squared error when the first n numbers of each position are decoded, for every n."""
    codes = latent.eval()(features, sample=False).codes
    vectors = latent.prepare(latent.tokens(features)).movedim(-1, 1)
    errors = []
    for n in range(1, latent.num_levels + 1):
        few = codes.clone()
        few[..., n:] = -1
        errors.append(float((latent.from_codes(few) - vectors).square().mean()))
    return errors


# -- vectors -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("training", [True, False])
def test_each_level_takes_what_is_nearest_to_the_remainder(training: bool) -> None:
    found = hand_made().train(training)(POINTS, sample=True)
    assert torch.equal(found.codes, CODES)
    assert torch.equal(found.z, Z)
    # |(-1, -1)|^2 + |(-1, 0)|^2, and |(1, 0.5)|^2 + |(0, 0.5)|^2.
    torch.testing.assert_close(found.terms, {"commitment": torch.tensor([3.0, 1.5])})


def test_each_level_follows_the_remainders_it_was_shown() -> None:
    latent = hand_made(decay=0.5)
    latent(POINTS, sample=True)
    # Every code was chosen once: halfway from where it was to what chose it.
    torch.testing.assert_close(latent.codebooks[0].vectors, torch.tensor([[0.5, 0.25], [3.5, -0.5]]), atol=1e-4, rtol=0)
    torch.testing.assert_close(
        latent.codebooks[1].vectors, torch.tensor([[1.0, 0.25], [-0.5, -1.0]]), atol=1e-4, rtol=0
    )


def test_gradients_of_the_terms_do_not_cross_levels() -> None:
    latent = hand_made(update="gradient")
    features = POINTS.clone().requires_grad_()
    terms = latent(features, sample=True).terms
    torch.testing.assert_close(terms["codebook"], torch.tensor([3.0, 1.5]))
    tables = [codebook.table for codebook in latent.codebooks]
    coarse, fine = torch.autograd.grad(terms["codebook"].sum(), tables)
    # Twice (code - residual).
    torch.testing.assert_close(coarse, torch.tensor([[-2.0, -1.0], [2.0, 2.0]]))
    torch.testing.assert_close(fine, torch.tensor([[0.0, -1.0], [2.0, 0.0]]))
    (to_features, *to_codes) = torch.autograd.grad(terms["commitment"].sum(), [features, *tables], allow_unused=True)
    assert to_codes == [None, None]
    # Twice the residual before each level and after it, without gradient through the codes.
    torch.testing.assert_close(to_features[..., 0], torch.tensor([[-4.0, -2.0], [2.0, 2.0]]))


def test_a_shared_codebook_learns_from_every_level_at_once() -> None:
    latent = hand_made(shared=True, decay=0.5)
    assert len(latent.codebooks) == 1
    found = latent(POINTS, sample=True)
    # (3, -1) leaves (-1, -1), which is assigned (0, 0); (1, 0.5) is assigned (0, 0) twice. The codebook does not change
    # between the levels.
    assert torch.equal(found.codes, torch.tensor([[[1, 0]], [[0, 0]]]))
    # Code 0: three times, (-1, -1) + (1, 0.5) + (1, 0.5); halves of 1 + 3 and of 0 + (1, 0). Code 1: once, (3, -1).
    torch.testing.assert_close(
        latent.codebooks[0].vectors, torch.tensor([[0.5 / 2, 0.0], [3.5, -0.5]]), atol=1e-4, rtol=0
    )


def test_groups_are_separate_quantisers() -> None:
    config = {"name": "rvq", "codebook_size": 2, "dim": 4, "num_quantizers": 2, "groups": 2}
    latent = make({**config, "kmeans_init": False, "revive": 0.0}, (4, 1))
    # Level by level, and in each level group by group.
    other = [[0.0, 0.0], [0.0, 10.0]]
    fill(latent, COARSE, other, FINE, [[0.0, 1.0], [0.0, -1.0]])
    found = latent.eval()(torch.tensor([[[3.0], [-1.0], [0.0], [8.0]]]), sample=False)
    assert found.codes.tolist() == [[[1, 1, 1, 1]]]
    assert found.z.flatten().tolist() == [4.0, -1.0, 0.0, 9.0]
    # 3 as above; and |(0, -2)|^2 + |(0, -1)|^2 in the other group.
    torch.testing.assert_close(found.terms["commitment"], torch.tensor([3.0 + 5.0]))
    first = found.codes.clone()
    first[..., 2:] = -1
    assert latent.from_codes(first).flatten().tolist() == [4.0, 0.0, 0.0, 10.0]


@pytest.mark.parametrize("options", [{}, {"update": "gradient"}, {"groups": 2}, {"shared": True}])
def test_the_error_decreases_with_every_level(options: dict[str, Any]) -> None:
    latent = make({"name": "rvq", "codebook_size": 16, "dim": 6, **options}, (6, 10))
    features = torch.randn(40, 6, 10)
    latent(features, sample=True)
    errors = swept(latent, features)
    groups = options.get("groups", 1)
    # Compare complete levels of all groups. With a shared codebook the last level gains little.
    limit = 0.99 if options.get("shared") else 0.95
    assert all(after < limit * before for before, after in zip(errors, errors[groups:], strict=False)), errors


# -- quantiser dropout -------------------------------------------------------------------------------------------


def test_a_dropped_level_has_no_terms_and_no_update(monkeypatch: pytest.MonkeyPatch) -> None:
    latent = hand_made(quantizer_dropout=1.0, decay=0.5)
    monkeypatch.setattr(latent, "_num_kept_levels", lambda vectors: torch.tensor([1, 2]))
    found = latent(POINTS, sample=True)
    assert torch.equal(found.codes, torch.tensor([[[1, -1]], [[0, 0]]]))
    assert torch.equal(found.z, torch.tensor([[[4.0], [0.0]], [[1.0], [0.0]]]))
    torch.testing.assert_close(found.terms["commitment"], torch.tensor([2.0, 1.5]))
    torch.testing.assert_close(latent.codebooks[0].vectors, torch.tensor([[0.5, 0.25], [3.5, -0.5]]), atol=1e-4, rtol=0)
    # An unused code does not move.
    torch.testing.assert_close(latent.codebooks[1].vectors, torch.tensor([[1.0, 0.25], [0.0, -1.0]]), atol=1e-4, rtol=0)


def test_a_batch_that_drops_a_level_does_not_initialise_it(monkeypatch: pytest.MonkeyPatch) -> None:
    latent = make({"name": "rvq", "codebook_size": 2, "dim": 2, "num_quantizers": 2, "quantizer_dropout": 1.0})
    monkeypatch.setattr(latent, "_num_kept_levels", lambda vectors: torch.ones(len(vectors), dtype=torch.long))
    latent(POINTS, sample=True)
    assert [bool(codebook.initialized) for codebook in latent.codebooks] == [True, False]


@pytest.mark.parametrize("share", [1.0, 0.5])
@pytest.mark.parametrize("name", ["rvq", "rfsq"])
def test_the_number_of_kept_levels(name: str, share: float) -> None:
    size = {"rvq": {"codebook_size": 4, "kmeans_init": False}, "rfsq": {}}[name]
    config = {"name": name, "num_quantizers": 3, "quantizer_dropout": share, "tokens": 2, **size}
    latent = make(config, (6,), identity=False)
    num = 6000
    features = torch.randn(num, 6)
    codes = latent(features, sample=True).codes
    assert (codes[..., 0] >= 0).all()
    given = (codes >= 0).sum(-1)
    assert (given == given[:, :1]).all()
    for levels, expected in ((1, share / 3), (2, share / 3), (3, share / 3 + 1 - share)):
        found = float((given[:, 0] == levels).float().mean())
        # Four standard errors.
        assert abs(found - expected) < 4 * (expected * (1 - expected) / num) ** 0.5
    assert (latent.eval()(features, sample=False).codes >= 0).all()


@pytest.mark.parametrize("update", ["ema", "gradient"])
def test_the_dropped_levels_of_a_sample_do_not_depend_on_its_batch(update: str) -> None:
    config = {"name": "rvq", "codebook_size": 8, "dim": 4, "num_quantizers": 3, "quantizer_dropout": 1.0}
    latent = make({**config, "update": update}, (6, 3, 2), identity=False)
    features, rows = torch.randn(7, 6, 3, 2), torch.arange(7)
    latent(features, sample=True)
    state = {key: value.clone() for key, value in latent.state_dict().items()}
    with RowNoise(rows):
        once = latent(features, sample=True)
    latent.load_state_dict(state)
    with RowNoise(rows.repeat(2)):
        twice = latent(features.repeat(2, 1, 1, 1), sample=True)
    assert len(((once.codes >= 0).sum(-1)).unique()) > 1
    assert torch.equal(twice.codes, once.codes.repeat(2, 1, 1, 1))
    for term, value in once.terms.items():
        torch.testing.assert_close(twice.terms[term], value.repeat(2))


# -- finite scalars ----------------------------------------------------------------------------------------------


def test_rfsq_rounds_by_hand() -> None:
    latent = make({"name": "rfsq", "levels": [5, 2]}, (2, 3))
    # Bounded to 5/4 and to 2: the first number becomes 0.3, the second 0.9.
    vectors = torch.tensor([0.3, 0.9])
    bounds = torch.tensor([1.25, 2.0])
    features = (bounds * (vectors / bounds).atanh()).reshape(1, 2, 1).expand(1, 2, 3).clone()
    features[..., 1:] = torch.tensor([[9.0, -9.0], [9.0, -9.0]])
    found = latent(features, sample=True)
    # 0.3 of -1, -0.5, 0, 0.5, 1 is 0.5 (3), and -0.2 of fifths of them is -0.2 (0).
    # 0.9 of -1, 1 is 1 (1), and -0.1 of -0.5, 0.5 is -0.5 (0). A code is first + 5 * second.
    assert found.codes[0, 0].tolist() == [3 + 5, 0 + 0]
    assert found.codes[0, 1:].tolist() == [[4 + 5, 4 + 5], [0, 0]]
    torch.testing.assert_close(found.z[0, :, 0], torch.tensor([0.3, 0.5]))
    torch.testing.assert_close(found.z[0, :, 1], torch.tensor([1.2, 1.5]))
    assert found.terms == {}


@pytest.mark.parametrize(("levels", "num"), [(2, 4), (3, 3), (4, 2), (5, 2)])
def test_rfsq_levels_are_one_regular_grid(levels: int, num: int) -> None:
    latent = make({"name": "rfsq", "levels": [levels], "num_quantizers": num}, (1, 3001))
    bound = levels / (levels - 1)
    vectors = torch.linspace(-0.999 * bound, 0.999 * bound, 3001)
    found = latent((bound * (vectors / bound).atanh()).reshape(1, 1, -1), sample=True)
    grid = found.z.flatten().unique()
    # Some values occur twice with different rounding.
    grid = grid[torch.cat([torch.tensor([True]), grid.diff() > 1e-5])]
    middles = bound * ((2 * torch.arange(levels**num) + 1) / levels**num - 1)
    torch.testing.assert_close(grid, middles)
    assert (found.z.flatten() - vectors).abs().max() <= bound / levels**num + 1e-5


def test_rfsq_error_decreases_with_every_level() -> None:
    latent = make({"name": "rfsq", "levels": [4, 4, 3], "num_quantizers": 4}, (3, 50))
    errors = swept(latent, torch.randn(20, 3, 50))
    # The error of a regular grid decreases by the square of its number of values: 16, or 9 in one of three.
    assert all(after < before / 8 for before, after in itertools.pairwise(errors)), errors


def test_rfsq_passes_the_gradient_of_its_bound() -> None:
    latent = make({"name": "rfsq", "levels": [5]}, (1, 1))
    features = torch.tensor([[[0.7]]], requires_grad=True)
    latent(features, sample=True).z.sum().backward()
    assert features.grad is not None
    torch.testing.assert_close(features.grad[0, 0, 0], 1 - torch.tensor(0.7 / 1.25).tanh() ** 2)


# -- invalid options ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (
            {"name": "rvq", "num_quantizers": 0},
            "latent rvq needs num_quantizers of at least 1 and quantizer_dropout in [0, 1], found 0 and 0.0",
        ),
        (
            {"name": "rfsq", "quantizer_dropout": 2.0},
            "latent rfsq needs num_quantizers of at least 1 and quantizer_dropout in [0, 1], found 2 and 2.0",
        ),
        ({"name": "rvq", "groups": 3}, "latent rvq needs groups that divide dim, found 3 groups of dim 64"),
        ({"name": "rfsq", "levels": [8, 1]}, "latent rfsq needs levels of at least 2, found [8, 1]"),
    ],
)
def test_invalid_options_are_rejected(config: dict[str, Any], message: str) -> None:
    with pytest.raises(AeframeError) as error:
        make(config, identity=False)
    assert str(error.value) == message
