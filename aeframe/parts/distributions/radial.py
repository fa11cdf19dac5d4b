"""Densities of one number that are known up to a factor: an angle on a sphere, a distance in a ball."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

# The rule of Gauss and Legendre on [0, 1], points and weights: exact for polynomials of degree 7.
_INNER, _OUTER = (math.sqrt(3 / 7 - sign * 2 / 7 * math.sqrt(6 / 5)) for sign in (1, -1))
_RULE = tuple(
    (0.5 + 0.5 * sign * point, (18 + weight * math.sqrt(30)) / 72)
    for point, weight in ((_INNER, 1), (_OUTER, -1))
    for sign in (-1, 1)
)
_PANELS = 32
# In scales on both sides of the peak: what lies beyond is less than 1e-17 of the whole.
_REACH = 9.0
_NEWTON_STEPS = 4


class Radial:
    """A density of one number with one peak: its integral, its means, and draws with gradients.

    Everything is a sum of Gauss-Legendre rules over panels around the peak, so it is differentiable in whatever
    `log_density` depends on, and stable wherever that is. A draw inverts the distribution function by Newton's method,
    always with the same number of steps, and has the implicit gradient (Figurnov et al. 2018, arXiv 1805.08498).

    Args:
        log_density: Points ``(..., *batch, n)`` to logarithms of the density, up to a constant.
        peak: ``(*batch)``, about where the density is highest.
        scale: ``(*batch)``: away from the peak it falls at least as fast as a normal density of this deviation.
        low: Where the numbers begin.
        high: Where they end.
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
            self._top = log_density(peak.unsqueeze(-1))
        self._masses = self._integral(left + self._width * self._panels, self._width)
        self._total = self._masses.sum(-1, keepdim=True)

    @property
    def log_integral(self) -> Tensor:
        """``(*batch)``: the logarithm of the integral of exp of `log_density`."""
        return (self._top + self._total.log()).squeeze(-1)

    def mean(self, function: Callable[[Tensor], Tensor]) -> Tensor:
        """Return ``(*batch)``: the expectation of a function of the number."""
        sums = self._integral(self._left + self._width * self._panels, self._width, function)
        return (sums.sum(-1, keepdim=True) / self._total).squeeze(-1)

    def rsample(self, shape: torch.Size) -> Tensor:
        """Draw ``(*shape, *batch)``; the gradient reaches whatever `log_density` depends on."""
        with torch.no_grad():
            u = torch.rand(*shape, *self._left.shape, dtype=self._left.dtype, device=self._left.device)
            edges = self._masses.cumsum(-1) / self._total
            panel = (edges < u).sum(-1, keepdim=True).clamp(max=_PANELS - 1)
            start = self._left + self._width * panel
            x = start + 0.5 * self._width
            for _ in range(_NEWTON_STEPS):
                step = (self._below(x, panel) - u) * self._total / self._density(x)
                x = (x - step).clamp(start, start + self._width)
            slope = self._density(x) / self._total
        below = self._below(x, panel)
        return (x - (below - below.detach()) / slope).squeeze(-1)

    def _below(self, x: Tensor, panel: Tensor) -> Tensor:
        """Return the probability of less than x ``(..., 1)``, which lies in that panel."""
        start = self._left + self._width * panel
        whole = (self._masses * (self._panels < panel)).sum(-1, keepdim=True)
        return (whole + self._integral(start, x - start)) / self._total

    def _density(self, x: Tensor) -> Tensor:
        # The floor is far out in the tails, where rounding is all that a quotient by less would show.
        return (self._log_density(x) - self._top).exp().clamp(min=1e-6)

    def _integral(self, left: Tensor, width: Tensor, function: Callable[[Tensor], Tensor] | None = None) -> Tensor:
        total: Tensor | float = 0.0
        for point, weight in _RULE:
            x = left + point * width
            density = (self._log_density(x) - self._top).exp()
            total = total + weight * (density if function is None else density * function(x))
        return width * total
