"""The von Mises-Fisher distribution against Bessel functions, quadrature and many samples."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import integrate, special, stats
from torch import Tensor
from torch.nn.functional import normalize

from aeframe.parts.distributions.von_mises_fisher import VonMisesFisher, log_area

KAPPAS = (1e-3, 0.1, 1.0, 10.0, 100.0, 1e3, 1e4)


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)


def about(kappa: Tensor, d: int) -> VonMisesFisher:
    """Return the distribution around a direction that is not an axis."""
    return VonMisesFisher(normalize(torch.linspace(-1, 2, d, dtype=kappa.dtype), dim=0).expand(*kappa.shape, d), kappa)


def log_bessel(order: float, x: float) -> float:
    """Return log I_order(x) - x, by SciPy, or by its series where that underflows."""
    scaled = special.ive(order, x)
    if scaled > 1e-290:
        return math.log(scaled)
    series = math.log(special.hyp0f1(order + 1, x * x / 4))
    return order * math.log(x / 2) - math.lgamma(order + 1) + series - x


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-9), (torch.float32, 1e-6)])
@pytest.mark.parametrize("d", [2, 3, 4, 11, 64, 129, 512, 1024])
def test_the_normaliser_the_mean_and_their_derivatives_are_those_of_bessel_functions(
    d: int, dtype: torch.dtype, tolerance: float
) -> None:
    kappas = torch.tensor(KAPPAS, dtype=dtype, requires_grad=True)
    q = about(kappas, d)
    kl = q.kl_to_uniform()
    (slope,) = torch.autograd.grad(kl.sum(), kappas)
    peaks, cosines = q.log_prob(q.loc).detach(), q.mean.detach().norm(dim=1)
    for at, kappa in enumerate(KAPPAS):
        here, next_one = log_bessel(d / 2 - 1, kappa), log_bessel(d / 2, kappa)
        cosine = math.exp(next_one - here)
        peak = (d / 2 - 1) * math.log(kappa) - d / 2 * math.log(2 * math.pi) - here
        assert float(peaks[at]) == pytest.approx(peak, abs=tolerance * max(1, abs(peak)))
        assert float(cosines[at]) == pytest.approx(cosine, abs=2 * tolerance)
        nats = peak + kappa * (cosine - 1) + log_area(d)
        assert float(kl[at].detach()) == pytest.approx(nats, abs=10 * tolerance * max(1, abs(nats)))
        # KL' = kappa A'(kappa), and A' = 1 - A^2 - (d - 1) A / kappa, accurate in SciPy where it is not tiny.
        curvature = 1 - cosine**2 - (d - 1) / kappa * cosine
        if kappa >= 1 and curvature > 1e-6:
            assert float(slope[at]) == pytest.approx(kappa * curvature, rel=1e-2 if dtype == torch.float32 else 1e-5)


def test_the_density_on_the_sphere_of_three_dimensions_is_the_textbooks() -> None:
    kappa = torch.tensor(3.5, dtype=torch.float64)
    q = about(kappa, 3)
    z = normalize(torch.randn(20, 3, dtype=torch.float64), dim=1)
    constant = math.log(3.5 / (4 * math.pi * math.sinh(3.5)))
    torch.testing.assert_close(q.log_prob(z), constant + 3.5 * (z @ q.loc))


@pytest.mark.parametrize("kappa", [0.3, 5.0, 80.0])
def test_the_kl_is_that_of_quadrature_and_of_many_samples(kappa: float) -> None:
    d = 6
    q = about(torch.tensor([kappa], dtype=torch.float64), d)

    def by_angle(angle: float) -> float:
        z = math.cos(angle) * q.loc + math.sin(angle) * normalize(torch.eye(d)[0] - q.loc[0, 0] * q.loc, dim=1)
        log_ratio = float(q.log_prob(z)) + log_area(d)
        return math.exp(log_ratio) * log_ratio * math.sin(angle) ** (d - 2)

    area = math.exp(log_area(d - 1) - log_area(d))
    expected = area * integrate.quad(by_angle, 0, math.pi, epsabs=1e-9)[0]
    assert float(q.kl_to_uniform()) == pytest.approx(expected, abs=1e-7)
    ratios = q.log_prob(q.sample((20_000,))) + log_area(d)
    assert float(ratios.mean()) == pytest.approx(expected, abs=4 * float(ratios.std()) / 20_000**0.5)


@pytest.mark.parametrize("d", [2, 3, 11, 300])
@pytest.mark.parametrize("kappa", [0.2, 20.0, 3e3])
def test_samples_are_on_the_sphere_around_the_mean(d: int, kappa: float) -> None:
    num = 20_000
    q = about(torch.tensor(kappa), d)
    z = q.sample((num,))
    torch.testing.assert_close(z.norm(dim=-1), torch.ones(num))
    cosines = z @ q.loc
    error = float(cosines.std()) / num**0.5
    assert float(cosines.mean()) == pytest.approx(float(q.mean.norm()), abs=4 * error + 1e-6)
    tangent = (z - cosines.unsqueeze(-1) * q.loc).mean(0).norm()
    assert float(tangent) < 4 * ((1 - float(cosines.square().mean())) / num) ** 0.5 + 1e-6


def test_the_cosines_of_samples_have_the_exact_distribution() -> None:
    kappa = 4.0
    q = about(torch.tensor(kappa), 3)
    cosines = (q.sample((5000,)) @ q.loc).numpy()
    # In three dimensions the distribution function is elementary.
    found = stats.kstest(cosines, lambda w: np.expm1(kappa * (w + 1)) / np.expm1(2 * kappa))
    assert found.pvalue > 1e-3


@pytest.mark.parametrize(("d", "kappa"), [(2, 1.5), (3, 0.5), (11, 30.0), (200, 50.0)])
def test_the_gradient_of_an_expectation_is_that_of_quadrature(d: int, kappa: float) -> None:
    def expectation(k: float) -> float:
        def weigh(power: int) -> float:
            def density(angle: float) -> float:
                return math.exp(k * (math.cos(angle) - 1)) * math.sin(angle) ** (d - 2) * math.cos(angle) ** power

            return integrate.quad(density, 0, math.pi, epsabs=0, epsrel=1e-11, limit=200)[0]

        return weigh(3) / weigh(0)

    expected = (expectation(kappa * 1.001) - expectation(kappa * 0.999)) / (0.002 * kappa)
    num = 40_000
    kappas = torch.full((num,), kappa, dtype=torch.float64, requires_grad=True)
    q = about(kappas, d)
    (slopes,) = torch.autograd.grad((q.rsample() * q.loc).sum(-1).pow(3).sum(), kappas)
    assert float(slopes.mean()) == pytest.approx(expected, abs=4 * float(slopes.std()) / num**0.5)


def test_samples_have_the_implicit_gradient() -> None:
    # In three dimensions the distribution function F can be inverted by hand: w = 1 + log(u + (1 - u) e^-2k) / k.
    kappas = torch.full((500,), 2.5, dtype=torch.float64, requires_grad=True)
    q = about(kappas, 3)
    w = (q.rsample() * q.loc).sum(-1)
    (slopes,) = torch.autograd.grad(w.sum(), kappas)
    with torch.no_grad():
        u = torch.expm1(2.5 * (w + 1)) / math.expm1(5.0)
    again = torch.full_like(kappas, 2.5, requires_grad=True)
    (expected,) = torch.autograd.grad((1 + torch.log(u + (1 - u) * (-2 * again).exp()) / again).sum(), again)
    torch.testing.assert_close(slopes, expected, rtol=1e-6, atol=1e-9)


def test_the_gradient_reaches_the_direction() -> None:
    raw = torch.tensor([1.0, -2.0, 0.5, 0.0], dtype=torch.float64, requires_grad=True)
    toward = torch.tensor([0.3, 0.1, -1.0, 2.0], dtype=torch.float64)
    num = 20_000
    q = VonMisesFisher(normalize(raw, dim=0), torch.tensor(6.0, dtype=torch.float64))
    (slope,) = torch.autograd.grad((q.rsample((num,)) @ toward).mean(), raw)
    # E[a.z] = A(kappa) a.mu.
    (expected,) = torch.autograd.grad(q.mean.norm().detach() * (normalize(raw, dim=0) @ toward), raw)
    error = float(toward.norm() / raw.detach().norm()) / num**0.5
    assert float((slope - expected).norm()) < 4 * error
