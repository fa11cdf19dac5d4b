"""Normal distributions on the Poincaré ball against quadrature over it, and its geometry against geoopt."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from scipy import integrate
from torch import Tensor
from torch.nn.functional import normalize

from aeframe.parts.distributions.hyperbolic import Ball, RiemannianNormal, WrappedNormal

with warnings.catch_warnings():
    # geoopt uses deprecated functions of torch.
    warnings.simplefilter("ignore")
    import geoopt

FAMILIES: dict[str, Any] = {"wrapped": WrappedNormal, "riemannian": RiemannianNormal}


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)


def disk(ball: Ball, far: float) -> tuple[Tensor, Tensor]:
    """Return quadrature points of the two-dimensional ball and their volumes, in polar coordinates of the metric."""
    nodes, weights = np.polynomial.legendre.leggauss(400)
    r = torch.from_numpy(far * (nodes + 1) / 2)
    angle = torch.arange(400, dtype=torch.float64) * (2 * math.pi / 400)
    directions = torch.stack([angle.cos(), angle.sin()], dim=1)
    points = (0.5 * ball.root * r).tanh()[:, None, None] / ball.root * directions
    ring = torch.from_numpy(weights) * far / 2 * (ball.root * r).sinh() / ball.root
    return points.flatten(0, 1), (ring[:, None] * (2 * math.pi / 400)).expand(-1, 400).flatten()


# -- geometry ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("curvature", [0.3, 1.0, 2.5])
def test_the_geometry_is_that_of_geoopt(curvature: float) -> None:
    ball, other = Ball(curvature), geoopt.PoincareBall(c=torch.tensor(curvature, dtype=torch.float64))
    x, v = ball.exp(torch.zeros(50, 4).double(), torch.randn(50, 4).double()), torch.randn(50, 4).double()
    # geoopt uses coordinates, this class scales them by the metric.
    per_length = other.lambda_x(x).unsqueeze(-1)
    z = other.expmap(x, v / per_length, project=False)
    torch.testing.assert_close(ball.exp(x, v), z)
    torch.testing.assert_close(ball.log(x, z), other.logmap(x, z) * per_length)
    torch.testing.assert_close(ball.log(x, z).norm(dim=-1), other.dist(x, z))
    planes, across = x[:7], torch.randn(7, 4).double()
    expected = other.dist2plane(z.unsqueeze(-2), planes, across, signed=True)
    torch.testing.assert_close(ball.distances_to_planes(z, planes, across), expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("distance", [1.0, 4.0, 8.0])
def test_single_precision_suffices_far_from_the_origin(distance: float) -> None:
    ball = Ball(1.0)
    x = ball.exp(torch.zeros(1000, 8), normalize(torch.randn(1000, 8), dim=1) * distance)
    v = normalize(torch.randn(1000, 8), dim=1)
    # Double precision would lose nothing; geoopt in single precision is off by 15 at a distance of 8.
    torch.testing.assert_close(ball.log(x, ball.exp(x, v)), v, rtol=0, atol=5e-3)
    density = WrappedNormal(x, torch.full((1, 8), 0.5), ball)
    exact = WrappedNormal(x.double(), torch.full((1, 8), 0.5).double(), ball)
    z = density.sample()
    torch.testing.assert_close(density.log_prob(z).double(), exact.log_prob(z.double()), rtol=0, atol=0.1)


def test_points_stay_inside_the_ball_with_finite_gradients() -> None:
    ball = Ball(2.0)
    for length in (0.0, 1e-20, 1.0, 50.0, 1e10):
        x = torch.zeros(5, 3, requires_grad=True)
        v = (length * normalize(torch.randn(5, 3), dim=1)).requires_grad_()
        z = ball.exp(ball.exp(x, v), v)
        assert bool((2 * z.square().sum(-1) < 1).all())
        (
            ball.log(z, x) + ball.log(x, z) + ball.log(z, z) + ball.distances_to_planes(z, x, torch.ones(5, 3)).mean()
        ).sum().backward()
        for gradient in (x.grad, v.grad):
            assert gradient is not None
            assert bool(gradient.isfinite().all()), length


# -- densities ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("curvature", [0.5, 1.0, 2.0])
@pytest.mark.parametrize("scale", [0.2, 0.8, 1.3])
@pytest.mark.parametrize("family", list(FAMILIES))
def test_the_density_sums_to_one_over_the_ball(family: str, scale: float, curvature: float) -> None:
    ball = Ball(curvature)
    centre = torch.tensor([0.3, -0.2], dtype=torch.float64)
    # An anisotropic wrapped normal.
    spread = torch.tensor([scale, 0.6 * scale] if family == "wrapped" else [scale], dtype=torch.float64)
    points, volume = disk(ball, ball.max_distance + 4)
    found = (FAMILIES[family](centre, spread, ball).log_prob(points).exp() * volume).sum()
    assert float(found) == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("d", [2, 3, 5, 12])
def test_the_riemannian_normal_in_more_dimensions(d: int) -> None:
    ball, sigma = Ball(1.3), 0.4
    q = RiemannianNormal(torch.zeros(d).double(), torch.tensor([sigma], dtype=torch.float64), ball)

    def weigh(power: int) -> float:
        def density(r: float) -> float:
            return r**power * math.exp(-((r / sigma) ** 2) / 2) * (math.sinh(ball.root * r) / ball.root) ** (d - 1)

        return integrate.quad(density, 0, 12, epsabs=0, epsrel=1e-10, limit=200)[0]

    area = 2 * math.pi ** (d / 2) / math.gamma(d / 2)
    assert float(q.log_prob(torch.zeros(d).double())) == pytest.approx(-math.log(area * weigh(0)), abs=1e-8)
    distances = ball.log(torch.zeros(d).double(), q.sample((20_000,))).norm(dim=-1)
    for power in (1, 2):
        moment = distances.pow(power)
        assert float(moment.mean()) == pytest.approx(weigh(power) / weigh(0), abs=4 * float(moment.std()) / 20_000**0.5)


@pytest.mark.parametrize("family", list(FAMILIES))
def test_samples_have_the_moments_of_the_density(family: str) -> None:
    ball = Ball(1.0)
    centre = ball.exp(torch.zeros(2).double(), torch.tensor([1.0, 0.5]).double())
    q = FAMILIES[family](centre, torch.tensor([0.7], dtype=torch.float64), ball)
    points, volume = disk(ball, 12)
    weights = q.log_prob(points).exp() * volume
    z = q.sample((20_000,))
    functions: tuple[Callable[[Tensor], Tensor], ...] = (
        lambda x: x[:, 0],
        lambda x: x[:, 1].square(),
        lambda x: ball.log(torch.zeros_like(x), x).norm(dim=-1),
    )
    for function in functions:
        values = function(z)
        expected = float((weights * function(points)).sum())
        assert float(values.mean()) == pytest.approx(expected, abs=4 * float(values.std()) / 20_000**0.5)


@pytest.mark.parametrize("family", list(FAMILIES))
def test_the_gradient_of_an_expectation_is_that_of_quadrature(family: str) -> None:
    ball, num = Ball(1.0), 20_000
    points, volume = disk(ball, 12)
    centre = torch.tensor([0.4, 0.1], dtype=torch.float64)

    def expectation(scale: float) -> float:
        q = FAMILIES[family](centre, torch.tensor([scale], dtype=torch.float64), ball)
        return float((q.log_prob(points).exp() * volume * points.square().sum(-1)).sum())

    expected = (expectation(0.601) - expectation(0.599)) / 0.002
    scales = torch.full((num, 1), 0.6, dtype=torch.float64, requires_grad=True)
    q = FAMILIES[family](centre.expand(num, 2), scales, ball)
    (slopes,) = torch.autograd.grad(q.rsample().square().sum(), scales)
    assert float(slopes.mean()) == pytest.approx(expected, abs=4 * float(slopes.std()) / num**0.5)
