"""Lookup-free quantisation against codes computed by hand and explicit distributions."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from aeframe.errors import AeframeError
from aeframe.factory import build
from aeframe.types import Shape, TrainingProgress


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)


def make(feature_shape: Shape, **options: Any) -> Any:
    latent = build("latent", {"name": "lfq", "dim": feature_shape[0], **options}, feature_shape=feature_shape)
    nn.init.eye_(latent.tokens.head.linear.weight)
    nn.init.zeros_(latent.tokens.head.linear.bias)
    return latent


def all_codes(vectors: Tensor, temperature: float) -> Tensor:
    """Return p(c|v) ``(..., 2^D)`` from the squared distance to each corner."""
    bits = [
        [1.0 if code >> i & 1 else -1.0 for i in range(vectors.shape[-1])] for code in range(2 ** vectors.shape[-1])
    ]
    distances = (vectors.unsqueeze(-2) - torch.tensor(bits).to(vectors)).square().sum(-1)
    return (-distances / temperature).softmax(-1)


def entropy(p: Tensor) -> Tensor:
    return -torch.special.xlogy(p, p).sum(-1)


def test_codes_are_signs() -> None:
    latent = make((3, 2))
    assert latent.num_codes == 8
    found = latent(torch.tensor([[[0.5, -2.0], [-0.1, 0.0], [3.0, 0.1]]]), sample=True)
    assert torch.equal(found.z, torch.tensor([[[1.0, -1.0], [-1.0, -1.0], [1.0, 1.0]]]))
    # 1 + 4, and 4: zero counts as negative.
    assert found.codes.tolist() == [[[5], [4]]]
    # 0.5^2 + 0.9^2 + 2^2, and 1^2 + 1^2 + 0.9^2.
    torch.testing.assert_close(found.terms["commitment"], torch.tensor([0.25 + 0.81 + 4 + 1 + 1 + 0.81]))


def test_codes_are_different_corners() -> None:
    latent = make((4, 16))
    corners = latent.from_codes(torch.arange(16).reshape(1, 16, 1))[0].T
    assert len(corners.unique(dim=0)) == 16
    assert corners.abs().eq(1).all()


@pytest.mark.parametrize("temperature", [0.3, 1.0])
def test_the_entropy_is_that_of_the_distribution_of_codes(temperature: float) -> None:
    latent = make((4, 5), temperature=temperature)
    features = torch.randn(6, 4, 5)
    expected = entropy(all_codes(features.movedim(1, -1), temperature)).sum(1)
    torch.testing.assert_close(latent(features, sample=True).terms["entropy"], expected)


def test_a_bit_s_entropy_by_hand() -> None:
    latent = make((1, 1))
    p = 1 / (1 + math.exp(-4 * 0.25))
    expected = -p * math.log(p) - (1 - p) * math.log(1 - p)
    found = latent(torch.tensor([[[0.25]], [[0.0]]]), sample=True).terms["entropy"]
    torch.testing.assert_close(found, torch.tensor([expected, math.log(2)]))


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("joint_bits", [1, 3, 4, 10])
def test_diversity_is_the_kl_of_the_mean_usage_from_uniform(joint_bits: int, training: bool) -> None:
    latent = make((4, 5), joint_bits=joint_bits).train(training)
    features = 0.5 * torch.randn(6, 4, 5, requires_grad=True) + 0.3
    vectors = features.movedim(1, -1).flatten(0, 1)
    expected = torch.zeros(())
    for bits in vectors.split(joint_bits, 1):
        expected = expected + bits.shape[1] * math.log(2) - entropy(all_codes(bits, 1.0).mean(0))
    found = latent(features, sample=True).terms["diversity"]
    # In nats per sample, which has five positions.
    torch.testing.assert_close(found, (5 * expected).expand(6))
    torch.testing.assert_close(*(torch.autograd.grad(each, features)[0] for each in (found.mean(), 5 * expected)))
    assert latent.batch_terms == {"diversity"}


def test_diversity_is_zero_at_uniform_usage() -> None:
    latent = make((3, 8))
    features = 50 * all_corners(3).T[None]
    terms = latent(features, sample=True).terms
    torch.testing.assert_close(terms["diversity"], torch.zeros(1), atol=1e-5, rtol=0)
    torch.testing.assert_close(
        latent(50 * torch.ones(2, 3, 8), sample=True).terms["diversity"][0].item(), 24 * math.log(2)
    )


def all_corners(dim: int) -> Tensor:
    return torch.cartesian_prod(*[torch.tensor([-1.0, 1.0])] * dim)


def test_large_vectors_have_finite_gradients() -> None:
    latent = make((6, 2), temperature=0.01)
    features = (100 * torch.randn(5, 6, 2)).requires_grad_()
    sum(term.sum() for term in latent(features, sample=True).terms.values()).backward()
    assert features.grad is not None
    assert features.grad.isfinite().all()


def test_weights_of_the_terms() -> None:
    latent = make((3, 1), entropy=0.5, diversity={"name": "linear", "end": 2.0})
    weights = {name: schedule(TrainingProgress(batch=5, planned=10)) for name, schedule in latent.weights.items()}
    assert weights == {"commitment": 0.25, "entropy": 0.5, "diversity": 1.0}


@pytest.mark.parametrize(
    ("options", "found"),
    [({"dim": 0}, "0, 10 and 1.0"), ({"dim": 21}, "21, 10 and 1.0"), ({"temperature": 0.0}, "10, 10 and 0.0")],
)
def test_invalid_options_are_rejected(options: dict[str, Any], found: str) -> None:
    with pytest.raises(AeframeError) as error:
        build("latent", {"name": "lfq", **options}, feature_shape=(4,))
    assert str(error.value) == (
        "latent lfq needs dim from 1 to 20, joint_bits of at least 1 and a temperature above 0, found " + found
    )
