"""The contractive penalty against the full Jacobian, and L1 by hand."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from aeframe.model.assembly import assemble
from aeframe.model.autoencoder import Autoencoder
from aeframe.parts.latents.point import Point
from aeframe.types import Batch, DataSpec, Domain, TrainingProgress

SHAPE = (2, 3)


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)


def model_with(condition: int = 0, corruption: str = "none", **penalties: Any) -> Autoencoder:
    config = {
        "activation": "tanh",
        "corruption": corruption,
        "encoder": {"name": "mlp", "hidden": (5,)},
        "latent": {"name": "point", "dim": 4},
        "loss": "mse",
        "penalties": penalties,
    }
    return assemble(config, DataSpec(SHAPE, Domain("real"), condition))


def exact(model: Autoencoder, x: Tensor, condition: Tensor | None = None) -> Tensor:
    """Return the squared Frobenius norm of d code / d x for each sample, from the full Jacobian."""
    norms = []
    for n in range(len(x)):
        like = None if condition is None else condition[n : n + 1]

        def code(sample: Tensor, like: Tensor | None = like) -> Tensor:
            return model.embed(Batch(sample[None], condition=like)).mean[0]

        norms.append(torch.autograd.functional.jacobian(code, x[n]).square().sum())
    return torch.stack(norms)


def test_contractive_is_the_norm_of_the_jacobian() -> None:
    model, x = model_with(contractive={}), torch.randn(5, *SHAPE)
    torch.testing.assert_close(model.penalties["contractive"](model, model(Batch(x))), exact(model, x))


def test_contractive_of_a_linear_encoder_is_the_norm_of_its_matrix() -> None:
    model = assemble(
        {
            "encoder": {"name": "mlp", "hidden": ()},
            "latent": {"name": "point", "dim": 4},
            "loss": "mse",
            "penalties": {"contractive": {}},
        },
        DataSpec(SHAPE, Domain("real")),
    )
    value = model.penalties["contractive"](model, model(Batch(torch.randn(3, *SHAPE))))
    assert isinstance(model.latent, Point)
    torch.testing.assert_close(value, model.latent.head.linear.weight.square().sum().expand(3))


def test_contractive_uses_the_corrupted_input_and_the_condition() -> None:
    model, x = model_with(condition=2, corruption="gaussian", contractive={}), torch.randn(4, *SHAPE)
    condition = torch.randn(4, 2)
    # The condition is appended to x as channels; the derivative with respect to it is not included.
    out = model.train()(Batch(x, condition=condition))
    torch.testing.assert_close(model.penalties["contractive"](model, out), exact(model, out.encoder_input.x, condition))


def test_the_mean_over_probes_is_the_exact_norm() -> None:
    model, x = model_with(contractive={"probes": 4000}), torch.randn(3, *SHAPE)
    value = model.penalties["contractive"](model, model(Batch(x)))
    torch.testing.assert_close(value, exact(model, x), rtol=0.08, atol=0)


def test_a_single_probe_is_random_and_has_the_right_mean() -> None:
    model, x = model_with(contractive={"probes": 1}), torch.randn(3, *SHAPE)
    out, penalty = model(Batch(x)), model.penalties["contractive"]
    assert not torch.equal(penalty(model, out), penalty(model, out))
    single = torch.stack([penalty(model, out) for _ in range(1500)]).mean(0)
    torch.testing.assert_close(single, exact(model, x), rtol=0.15, atol=0)


def test_contractive_is_the_same_under_no_grad_and_does_not_change_x() -> None:
    model, x = model_with(contractive={}), torch.randn(3, *SHAPE)
    batch = Batch(x)
    with torch.no_grad():
        value = model.penalties["contractive"](model, model(batch))
    torch.testing.assert_close(value.detach(), exact(model, x))
    assert not batch.x.requires_grad


def test_contractive_trains_the_encoder() -> None:
    model, x = model_with(contractive={}), torch.randn(3, *SHAPE)
    model.penalties["contractive"](model, model(Batch(x))).sum().backward()
    assert all(p.grad is not None and p.grad.any() for p in model.encoder.parameters())
    assert all(p.grad is None for p in model.decoder.parameters())


def test_contractive_under_autocast_and_in_double() -> None:
    model, x = model_with(contractive={}), torch.randn(3, *SHAPE)
    expected = exact(model, x)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        half = model.penalties["contractive"](model, model(Batch(x)))
    torch.testing.assert_close(half, expected, rtol=0.05, atol=0)
    model = model.double()
    torch.testing.assert_close(
        model.penalties["contractive"](model, model(Batch(x.double()))), expected.double(), rtol=1e-5, atol=0
    )


def test_l1_is_the_sum_of_absolute_values() -> None:
    model, x = model_with(l1={}), torch.randn(3, *SHAPE)
    out = model(Batch(x))
    out.latent.mean = torch.tensor([[1.0, -2.0, 0.0, 0.5], [0.0] * 4, [-3.0, -3.0, 0.0, 0.0]])
    assert model.penalties["l1"](model, out).tolist() == [3.5, 0.0, 6.0]


@pytest.mark.parametrize("name", ["l1", "contractive"])
def test_a_doubled_batch_does_not_change_the_penalty_of_a_sample(name: str) -> None:
    penalties: dict[str, Any] = {name: {}}
    model, x = model_with(**penalties), torch.randn(3, *SHAPE)
    alone = model.penalties[name](model, model(Batch(x)))
    assert alone.shape == (3,)
    twice = model.penalties[name](model, model(Batch(torch.cat([x, x]))))
    torch.testing.assert_close(twice, torch.cat([alone, alone]))


def test_a_penalty_is_a_term_by_its_label_with_a_scheduled_weight() -> None:
    model = model_with(
        l1={"weight": {"name": "linear", "end": 0.8}}, tighter={"name": "contractive", "weight": 0.25, "probes": 0}
    )
    out = model(Batch(torch.randn(3, *SHAPE)))
    terms = model.terms(out, TrainingProgress(batch=50, planned=100))
    assert terms.weights == {"reconstruction": 1.0, "l1": pytest.approx(0.4), "tighter": 0.25}
    torch.testing.assert_close(
        terms.total(), terms.raw["reconstruction"] + 0.4 * terms.raw["l1"] + 0.25 * terms.raw["tighter"]
    )
    # Models are selected without penalties.
    assert terms.bound is out.reconstruction
