"""Unnormalised densities of one variable, such as an angle on a sphere or a distance in a ball."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

# Pairs (point, weight) of Gauss-Legendre quadrature with four points on [0, 1], exact for polynomials of degree 7.
_INNER, _OUTER = (math.sqrt(3 / 7 - sign * 2 / 7 * math.sqrt(6 / 5)) for sign in (1, -1))
_RULE = tuple(
    (0.5 + 0.5 * sign * point, (18 + weight * math.sqrt(30)) / 72)
    for point, weight in ((_INNER, 1), (_OUTER, -1))
    for sign in (-1, 1)
)
# Intervals of equal width, each with its own quadrature.
_PANELS = 32
# Integration range on both sides of the peak, in units of `scale`. A normal has less than 1e-18 of its mass outside.
_REACH = 9.0
# Newton steps from the middle of a panel to a sample.
_NEWTON_STEPS = 4


class Radial:
    """A unimodal density of one variable: its integral, expectations, and reparameterised samples.

    Integrals are Gauss-Legendre quadratures over panels around the peak. They are differentiable with respect to the
    parameters of `log_density`. Samples invert the cumulative distribution function by a fixed number of Newton steps,
    and have the implicit gradient (Figurnov et al. 2018, arXiv 1805.08498).

    Args:
        log_density: Maps points ``(..., *batch, n)`` to the log-density, up to a constant.
        peak: The approximate mode, ``(*batch)``.
        scale: ``(*batch)``; away from the peak the density decreases at least as fast as a normal with this standard
            deviation.
        low: Lower end of the support.
        high: Upper end of the support.
    """

    def __init__(
        self,
        log_density: Callable[[Tensor], Tensor],
        peak: Tensor,
        scale: Tensor,
        *,
        low: float = -math.inf,
        high: float = math.inf,
    ) -> None:
        self._log_density = log_density
        with torch.no_grad():
            left = (peak - _REACH * scale).clamp(min=low).unsqueeze(-1)
            right = (peak + _REACH * scale).clamp(max=high).unsqueeze(-1)
            self._left, self._width = left, (right - left) / _PANELS
            self._panels = torch.arange(_PANELS, dtype=peak.dtype, device=peak.device)
            # Densities below are relative to that at the peak, so that they do not overflow.
            self._top = log_density(peak.unsqueeze(-1))
        # The integral of each panel, ``(*batch, panels)``.
        self._masses = self._integral(left + self._width * self._panels, self._width)
        self._total = self._masses.sum(-1, keepdim=True)

    @property
    def log_integral(self) -> Tensor:
        """The logarithm of the integral of exp(log_density), ``(*batch)``."""
        return (self._top + self._total.log()).squeeze(-1)

    def mean(self, function: Callable[[Tensor], Tensor]) -> Tensor:
        """Return the expectation of a function of the variable, ``(*batch)``."""
        sums = self._integral(self._left + self._width * self._panels, self._width, function)
        return (sums.sum(-1, keepdim=True) / self._total).squeeze(-1)

    def rsample(self, shape: torch.Size) -> Tensor:
        """Return samples ``(*shape, *batch)`` with gradients to the parameters of `log_density`."""
        with torch.no_grad():
            u = torch.rand(*shape, *self._left.shape, dtype=self._left.dtype, device=self._left.device)
            upper_cdf = self._masses.cumsum(-1) / self._total
            panel = (upper_cdf < u).sum(-1, keepdim=True).clamp(max=_PANELS - 1)
            start = self._left + self._width * panel
            x = start + 0.5 * self._width
            for _ in range(_NEWTON_STEPS):
                step = (self._cdf(x, panel) - u) * self._total / self._density(x)
                x = (x - step).clamp(start, start + self._width)
            normalized_density = self._density(x) / self._total
        # The implicit gradient of x, by adding a value of 0.
        cdf = self._cdf(x, panel)
        return (x - (cdf - cdf.detach()) / normalized_density).squeeze(-1)

    def _cdf(self, x: Tensor, panel: Tensor) -> Tensor:
        """Return the cumulative distribution function at x ``(..., 1)``, which is in the given panel."""
        start = self._left + self._width * panel
        mass_before = (self._masses * (self._panels < panel)).sum(-1, keepdim=True)
        return (mass_before + self._integral(start, x - start)) / self._total

    def _density(self, x: Tensor) -> Tensor:
        """Return the density relative to that at the peak."""
        # Clamped, because in the tails a division by less would amplify rounding errors.
        return (self._log_density(x) - self._top).exp().clamp(min=1e-6)

    def _integral(self, left: Tensor, width: Tensor, function: Callable[[Tensor], Tensor] | None = None) -> Tensor:
        """Return the integral of the density, times a function, from `left` over `width`, relative to the peak."""
        total: Tensor | float = 0.0
        for point, weight in _RULE:
            x = left + point * width
            density = (self._log_density(x) - self._top).exp()
            total = total + weight * (density if function is None else density * function(x))
        return width * total
