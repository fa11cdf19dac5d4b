"""Likelihoods against scipy, in nats."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from scipy import special, stats
from torch import Tensor

from aeframe.errors import AeframeError
from aeframe.factory import build
from aeframe.parts.losses.base import Likelihood, Loss
from aeframe.types import Batch, Domain

SHAPE = (3, 5)


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)


def make(name: str, domain: str, shape: tuple[int, ...] = SHAPE, **options: Any) -> Loss:
    loss: Loss = build("loss", {"name": name, **options}, shape=shape, domain=Domain.parse(domain))
    return loss


def by_hand(name: str, output: list[float], x: list[float], domain: str = "real", **options: Any) -> float:
    loss = make(name, domain, (len(x),), **options)
    return float(loss(torch.tensor([[output]]), Batch(torch.tensor([x]))))


def logit(p: list[float]) -> list[float]:
    return [float(value) for value in special.logit(np.array(p))]


def test_bernoulli_equals_scipy() -> None:
    x, output = torch.randint(2, (4, *SHAPE)).float(), 3 * torch.randn(4, 1, *SHAPE)
    loss = make("bernoulli", "binary")
    p = special.expit(output.squeeze(1).double().numpy())
    expected = -np.sum(stats.bernoulli.logpmf(x.int().numpy(), p), axis=(1, 2))
    np.testing.assert_allclose(loss(output, Batch(x)).numpy(), expected, rtol=1e-5)
    np.testing.assert_allclose(loss.mean(output).numpy(), p, rtol=1e-5)


def test_bernoulli_on_unit_data_is_the_cross_entropy_and_takes_integers() -> None:
    # -0.25 log 0.9 - 0.75 log 0.1.
    assert by_hand("bernoulli", logit([0.9]), [0.25], "unit") == pytest.approx(
        -0.25 * math.log(0.9) - 0.75 * math.log(0.1), rel=1e-5
    )
    loss, output, x = make("bernoulli", "binary"), torch.randn(2, 1, *SHAPE), torch.randint(2, (2, *SHAPE))
    torch.testing.assert_close(loss(output, Batch(x)), loss(output, Batch(x.float())))


def test_bernoulli_is_finite_for_extreme_logits() -> None:
    assert by_hand("bernoulli", [1e4, -1e4, -1e4], [1.0, 0.0, 1.0], "binary") == 1e4


def test_bernoulli_samples_have_the_stated_probability() -> None:
    drawn = make("bernoulli", "binary", (1,)).sample(torch.full((20_000, 1, 1), math.log(3)))
    assert set(drawn.unique().tolist()) == {0.0, 1.0}
    assert drawn.mean().item() == pytest.approx(0.75, abs=0.015)


def test_categorical_is_the_negative_log_softmax_at_x() -> None:
    loss = make("categorical", "category(4)")
    assert loss.num_outputs == 4
    x, output = torch.randint(4, (3, *SHAPE)), torch.randn(3, 4, *SHAPE)
    log_p = special.log_softmax(output.double().numpy(), axis=1)
    expected = -np.take_along_axis(log_p, x.numpy()[:, None], axis=1).sum((1, 2, 3))
    np.testing.assert_allclose(loss(output, Batch(x)).numpy(), expected, rtol=1e-5)
    assert torch.equal(loss.mean(output), output.argmax(1))
    assert make("categorical", "category(2)", (1,))(torch.zeros(1, 2, 1), Batch(torch.tensor([[1]]))).item() == (
        pytest.approx(math.log(2))
    )


def test_categorical_samples_have_the_stated_probabilities() -> None:
    p = torch.tensor([0.5, 0.2, 0.3])
    drawn = make("categorical", "category(3)", (2,)).sample(p.log()[None, :, None].expand(20_000, 3, 2))
    assert drawn.shape == (20_000, 2)
    assert (drawn.flatten().bincount() / 40_000).tolist() == pytest.approx(p.tolist(), abs=0.015)


def test_gaussian_fixed_equals_scipy() -> None:
    x, output = torch.randn(4, *SHAPE), torch.randn(4, 1, *SHAPE)
    expected = -np.sum(stats.norm.logpdf(x.numpy(), output.squeeze(1).numpy(), 0.3), axis=(1, 2))
    np.testing.assert_allclose(make("gaussian", "real", scale=0.3)(output, Batch(x)).numpy(), expected, rtol=1e-5)


def test_gaussian_fixed_samples_have_its_mean_and_scale() -> None:
    drawn = make("gaussian", "real", (1,), scale=0.3).sample(torch.full((20_000, 1, 1), 2.0))
    assert drawn.mean().item() == pytest.approx(2.0, abs=0.01)
    assert drawn.std().item() == pytest.approx(0.3, abs=0.01)


def test_gaussian_shared_converges_to_the_scale_of_the_data() -> None:
    loss = make("gaussian", "real", (1,), variance="shared", scale=3.0)
    assert [parameter.numel() for parameter in loss.parameters()] == [1]
    x, output = 0.5 * torch.randn(2000, 1), torch.zeros(2000, 1, 1)
    expected = -np.sum(stats.norm.logpdf(x.numpy(), 0.0, 3.0), axis=1)
    np.testing.assert_allclose(loss(output, Batch(x)).detach().numpy(), expected, rtol=1e-5)
    optimizer = torch.optim.Adam(loss.parameters(), lr=0.1)
    for _ in range(150):
        optimizer.zero_grad()
        loss(output, Batch(x)).mean().backward()
        optimizer.step()
    assert isinstance(loss, Likelihood)
    assert loss.distribution(output).stddev[0].item() == pytest.approx(x.square().mean().sqrt().item(), rel=0.01)


def test_the_second_output_of_gaussian_learned_is_the_log_variance() -> None:
    loss = make("gaussian", "real", variance="learned", scale=2.0)
    assert loss.num_outputs == 2
    x, output = torch.randn(4, *SHAPE), torch.randn(4, 2, *SHAPE)
    # In units of scale: the variance is 2^2 exp(second output).
    std = 2.0 * np.exp(0.5 * output[:, 1].numpy())
    expected = -np.sum(stats.norm.logpdf(x.numpy(), output[:, 0].numpy(), std), axis=(1, 2))
    np.testing.assert_allclose(loss(output, Batch(x)).numpy(), expected, rtol=1e-4)


def test_gaussian_learned_variance_is_bounded_softly() -> None:
    loss = make("gaussian", "real", (1,), variance="learned", min_scale=0.1)
    assert isinstance(loss, Likelihood)
    output = torch.tensor([[[0.0], [-20.0]]]).requires_grad_()
    assert loss.distribution(output).stddev.item() == pytest.approx(0.1, rel=1e-3)
    (gradient,) = torch.autograd.grad(loss(output, Batch(torch.tensor([[1.0]]))).sum(), output)
    # x is ten sigma away, so the gradient is towards a larger variance.
    assert gradient[0, 1].item() < 0


@pytest.mark.parametrize("mask", [None, torch.arange(15).reshape(3, 5) % 4 > 0])
def test_gaussian_optimal_is_the_minimum_over_sigma_for_each_sample(mask: Tensor | None) -> None:
    loss = make("gaussian", "real", variance="optimal")
    x, output = torch.randn(4, *SHAPE) * torch.tensor([0.1, 1.0, 5.0, 20.0])[:, None, None], torch.randn(4, 1, *SHAPE)
    batch = Batch(x, mask=None if mask is None else mask.expand(4, -1, -1))
    value = loss(output, batch)
    counted = torch.ones(SHAPE, dtype=torch.bool) if mask is None else mask
    for n in range(4):
        error = (x[n] - output[n, 0])[counted].double().numpy()
        sigma = math.sqrt(np.mean(error**2))
        assert value[n].item() == pytest.approx(-np.sum(stats.norm.logpdf(error, 0.0, sigma)), rel=1e-5)
        for other in (0.9 * sigma, 1.1 * sigma):
            assert -np.sum(stats.norm.logpdf(error, 0.0, other)) > value[n].item()


def test_the_gradient_of_gaussian_optimal_is_that_of_fixed_sigma() -> None:
    x, output = torch.randn(2, *SHAPE), torch.randn(2, 1, *SHAPE, requires_grad=True)
    (found,) = torch.autograd.grad(make("gaussian", "real", variance="optimal")(output, Batch(x)).sum(), output)
    error = output.detach().squeeze(1) - x
    torch.testing.assert_close(found.squeeze(1), error / error.square().mean((1, 2), keepdim=True))


def test_gaussian_optimal_is_finite_for_a_perfect_reconstruction() -> None:
    loss = make("gaussian", "real", (2,), variance="optimal", min_scale=0.01)
    output = torch.tensor([[[1.0, 2.0]]], requires_grad=True)
    value = loss(output, Batch(torch.tensor([[1.0, 2.0]])))
    assert value.item() == pytest.approx(-2 * stats.norm.logpdf(0.0, 0.0, 0.01), rel=1e-5)
    (gradient,) = torch.autograd.grad(value.sum(), output)
    assert gradient.isfinite().all()
    assert torch.equal(loss.sample(output), loss.mean(output))


def test_kl_divergence_equals_scipy_and_is_zero_at_x() -> None:
    loss = make("kl_divergence", "simplex")
    x, output = torch.randn(4, *SHAPE).softmax(-1), torch.randn(4, 1, *SHAPE)
    p = special.softmax(output.squeeze(1).double().numpy(), axis=-1)
    expected = special.rel_entr(x.double().numpy(), p).sum((1, 2))
    np.testing.assert_allclose(loss(output, Batch(x)).numpy(), expected, rtol=1e-4)
    torch.testing.assert_close(loss(x.log().unsqueeze(1), Batch(x)), torch.zeros(4), rtol=0, atol=1e-5)


def test_kl_divergence_with_a_value_of_zero() -> None:
    # 0 log 0 = 0, and 1 log (1 / 0.5).
    assert by_hand("kl_divergence", [0.0, 0.0], [1.0, 0.0], "simplex") == pytest.approx(math.log(2))


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("categorical", {}, "loss categorical needs data of domain category(n), found real"),
        ("gaussian", {"scale": 0.0}, "loss gaussian needs scale > 0 and min_scale > 0, found 0.0 and 0.001"),
        (
            "gaussian",
            {"variance": "optimal", "scale": 0.5},
            "loss gaussian with variance=optimal computes its scale from x, found scale=0.5; leave it out",
        ),
        (
            "gaussian",
            {"variance": "shared", "scale": 1e-4},
            "loss gaussian with variance=shared needs scale above min_scale=0.001, found 0.0001",
        ),
        (
            "gaussian",
            {"variance": "best"},
            "loss 'gaussian': option 'variance' expects Literal['fixed', 'shared', 'learned', 'optimal'], "
            "found 'best' (Input should be 'fixed', 'shared', 'learned' or 'optimal')",
        ),
    ],
)
def test_error_messages_of_wrong_options(name: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(AeframeError) as error:
        make(name, "real", **options)
    assert str(error.value) == message


def test_gaussian_optimal_has_no_distribution_without_x() -> None:
    loss = make("gaussian", "real", variance="optimal")
    assert isinstance(loss, Likelihood)
    with pytest.raises(AeframeError) as error:
        loss.distribution(torch.zeros(1, 1, *SHAPE))
    assert str(error.value) == (
        "loss gaussian with variance=optimal computes the variance from x and has no distribution without x; "
        "choose variance=shared or learned"
    )
