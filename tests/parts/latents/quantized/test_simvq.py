"""SimVQ: initialisation, assignment and gradients of a linearly mapped codebook."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from aeframe.errors import AeframeError
from aeframe.factory import build
from aeframe.types import Shape


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)


def make(feature_shape: Shape = (2, 3), **options: Any) -> Any:
    config = {"name": "simvq", "codebook_size": 4, "dim": feature_shape[0], **options}
    latent = build("latent", config, feature_shape=feature_shape)
    nn.init.eye_(latent.tokens.head.linear.weight)
    nn.init.zeros_(latent.tokens.head.linear.bias)
    return latent


def hand_made() -> Any:
    """Return a latent with codes (0, 0), (4, 0), (0, 2) and (9, 9): frozen halves of them, and the map 2 I."""
    latent = make(data_init=False)
    latent.codebooks[0].frozen.copy_(torch.tensor([[0.0, 0.0], [2.0, 0.0], [0.0, 1.0], [4.5, 4.5]]))
    nn.init.eye_(latent.codebooks[0].map.weight)
    latent.codebooks[0].map.weight.data.mul_(2)
    return latent


POINTS = torch.tensor([[[1.0, 3.0, 0.0], [0.0, 1.0, 2.0]], [[8.0, -1.0, 0.5], [8.0, -1.0, 1.5]]])
CODES = torch.tensor([[0, 1, 2], [3, 0, 2]])


def test_the_nearest_mapped_code_is_assigned() -> None:
    latent = hand_made()
    found = latent(POINTS, sample=True)
    assert torch.equal(found.codes[..., 0], CODES)
    assert torch.equal(found.z, latent.codebooks[0].vectors[CODES].movedim(-1, 1))
    # As for vq: 1 + 2 + 0 and 2 + 2 + 0.5.
    expected = torch.tensor([3.0, 4.5])
    torch.testing.assert_close(found.terms, {"commitment": expected, "codebook": expected})


def test_the_codebook_term_has_a_gradient_to_the_map_only() -> None:
    latent = hand_made()
    features = POINTS.clone().requires_grad_()
    terms = latent(features, sample=True).terms
    codebook = latent.codebooks[0]
    (to_map,) = torch.autograd.grad(terms["codebook"].sum(), codebook.map.weight, retain_graph=True)
    codes, points = codebook.frozen[CODES.flatten()], POINTS.movedim(1, -1).flatten(0, 1)
    # d/dW |W c - v|^2 = 2 (W c - v) c^T.
    torch.testing.assert_close(to_map, 2 * (2 * codes - points).T @ codes)
    assert torch.autograd.grad(terms["codebook"].sum(), features, retain_graph=True, allow_unused=True) == (None,)
    assert torch.autograd.grad(terms["commitment"].sum(), codebook.map.weight, allow_unused=True) == (None,)


def test_the_gradient_of_one_code_moves_all() -> None:
    latent = make((3, 1), codebook_size=50, data_init=False)
    before = latent.codebooks[0].vectors.detach().clone()
    optimizer = torch.optim.SGD(latent.codebooks.parameters(), lr=0.1)
    latent(torch.randn(1, 3, 1), sample=True).terms["codebook"].sum().backward()
    optimizer.step()
    assert ((latent.codebooks[0].vectors - before).abs().sum(1) > 0).all()


def test_the_first_training_batch_initialises_it_once() -> None:
    latent = make((2, 4), codebook_size=4)
    features = torch.randn(2, 2, 4)
    latent.eval()(features, sample=False)
    with torch.no_grad():
        latent.train()(features, sample=True)
    assert not latent.codebooks[0].initialized
    found = latent(features, sample=True)
    # The first four of eight vectors.
    vectors = features.movedim(1, -1).flatten(0, 1)
    torch.testing.assert_close(latent.codebooks[0].vectors, vectors[:4])
    assert torch.equal(found.codes[0, :, 0], torch.arange(4))
    latent(features + 100, sample=True)
    torch.testing.assert_close(latent.codebooks[0].vectors, vectors[:4])


def test_copies_of_vectors_receive_noise() -> None:
    latent = make((2, 4), codebook_size=200)
    features = torch.randn(2, 2, 4)
    latent(features, sample=True)
    vectors = features.movedim(1, -1).flatten(0, 1)
    table = latent.codebooks[0].vectors.detach()
    assert len(table.unique(dim=0)) == 200
    noise = table - vectors[torch.arange(200) % 8]
    torch.testing.assert_close(noise.std(0) / vectors.std(0, correction=0), torch.tensor([0.1, 0.1]), atol=0.02, rtol=0)


def test_the_global_generator_is_not_used_and_frozen_vectors_are_no_parameter() -> None:
    latent = make((2, 4), codebook_size=200)
    before = torch.get_rng_state()
    latent(torch.randn(2, 2, 4, generator=torch.Generator().manual_seed(0)), sample=True)
    assert torch.equal(torch.get_rng_state(), before)
    assert [name for name, _ in latent.codebooks.named_parameters()] == ["0.map.weight"]
    assert {"0.frozen", "0.initialized"} <= set(latent.codebooks.state_dict())


def test_one_code_is_rejected() -> None:
    with pytest.raises(AeframeError) as error:
        make(codebook_size=1)
    assert str(error.value) == "a codebook needs at least 2 codes, found 1; set latent.codebook_size"
