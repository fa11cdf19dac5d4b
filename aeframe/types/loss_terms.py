"""`LossTerms`: the named terms of a loss, each per sample and with its weight."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Self

from torch import Tensor

from aeframe.errors import AeframeError


@dataclass(slots=True)
class LossTerms:
    """The parts of what is minimised: each ``(B,)``, summed over the sample's own elements, raw beside its weight."""

    raw: dict[str, Tensor] = field(default_factory=dict)
    weights: dict[str, float] = field(default_factory=dict)
    bound: Tensor | None = None
    """``(B,)``: what models are selected by, with no weight, warm-up or penalty in it."""

    def add(self, name: str, value: Tensor, weight: float = 1.0) -> Self:
        """Add one term under its own name."""
        if name in self.raw:
            raise AeframeError(f"two terms are named '{name}'; give the second one a name of its own")
        self.raw[name] = value
        self.weights[name] = float(weight)
        return self

    def total(self) -> Tensor:
        """Return ``(B,)``: the weighted sum. A weight of zero costs nothing and gives no gradient."""
        total: Tensor | None = None
        for name, value in self.raw.items():
            weight = self.weights[name]
            if weight == 0.0:
                continue
            part = value if weight == 1.0 else weight * value
            total = part if total is None else total + part
        if total is None:
            raise AeframeError("every term has weight 0, so there is nothing to minimise; give one a weight")
        return total
