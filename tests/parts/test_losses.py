"""Properties of every loss: per sample, in float32, masked. Values are tested in tests/parts/losses."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from aeframe.factory import build
from aeframe.parts.losses.base import Loss
from aeframe.registry import registry
from aeframe.types import Batch, DataSpec, Domain

SHAPE = (3, 5)
# Every loss with each of its variants, and a domain it is made for.
SETTINGS: dict[str, tuple[dict[str, Any], str]] = {
    "mse": ({"name": "mse"}, "real"),
    "mse tanh": ({"name": "mse", "activation": "tanh"}, "signed"),
    "mae": ({"name": "mae"}, "real"),
    "huber": ({"name": "huber", "delta": 0.7}, "real"),
    "hinge": ({"name": "hinge", "margin": 1.5}, "binary"),
    "jaccard": ({"name": "jaccard"}, "binary"),
    "jaccard unit": ({"name": "jaccard"}, "unit"),
    "bernoulli": ({"name": "bernoulli"}, "binary"),
    "bernoulli unit": ({"name": "bernoulli"}, "unit"),
    "categorical": ({"name": "categorical"}, "category(4)"),
    "gaussian": ({"name": "gaussian", "scale": 0.3}, "real"),
    "gaussian sigmoid": ({"name": "gaussian", "activation": "sigmoid"}, "unit"),
    "gaussian shared": ({"name": "gaussian", "variance": "shared"}, "real"),
    "gaussian learned": ({"name": "gaussian", "variance": "learned"}, "real"),
    "gaussian optimal": ({"name": "gaussian", "variance": "optimal"}, "real"),
    "kl_divergence": ({"name": "kl_divergence"}, "simplex"),
    "log_cosh": ({"name": "log_cosh"}, "real"),
    "laplace": ({"name": "laplace", "scale": 0.3}, "real"),
    "laplace shared": ({"name": "laplace", "variance": "shared"}, "real"),
    "laplace learned": ({"name": "laplace", "variance": "learned", "activation": "sigmoid"}, "unit"),
    "student_t": ({"name": "student_t", "df": 3.0}, "real"),
    "student_t learned df": ({"name": "student_t", "learn_df": True, "variance": "shared"}, "real"),
    "student_t learned": ({"name": "student_t", "variance": "learned", "activation": "tanh"}, "signed"),
    "continuous_bernoulli": ({"name": "continuous_bernoulli"}, "unit"),
    "logistic mixture": ({"name": "discretised_logistic_mixture", "components": 3}, "unit"),
    "logistic mixture of 8": ({"name": "discretised_logistic_mixture", "components": 2, "levels": 8}, "signed"),
    "logistic mixture of colours": (
        {"name": "discretised_logistic_mixture", "components": 2, "linear_colours": True},
        "signed",
    ),
    "poisson": ({"name": "poisson"}, "count"),
    "negative_binomial": ({"name": "negative_binomial"}, "count"),
    "negative_binomial of cells": ({"name": "negative_binomial", "dispersion": "gene_cell"}, "count"),
    "zero_inflated": ({"name": "zero_inflated_negative_binomial"}, "count"),
    "zero_inflated of cells": ({"name": "zero_inflated_negative_binomial", "dispersion": "gene_cell"}, "count"),
    "patch_mse": ({"name": "patch_mse", "patch": 5}, "real"),
}
# The loss `own` is a function of the user, see test_own.py; samples of `mixed` are flat, see test_packed.py.
CORE_LOSSES = {entry.name for entry in registry().entries("loss") if entry.plugin == "core"} - {"own", "mixed"}


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)


def make(name: str, domain: str, shape: tuple[int, ...] = SHAPE, **options: Any) -> Loss:
    spec = DataSpec(shape, Domain.parse(domain))
    loss: Loss = build("loss", {"name": name, **options}, shape=shape, domain=spec.domain, spec=spec)
    return loss


def draw(domain: Domain, *size: int) -> Tensor:
    """Return data of a domain, which include the ends of its range."""
    match domain.kind:
        case "real":
            return 2.0 * torch.randn(size)
        case "unit":
            return torch.rand(size).mul(1.4).sub(0.2).clamp(0, 1)
        case "signed":
            return torch.randn(size).clamp(-1, 1)
        case "binary":
            return torch.randint(2, size).float()
        case "count":
            return torch.poisson(3 * torch.rand(size))
        case "category":
            assert domain.classes is not None
            return torch.randint(domain.classes, size)
        case "simplex":
            return torch.randn(size).softmax(-1)
    raise AssertionError(domain)


@pytest.fixture(params=SETTINGS)
def case(request: pytest.FixtureRequest) -> tuple[Loss, Tensor, Tensor]:
    """Return a loss, four samples and decoder outputs for them."""
    config, domain = SETTINGS[request.param]
    loss = make(domain=domain, **config)
    assert domain.partition("(")[0] in loss.domains
    x = draw(Domain.parse(domain), 4, *SHAPE)
    return loss, x, torch.randn(4, loss.num_outputs, *SHAPE)


def test_every_registered_loss_of_core_is_tested_here() -> None:
    assert {config["name"] for config, _ in SETTINGS.values()} == CORE_LOSSES


# -- properties of every loss ------------------------------------------------------------------------------------


def test_the_loss_is_one_float32_number_for_each_sample(case: tuple[Loss, Tensor, Tensor]) -> None:
    loss, x, output = case
    value = loss(output, Batch(x))
    assert value.shape == (4,)
    assert value.dtype == torch.float32
    assert value.isfinite().all()


def test_importance_samples_equal_the_loss_of_each_alone(case: tuple[Loss, Tensor, Tensor]) -> None:
    loss, x, _ = case
    output = torch.randn(3, 4, loss.num_outputs, *SHAPE)
    mask = torch.rand(4, *SHAPE) < 0.7
    for batch in (Batch(x), Batch(x, mask=mask)):
        value = loss(output, batch)
        assert value.shape == (3, 4)
        torch.testing.assert_close(value, torch.stack([loss(one, batch) for one in output]))


def test_repeating_a_batch_does_not_change_a_sample(case: tuple[Loss, Tensor, Tensor]) -> None:
    loss, x, output = case
    alone = loss(output, Batch(x))
    twice = loss(torch.cat([output, output]), Batch(torch.cat([x, x])))
    # Vectorised and remaining elements may be rounded differently in the last digit.
    torch.testing.assert_close(twice, torch.cat([alone, alone]), rtol=1e-6, atol=1e-6)


def test_other_samples_do_not_change_a_sample(case: tuple[Loss, Tensor, Tensor]) -> None:
    loss, x, output = case
    torch.testing.assert_close(loss(output, Batch(x))[:1], loss(output[:1], Batch(x[:1])), rtol=1e-6, atol=1e-6)


def test_masked_padding_does_not_change_a_sample(case: tuple[Loss, Tensor, Tensor]) -> None:
    loss, x, output = case
    if any(parameter.shape == SHAPE for parameter in loss.parameters()) or getattr(loss, "linear_colours", False):
        pytest.skip("features that are known one by one, or three colours, are never padded")
    bare = loss(output, Batch(x))
    # Two more positions along the leading dimension, with a mask of that dimension only.
    padded_x = torch.cat([x, torch.zeros_like(x[:, :2])], dim=1)
    padded_output = torch.cat([output, torch.randn_like(output[:, :, :2])], dim=2)
    mask = torch.arange(SHAPE[0] + 2).expand(4, -1) < SHAPE[0]
    torch.testing.assert_close(loss(padded_output, Batch(padded_x, mask=mask)), bare)


def test_a_fully_masked_sample_has_loss_zero(case: tuple[Loss, Tensor, Tensor]) -> None:
    loss, x, output = case
    mask = torch.ones(4, *SHAPE, dtype=torch.bool)
    mask[1] = False
    value = loss(output, Batch(x, mask=mask))
    assert value[1] == 0
    torch.testing.assert_close(value[[0, 2, 3]], loss(output, Batch(x))[[0, 2, 3]])


def test_masked_nan_values_leave_loss_and_gradient_finite(case: tuple[Loss, Tensor, Tensor]) -> None:
    loss, x, output = case
    mask = torch.ones(4, *SHAPE, dtype=torch.bool)
    mask[:, 0] = False
    absent = x.clone()
    absent[:, 0] = float("nan") if x.is_floating_point() else -100
    output = output.requires_grad_()
    value = loss(output, Batch(absent, mask=mask))
    (gradient,) = torch.autograd.grad(value.sum(), output)
    assert value.isfinite().all()
    assert gradient.isfinite().all()
    # The three colours share a component and must be masked together.
    assert (gradient[:, :, 0] == 0).all() or getattr(loss, "linear_colours", False)


def test_half_precision_outputs_give_finite_float32_losses(case: tuple[Loss, Tensor, Tensor]) -> None:
    loss, x, output = case
    # Large outputs too, as untrained networks return them.
    for scale in (1.0, 60.0):
        value = loss((scale * output).bfloat16(), Batch(x))
        assert value.dtype == torch.float32
        assert value.isfinite().all()
        torch.testing.assert_close(value, loss((scale * output).bfloat16().float(), Batch(x)))


def test_the_sum_of_the_elements_is_the_loss(case: tuple[Loss, Tensor, Tensor]) -> None:
    loss, x, output = case
    elements = loss.elements(output, x)
    assert elements.shape == x.shape
    torch.testing.assert_close(elements.flatten(1).sum(1), loss(output, Batch(x)))


def test_every_output_and_parameter_has_a_gradient(case: tuple[Loss, Tensor, Tensor]) -> None:
    loss, x, output = case
    output = output.requires_grad_()
    loss(output, Batch(x)).sum().backward()
    assert output.grad is not None
    assert (output.grad.flatten(2) != 0).any(-1).any(0).all()
    assert all(parameter.grad is not None and (parameter.grad != 0).all() for parameter in loss.parameters())


def test_mean_and_sample_are_within_output_range(case: tuple[Loss, Tensor, Tensor]) -> None:
    loss, x, _ = case
    output = 5 * torch.randn(3, 4, loss.num_outputs, *SHAPE)
    mean, drawn = loss.mean(output), loss.sample(output)
    assert mean.shape == drawn.shape == (3, *x.shape)
    stated = loss.output_range
    assert mean.min() >= stated.low
    assert mean.max() <= stated.high
    torch.testing.assert_close(loss.mean(output.bfloat16()).float(), loss.mean(output.bfloat16().float()).float())


def test_gradient_descent_on_the_output_converges_to_x(case: tuple[Loss, Tensor, Tensor]) -> None:
    loss, x, output = case
    output = output.requires_grad_()
    optimizer = torch.optim.Adam([output], lr=0.1)
    before = (loss.mean(output) - x.to(torch.float32)).abs().mean()
    for _ in range(150):
        optimizer.zero_grad()
        loss(output, Batch(x)).sum().backward()
        optimizer.step()
    assert (loss.mean(output) - x.to(torch.float32)).abs().mean() < 0.3 * before


def test_flat_x_and_reconstruction_are_masked() -> None:
    loss = make("mse", "real")
    mask = torch.tensor([[True, True, False], [True, False, True]])
    batch = Batch(torch.arange(30.0).reshape(2, *SHAPE) + 1, mask=mask)
    batch.x[0, 2] = torch.nan
    output = torch.ones(4, 2, 1, *SHAPE)
    x, x_hat = loss.flat_x_and_reconstruction(output, batch)
    assert x.shape == (2, 15)
    assert x_hat.shape == (4, 2, 15)
    assert x[0].tolist() == [*range(1, 11), *[0] * 5]
    assert x_hat[3, 1].tolist() == [1] * 5 + [0] * 5 + [1] * 5


def test_the_bernoulli_loss_is_the_same_with_and_without_gradients() -> None:
    loss = build("loss", "bernoulli", shape=(3,), domain=Domain("unit"))
    output, x = torch.linspace(-120, 120, 240).reshape(-1, 1, 3), torch.rand(80, 3)
    x[:40] = x[:40].round()
    evaluated, trained = loss.elements(output, x), loss.elements(output.clone().requires_grad_(), x)
    torch.testing.assert_close(evaluated, trained.detach(), rtol=1e-5, atol=1e-5)
