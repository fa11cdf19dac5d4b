"""The decoder-gradient penalty against the full Jacobian."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from aeframe.model.assembly import assemble
from aeframe.model.autoencoder import Autoencoder
from aeframe.parts.penalties.jacobian import squared_jacobian
from aeframe.types import Batch, DataSpec, Domain

SHAPE = (2, 3)


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)


def model_with(dim: int = 4, condition: int = 0, latent: str = "point", **options: Any) -> Autoencoder:
    config = {
        "activation": "tanh",
        "encoder": {"name": "mlp", "hidden": (5,)},
        "latent": {"name": latent, "dim": dim},
        "loss": "mse",
        "penalties": {"decoder_gradient": options},
    }
    return assemble(config, DataSpec(SHAPE, Domain("real"), condition))


def exact(model: Autoencoder, z: Tensor, condition: Tensor | None = None) -> Tensor:
    """Return the squared Frobenius norm of d output / d z for each sample, from the full Jacobian."""
    norms = []
    for n in range(len(z)):
        like = None if condition is None else condition[n : n + 1]

        def output(code: Tensor, like: Tensor | None = like) -> Tensor:
            return model.decode(code[None], condition=like)[0]

        norms.append(torch.autograd.functional.jacobian(output, z[n]).square().sum())
    return torch.stack(norms)


@pytest.mark.parametrize("dim", [4, 9], ids=["by columns", "by rows"])
def test_without_probes_it_is_the_norm_of_the_jacobian(dim: int) -> None:
    # There are 6 outputs: with fewer inputs there is a backward pass for each input, else for each output.
    model, x = model_with(dim, probes=0), torch.randn(5, *SHAPE)
    out = model(Batch(x))
    torch.testing.assert_close(model.penalties["decoder_gradient"](model, out), exact(model, out.latent.mean))


def test_it_uses_the_condition_and_the_mean_of_the_posterior() -> None:
    model = model_with(condition=2, latent="gaussian", probes=0)
    condition = torch.randn(4, 2)
    out = model(Batch(torch.randn(4, *SHAPE), condition=condition))
    value = model.penalties["decoder_gradient"](model, out)
    torch.testing.assert_close(value, exact(model, out.latent.mean, condition))


def test_the_mean_over_probes_is_the_exact_norm() -> None:
    model, x = model_with(probes=4000), torch.randn(3, *SHAPE)
    out = model(Batch(x))
    torch.testing.assert_close(
        model.penalties["decoder_gradient"](model, out), exact(model, out.latent.mean), rtol=0.08, atol=0
    )


def test_a_probe_is_random_in_training_and_fixed_in_evaluation() -> None:
    model, x = model_with(probes=1), torch.randn(3, *SHAPE)
    penalty, out = model.penalties["decoder_gradient"], model(Batch(x))
    assert not torch.equal(penalty(model, out), penalty(model, out))
    model.eval()
    with torch.no_grad():
        out, twice = model(Batch(x)), model(Batch(torch.cat([x, x])))
        assert torch.equal(penalty(model, out), penalty(model, out))
        torch.testing.assert_close(penalty(model, twice), penalty(model, out).repeat(2))


@pytest.mark.parametrize("probes", [0, 2])
def test_it_trains_the_decoder_and_not_the_encoder(probes: int) -> None:
    model = model_with(probes=probes)
    model.penalties["decoder_gradient"](model, model(Batch(torch.randn(3, *SHAPE)))).sum().backward()
    assert all(p.grad is None for p in (*model.encoder.parameters(), *model.latent.parameters()))
    # The last bias does not change the Jacobian.
    *others, last = (p.grad is not None and bool(p.grad.any()) for p in model.decoder.parameters())
    assert all(others)
    assert not last


@pytest.mark.parametrize("size", [(3, 5), (5, 3)])
def test_the_norm_is_differentiable_by_rows_and_by_columns(size: tuple[int, int]) -> None:
    matrix = torch.randn(size, dtype=torch.double, requires_grad=True)
    at = torch.randn(4, size[0], dtype=torch.double)

    def norm(matrix: Tensor) -> Tensor:
        return squared_jacobian(lambda x: (x @ matrix).tanh(), at)

    assert torch.autograd.gradcheck(norm, matrix)
