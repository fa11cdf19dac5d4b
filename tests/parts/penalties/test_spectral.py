"""The spectral penalty against singular value decompositions."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from aeframe.errors import AeframeError
from aeframe.factory import build
from aeframe.model.assembly import assemble
from aeframe.model.autoencoder import Autoencoder
from aeframe.parts.penalties.spectral import largest_singular_values
from aeframe.types import Batch, DataSpec, Domain


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)


def model_with(encoder: dict[str, Any], latent: dict[str, Any], **options: Any) -> Autoencoder:
    config = {"encoder": encoder, "latent": latent, "loss": "mse", "penalties": {"spectral": options}}
    return assemble(config, DataSpec((1, 6, 6), Domain("real")))


CONV = {"name": "conv", "channels": [3, 4]}
POINT = {"name": "point", "dim": 3}


def penalty(model: Autoencoder, num: int = 3) -> Tensor:
    value: Tensor = model.penalties["spectral"](model, model(Batch(torch.randn(num, 1, 6, 6))))
    return value


def norm(weight: Tensor, outputs: int = 0) -> Tensor:
    """Return the largest singular value of the matrix of outputs by all other axes."""
    return torch.linalg.svdvals(weight.movedim(outputs, 0).flatten(1))[0]


@pytest.mark.parametrize("shape", [(4, 7), (7, 4), (1, 5), (5, 1), (30, 30), (64, 300)])
def test_estimates_are_lower_bounds_that_converge(shape: tuple[int, int]) -> None:
    matrices = torch.randn(3, *shape)
    exact = torch.linalg.svdvals(matrices)[:, 0]
    torch.testing.assert_close(largest_singular_values(matrices, 300), exact, rtol=1e-3, atol=0)
    few = largest_singular_values(matrices, 20)
    # Random matrices are the worst case, with many singular values near the largest.
    assert (few <= exact * (1 + 1e-5)).all()
    assert (few >= 0.95 * exact).all()


def test_the_gradient_is_the_product_of_the_singular_vectors() -> None:
    matrix = torch.randn(1, 5, 8, requires_grad=True)
    largest_singular_values(matrix, 500).sum().backward()
    u, _, v = torch.linalg.svd(matrix[0].detach())
    torch.testing.assert_close(matrix.grad, torch.outer(u[:, 0], v[0])[None], rtol=1e-3, atol=1e-3)


def test_zeros_have_a_finite_gradient() -> None:
    matrix = torch.zeros(1, 3, 4, requires_grad=True)
    value = largest_singular_values(matrix, 5)
    value.sum().backward()
    assert value.detach().tolist() == [0.0]
    assert matrix.grad is not None
    assert matrix.grad.isfinite().all()


def test_the_sum_is_over_the_layers_of_the_part() -> None:
    model = model_with(CONV, POINT, of="encoder", iterations=500)
    convs = [m for m in model.encoder.modules() if isinstance(m, nn.Conv2d)]
    encoder = torch.stack([norm(conv.weight) for conv in convs]).sum()
    assert len(convs) == 2
    torch.testing.assert_close(penalty(model), encoder.expand(3), rtol=1e-3, atol=0)
    model = model_with(CONV, POINT, of="decoder", iterations=500)
    # The outputs are the second axis of a transposed convolution.
    linear = [norm(m.weight) for m in model.decoder.modules() if isinstance(m, nn.Linear)]
    transposed = [norm(m.weight, 1) for m in model.decoder.modules() if isinstance(m, nn.ConvTranspose2d)]
    assert (len(linear), len(transposed)) == (1, 2)
    torch.testing.assert_close(penalty(model), torch.stack(linear + transposed).sum().expand(3), rtol=1e-3, atol=0)


def test_all_is_encoder_latent_and_decoder() -> None:
    latent = {"name": "nvae", "dim": 2, "scales": [1, 1], "width": 4, "expansion": 1, "activation": "silu"}
    model = model_with(CONV, latent, iterations=500)
    norms = [
        norm(m.weight, int(isinstance(m, nn.ConvTranspose2d)))
        for part in (model.encoder, model.latent, model.decoder)
        for m in part.modules()
        if isinstance(m, (nn.Linear, nn.Conv2d, nn.ConvTranspose2d))
    ]
    assert len(norms) > 20
    torch.testing.assert_close(penalty(model), torch.stack(norms).sum().expand(3), rtol=1e-3, atol=0)


def test_it_is_the_same_at_each_call_and_for_each_sample() -> None:
    model = model_with(CONV, POINT)
    first = penalty(model)
    torch.rand(5)
    assert torch.equal(penalty(model, 4)[:3], first)
    assert (first == first[0]).all()
    assert not list(model.penalties["spectral"].buffers())


def test_minimising_it_reduces_the_norms_of_the_part() -> None:
    model = model_with(CONV, POINT, of="decoder")
    before = float(penalty(model)[0].detach())
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    for _ in range(20):
        optimizer.zero_grad()
        penalty(model).mean().backward()
        optimizer.step()
    assert float(penalty(model)[0].detach()) < before - 0.5
    assert all(parameter.grad is None for parameter in model.encoder.parameters())


def test_half_precision_does_not_round_the_sum() -> None:
    model = model_with(CONV, POINT, of="encoder", iterations=50)
    expected = penalty(model)
    out = model(Batch(torch.randn(3, 1, 6, 6)))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        value = model.penalties["spectral"](model, out)
    assert value.dtype == torch.float32
    torch.testing.assert_close(value, expected, rtol=1e-6, atol=0)


def test_zero_iterations_are_refused() -> None:
    with pytest.raises(AeframeError) as error:
        build("penalty", {"name": "spectral", "iterations": 0})
    assert str(error.value) == "penalty spectral needs iterations of at least 1, found 0"
