"""Laplace, Student's t and log cosh against scipy."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats

from aeframe.errors import AeframeError
from aeframe.factory import build
from aeframe.parts.losses.base import Likelihood
from aeframe.types import Batch, Domain

SHAPE = (3, 5)


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)


def make(name: str, **options: Any) -> Any:
    return build("loss", {"name": name, **options}, shape=SHAPE, domain=Domain("real"))


@pytest.mark.parametrize("scale", [0.02, 1.0, 30.0])
def test_laplace_equals_scipy(scale: float) -> None:
    x, output = 3 * torch.randn(4, *SHAPE), torch.randn(4, 1, *SHAPE)
    found = make("laplace", scale=scale)(output, Batch(x))
    expected = -np.sum(stats.laplace.logpdf(x.numpy(), output[:, 0].numpy(), scale), axis=(1, 2))
    np.testing.assert_allclose(found, expected, rtol=1e-5)


@pytest.mark.parametrize("df", [0.5, 1.0, 5.0, 99.0])
def test_student_t_equals_scipy(df: float) -> None:
    x, output = 10 * torch.randn(4, *SHAPE), torch.randn(4, 1, *SHAPE)
    expected = -np.sum(stats.t.logpdf(x.double().numpy(), df, output[:, 0].numpy(), 0.7), axis=(1, 2))
    for learn_df in (False, True):
        found = make("student_t", df=df, scale=0.7, learn_df=learn_df)(output, Batch(x))
        np.testing.assert_allclose(found.detach(), expected, rtol=1e-5, atol=1e-3 if df > 50 else 1e-4)


@pytest.mark.parametrize("name", ["laplace", "student_t", "gaussian"])
def test_the_second_output_is_the_log_square_of_the_scale(name: str) -> None:
    of_scipy: Any = {"laplace": stats.laplace, "student_t": stats.t(5.0), "gaussian": stats.norm}[name]
    loss = make(name, variance="learned", scale=2.0, min_scale=1e-6)
    x, output = torch.randn(4, *SHAPE), torch.randn(4, 2, *SHAPE)
    scale = 2 * (0.5 * output[:, 1]).exp()
    expected = -of_scipy.logpdf(((x - output[:, 0]) / scale).numpy()) + scale.log().numpy()
    np.testing.assert_allclose(loss(output, Batch(x)), expected.sum((1, 2)), rtol=1e-4)


def test_a_shared_scale_converges_to_the_mean_absolute_error() -> None:
    loss, x = make("laplace", variance="shared", scale=3.0), 0.2 * torch.randn(200, *SHAPE)
    output = torch.zeros(200, 1, *SHAPE)
    assert loss.distribution(output).scale.mean().item() == pytest.approx(3.0, rel=1e-5)
    optimizer = torch.optim.Adam(loss.parameters(), lr=0.1)
    for _ in range(200):
        optimizer.zero_grad()
        loss(output, Batch(x)).mean().backward()
        optimizer.step()
    assert loss.distribution(output).scale.mean().item() == pytest.approx(x.abs().mean().item(), rel=1e-2)


def test_learned_degrees_of_freedom_converge_to_those_of_the_data() -> None:
    x = torch.distributions.StudentT(3.0).sample((400, *SHAPE))
    loss, output = make("student_t", df=20.0, learn_df=True), torch.zeros(400, 1, *SHAPE)
    assert loss.distribution(output).df.mean().item() == pytest.approx(20.0, rel=1e-5)
    optimizer = torch.optim.Adam(loss.parameters(), lr=0.1)
    for _ in range(150):
        optimizer.zero_grad()
        loss(output, Batch(x)).mean().backward()
        optimizer.step()
    assert loss.distribution(output).df.mean().item() == pytest.approx(
        stats.t.fit(x.numpy().ravel(), floc=0, fscale=1)[0], rel=0.02
    )


def test_the_reconstruction_is_the_location_for_cauchy_too() -> None:
    output = torch.randn(4, 1, *SHAPE)
    loss: Likelihood = make("student_t", df=1.0, activation="sigmoid")
    torch.testing.assert_close(loss.mean(output), output[:, 0].sigmoid())


@pytest.mark.parametrize("name", ["laplace", "student_t"])
def test_the_gradient_of_an_outlier_is_smaller_than_under_the_normal(name: str) -> None:
    output = torch.zeros(1, 1, *SHAPE, requires_grad=True)
    pulls = []
    for each in (name, "gaussian"):
        (gradient,) = torch.autograd.grad(make(each)(output, Batch(torch.full((1, *SHAPE), 50.0))).sum(), output)
        pulls.append(gradient.abs().max().item())
    assert pulls[0] <= 1.0 < pulls[1]


def test_samples_have_the_stated_scale() -> None:
    output = torch.full((3000, 1, *SHAPE), 1.5)
    for name, variance in (("laplace", 2 * 0.3**2), ("student_t", 0.3**2 * 8 / 6)):
        drawn = make(name, scale=0.3, **({"df": 8.0} if name == "student_t" else {})).sample(output)
        assert drawn.mean().item() == pytest.approx(1.5, abs=0.01)
        assert drawn.var().item() == pytest.approx(variance, rel=0.05)


def test_log_cosh_near_zero_and_far_from_it() -> None:
    error = torch.tensor([0.0, 1e-3, 0.5, -2.0, 8.0, -1000.0])
    loss = build("loss", "log_cosh", shape=(6,), domain=Domain("real"))
    found = loss.elements(torch.zeros(1, 1, 6), error.unsqueeze(0))[0]
    expected = [0.0, 5e-7, math.log(math.cosh(0.5)), math.log(math.cosh(2)), math.log(math.cosh(8)), 1000 - math.log(2)]
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-7)


def test_error_messages_of_wrong_options() -> None:
    refused: tuple[tuple[dict[str, Any], str], ...] = (
        ({"name": "laplace", "scale": 0.0}, "loss laplace needs scale > 0 and min_scale > 0, found 0.0 and 0.001"),
        (
            {"name": "student_t", "variance": "shared", "scale": 0.01, "min_scale": 0.01},
            "loss student_t with variance=shared needs scale above min_scale=0.01, found 0.01",
        ),
        (
            {"name": "student_t", "df": 300},
            "loss student_t needs df in (0, 100), found 300.0; for lighter tails choose loss=gaussian",
        ),
    )
    for options, sentence in refused:
        with pytest.raises(AeframeError) as error:
            make(**options)
        assert str(error.value) == sentence
