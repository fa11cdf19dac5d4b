"""Normalising flows: Jacobians by autograd, inverses, densities that integrate to one."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from zuko.lazy import LazyTransform

from aeframe.errors import AeframeError
from aeframe.parts.flows import FlowDensity, Planar, Radial, make_transform

NAMES = ["planar", "radial", "iaf", "maf", "spline"]


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)


def far_from_identity(name: Any, features: int, context: int = 0) -> LazyTransform:
    """Return a flow in double precision that is far from the identity."""
    made = make_transform(name, features, num_transforms=2, hidden=(8,), context=context).double()
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.mul_(2.0)
    return made


def plane(low: float = -12.0, high: float = 12.0, num: int = 401) -> tuple[Tensor, float]:
    """Return a grid over the plane ``(num^2, 2)``, and the area of one cell."""
    line = torch.linspace(low, high, num, dtype=torch.float64)
    return torch.cartesian_prod(line, line), float(line[1] - line[0]) ** 2


@pytest.mark.parametrize("context", [0, 3])
@pytest.mark.parametrize("features", [1, 2, 3])
@pytest.mark.parametrize("name", NAMES)
def test_the_log_volume_is_that_of_the_jacobian_and_the_inverse_inverts(name: str, features: int, context: int) -> None:
    flow = far_from_identity(name, features, context)
    x = torch.randn(4, 5, features, dtype=torch.float64)
    c = torch.randn(5, context, dtype=torch.float64) if context else None
    y, log_volume = flow(c).call_and_ladj(x)
    assert log_volume.shape == (4, 5)
    for k, b in ((0, 0), (3, 4)):
        one = flow(None if c is None else c[b])
        jacobian = torch.autograd.functional.jacobian(one, x[k, b])
        torch.testing.assert_close(log_volume[k, b], jacobian.slogdet().logabsdet)
    back, log_volume_back = flow(c).inv.call_and_ladj(y)
    torch.testing.assert_close(back, x, atol=1e-6, rtol=1e-6)
    torch.testing.assert_close(log_volume_back, -log_volume, atol=1e-5, rtol=1e-5)
    # The map is not the identity.
    assert (y - x).abs().max() > 0.1


@pytest.mark.parametrize("name", NAMES)
def test_a_context_shapes_the_flow(name: str) -> None:
    flow, x = far_from_identity(name, 3, context=2), torch.randn(4, 3, dtype=torch.float64)
    one, other = (flow(torch.full((4, 2), value, dtype=torch.float64))(x) for value in (0.0, 1.0))
    assert (one - other).abs().max() > 1e-2


def test_planar_by_hand() -> None:
    # w = (1, 0), u = (2, 3), b = 0.5: 1 + w u becomes softplus(2), so u = (softplus(2) - 1, 3).
    flow = Planar(torch.tensor([1.0, 0.0, 2.0, 3.0, 0.5]))
    y, log_volume = flow.call_and_ladj(torch.tensor([0.25, 1.0]))
    # tanh(0.75) = 0.6351490, softplus(2) = 2.1269280.
    torch.testing.assert_close(y, torch.tensor([0.25 + 1.1269280 * 0.6351490, 1.0 + 3 * 0.6351490]))
    # log(1 + 1.1269280 * (1 - 0.6351490^2)).
    torch.testing.assert_close(log_volume, torch.tensor(0.5142056), atol=1e-6, rtol=1e-6)


def test_radial_by_hand() -> None:
    # The centre is the origin; alpha = softplus(0) = log 2, alpha + beta = softplus(1) = 1.3132617.
    flow = Radial(torch.tensor([0.0, 0.0, 0.0, 1.0]))
    y, log_volume = flow.call_and_ladj(torch.tensor([3.0, 4.0]))
    # 1 + beta / (alpha + 5) = 1.1089216; along the ray 1 + alpha beta / (alpha + 5)^2 = 1.0132632.
    torch.testing.assert_close(y, 1.1089216 * torch.tensor([3.0, 4.0]), atol=1e-5, rtol=1e-5)
    expected = torch.tensor(1.1089216 * 1.0132632).log()
    torch.testing.assert_close(log_volume, expected, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("along", [-20.0, -1.0, 20.0])
def test_planar_is_invertible_for_any_parameters(along: float) -> None:
    parameters = torch.tensor([1.0, 1.0, along / 2, along / 2, 0.3], requires_grad=True)
    x = 2 * torch.randn(100, 2)
    y, log_volume = Planar(parameters).call_and_ladj(x)
    assert log_volume.isfinite().all()
    # In single precision a slope of softplus(-20) preserves only the component orthogonal to w.
    across = torch.tensor([1.0, -1.0])
    back = Planar(parameters).inv(y)
    torch.testing.assert_close(back @ across, x @ across, atol=1e-4, rtol=1e-4)
    if along > -20:
        torch.testing.assert_close(back, x, atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize(("kind", "size"), [(Planar, 7), (Radial, 5)])
def test_the_gradient_of_the_inverse(kind: Any, size: int) -> None:
    parameters = torch.randn(4, size, dtype=torch.float64, requires_grad=True)
    y = torch.randn(4, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda p, at: kind(p).inv(at), (parameters, y))


def moments(z: Tensor) -> tuple[Tensor, ...]:
    return z[:, 0], z[:, 1].square(), z[:, 0] * z[:, 1]


@pytest.mark.parametrize("name", ["maf", "iaf", "spline"])
def test_a_density_integrates_to_one_and_its_samples_have_its_moments(name: Any) -> None:
    density = FlowDensity(name, 2, num_transforms=2, hidden=(8,)).double()
    with torch.no_grad():
        for parameter in density.parameters():
            parameter.mul_(1.5)
        at, cell = plane()
        mass = density.log_prob(at).exp() * cell
        torch.testing.assert_close(mass.sum(), torch.ones((), dtype=torch.float64), atol=1e-3, rtol=0)
        samples = density.sample(20_000)
        # A transformed normal, whose moments differ from those of the normal.
        for of_grid, found in zip(moments(at), moments(samples), strict=True):
            expected = (mass * of_grid).sum()
            assert abs(found.mean() - expected) < 4 * found.std() / 20_000**0.5
    torch.autograd.backward(-density.log_prob(samples[:50]).mean())
    assert all(bool(p.grad.any()) for p in density.parameters() if p.grad is not None)


def test_autocast_does_not_change_a_density() -> None:
    density = FlowDensity("maf", 3, num_transforms=2, hidden=(8,))
    z = torch.randn(5, 3)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        half = density.log_prob(z)
    assert torch.equal(half, density.log_prob(z))


@pytest.mark.parametrize(
    ("options", "found"),
    [
        ({"num_transforms": 0}, "0, [8] and 0"),
        ({"hidden": (8, 0)}, "1, [8, 0] and 0"),
        ({"context": -1}, "1, [8] and -1"),
    ],
)
def test_invalid_options_are_rejected(options: dict[str, Any], found: str) -> None:
    with pytest.raises(AeframeError) as error:
        make_transform("maf", 2, **{"num_transforms": 1, "hidden": (8,), **options})
    assert str(error.value) == (
        "a flow needs num_transforms and hidden sizes of at least 1 and a context of at least 0, found " + found
    )
