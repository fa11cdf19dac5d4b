"""Penalties that compare the samples of a batch: covariances by hand, rates by scipy, and their gradients."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from scipy.stats import entropy
from torch import Tensor
from torch.distributions import Laplace, Normal

from aeframe.errors import AeframeError
from aeframe.model.assembly import assemble
from aeframe.model.autoencoder import Autoencoder
from aeframe.parts.penalties import batch_statistic
from aeframe.types import Batch, DataSpec, Domain, ForwardOutput

SHAPE = (3,)
SIGMOID = {"name": "point", "dim": 2, "activation": "sigmoid"}


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)


def model_with(latent: Any, **penalties: Any) -> Autoencoder:
    config = {
        "activation": "tanh",
        "encoder": {"name": "mlp", "hidden": (5,)},
        "latent": latent,
        "loss": "mse",
        "penalties": penalties,
    }
    return assemble(config, DataSpec(SHAPE, Domain("real")))


def penalty_of(model: Autoencoder, mean: Tensor, std: Tensor | None = None) -> Tensor:
    """Return the terms of samples with these codes."""
    out: ForwardOutput = model(Batch(torch.randn(len(mean), *SHAPE)))
    out.latent.mean = out.latent.z = mean
    out.latent.posterior = None if std is None else Normal(mean, std)
    (penalty,) = model.penalties.values()
    value: Tensor = penalty(model, out)
    return value


# Means (0, 1) and a covariance over the batch of [[2, 1], [1, 5]].
MEANS = torch.tensor([[-2.0, -2.0], [2.0, 0.0], [0.0, 4.0], [0.0, 2.0]])


def test_the_batch_has_this_covariance() -> None:
    assert torch.cov(MEANS.T, correction=0).tolist() == [[2.0, 1.0], [1.0, 5.0]]


def test_dip_i_by_hand() -> None:
    # Off the diagonal 1 + 1, on it (2 - 1)^2 + (5 - 1)^2 = 17, with weight 10.
    terms = penalty_of(model_with({"name": "point", "dim": 2}, dip={}), MEANS)
    assert terms.shape == (4,)
    assert float(terms.mean()) == pytest.approx(2 + 10 * 17)
    other = penalty_of(model_with({"name": "point", "dim": 2}, dip={"diagonal": 0.5}), MEANS)
    assert float(other.mean()) == pytest.approx(2 + 0.5 * 17)


def test_dip_ii_by_hand() -> None:
    # Mean variances of 1 and 2.5 are added: [[3, 1], [1, 7.5]].
    std = torch.tensor([[1.0, 1.0], [1.0, 2.0], [1.0, 1.0], [1.0, 2.0]])
    model = model_with({"name": "gaussian", "dim": 2}, dip={"kind": "ii"})
    assert float(penalty_of(model, MEANS, std).mean()) == pytest.approx(2 + 2.0**2 + 6.5**2)


@pytest.mark.parametrize("kind", ["i", "ii"])
def test_the_mean_of_the_terms_and_its_gradient_are_those_of_the_penalty(kind: str) -> None:
    model = model_with({"name": "gaussian", "dim": 3}, dip={"kind": kind}).double()
    mean, std = torch.randn(6, 3, dtype=torch.double), torch.rand(6, 3, dtype=torch.double) + 0.1
    mean.requires_grad_()
    std.requires_grad_()
    covariance = torch.cov(mean.T, correction=0)
    if kind == "ii":
        covariance = covariance + torch.diag(std.square().mean(0))
    distances = (covariance - torch.eye(3)).square()
    diagonal = distances.diagonal().sum()
    expected = distances.sum() - diagonal + {"i": 10.0, "ii": 1.0}[kind] * diagonal
    value = penalty_of(model, mean, std).mean()
    torch.testing.assert_close(value, expected)
    for one, other in zip(
        torch.autograd.grad(value, [mean, std], allow_unused=True, retain_graph=True),
        torch.autograd.grad(expected, [mean, std], allow_unused=True),
        strict=True,
    ):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize(("posterior", "what"), [(None, "none"), (Laplace(0.0, 1.0), "Laplace")])
def test_dip_ii_refuses_other_posteriors(posterior: Any, what: str) -> None:
    model = model_with({"name": "point", "dim": 2}, dip={"kind": "ii"})
    out = model(Batch(torch.randn(4, *SHAPE)))
    out.latent.posterior = posterior
    with pytest.raises(AeframeError) as error:
        model.penalties["dip"](model, out)
    assert str(error.value) == (
        f"penalty dip with kind=ii needs a normal posterior, found {what}; set latent=gaussian, or kind=i"
    )


def test_kl_rate_is_scipy_s_divergence_of_each_unit() -> None:
    activity = torch.rand(8, 2)
    terms = penalty_of(model_with(SIGMOID, kl_rate={"rate": 0.2}), activity)
    rates = activity.mean(0).numpy()
    expected = sum(entropy([0.2, 0.8], [unit, 1 - unit]) for unit in rates)
    assert float(terms.mean()) == pytest.approx(expected, rel=1e-5)


def test_kl_rate_is_zero_at_its_rate_and_finite_for_constant_units() -> None:
    model = model_with(SIGMOID, kl_rate={"rate": 0.25})
    quarter = torch.tensor([[1.0, 0.25], [0.0, 0.25], [0.0, 0.5], [0.0, 0.0]])
    assert float(penalty_of(model, quarter).mean()) == pytest.approx(0, abs=1e-6)
    assert penalty_of(model, torch.zeros(4, 2)).isfinite().all()
    assert penalty_of(model, torch.ones(4, 2)).isfinite().all()


def test_the_gradient_of_kl_rate_is_that_of_the_mean_activity() -> None:
    activity = torch.rand(8, 2).requires_grad_()
    (gradient,) = torch.autograd.grad(penalty_of(model_with(SIGMOID, kl_rate={"rate": 0.2}), activity).mean(), activity)
    mean = activity.detach().mean(0)
    expected = (-0.2 / mean + 0.8 / (1 - mean)) / 8
    torch.testing.assert_close(gradient, expected.expand(8, 2))


@pytest.mark.parametrize(
    ("latent", "range_"),
    [
        ({"name": "point", "dim": 2}, "Point lie in [-inf, inf]"),
        ({"name": "point", "dim": 2, "activation": "relu"}, "Point lie in [0, inf]"),
        ({"name": "gaussian", "dim": 2}, "Gaussian lie in [-inf, inf]"),
    ],
)
def test_kl_rate_refuses_unbounded_codes(latent: dict[str, Any], range_: str) -> None:
    with pytest.raises(AeframeError) as error:
        penalty_of(model_with(latent, kl_rate={}), torch.rand(3, 2))
    assert str(error.value) == (
        f"penalty kl_rate needs codes in [0, 1], but those of {range_}; set latent=point latent.activation=sigmoid"
    )


@pytest.mark.parametrize("rate", [0.0, 1.0])
def test_a_rate_outside_zero_and_one_is_refused(rate: float) -> None:
    with pytest.raises(AeframeError) as error:
        model_with(SIGMOID, kl_rate={"rate": rate})
    assert str(error.value) == f"penalty kl_rate needs a rate in (0, 1), found {rate}"


def test_both_are_batch_terms() -> None:
    model = model_with(SIGMOID, kl_rate={}, upright={"name": "dip"}, l2={})
    assert model.batch_terms == {"kl_rate", "upright"}


@pytest.mark.parametrize("name", ["dip", "kl_rate"])
def test_means_are_over_all_devices(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model = model_with(SIGMOID, **{name: {}})
    # As if another device had other values.
    monkeypatch.setattr(batch_statistic, "mean_over_batch", lambda value: value + 0.1)
    activity = torch.rand(6, 2) * 0.5 + 0.2
    trained = penalty_of(model.train(), activity).mean()
    evaluated = penalty_of(model.eval(), activity).mean()
    monkeypatch.undo()
    torch.testing.assert_close(trained, evaluated)
    assert not torch.allclose(evaluated, penalty_of(model.eval(), activity).mean())


def test_l2_is_half_the_sum_of_squares() -> None:
    model = model_with({"name": "point", "dim": 2}, l2={})
    assert penalty_of(model, torch.tensor([[1.0, -2.0], [0.0, 0.0], [3.0, 0.5]])).tolist() == [2.5, 0.0, 4.625]
