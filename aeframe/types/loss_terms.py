"""`LossTerms`: the named terms of a loss, each per sample and with its weight."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Self

from torch import Tensor

from aeframe.errors import AeframeError


@dataclass(slots=True)
class LossTerms:
    """The terms of a loss, such as ``reconstruction`` and ``kl``, before they are weighted and summed.

    Values and weights are logged separately under the term's name.
    """

    raw: dict[str, Tensor] = field(default_factory=dict)
    """Each term's unweighted value ``(B,)``, summed over the elements of a sample."""
    weights: dict[str, float] = field(default_factory=dict)
    """Each term's weight at the present training progress."""
    bound: Tensor | None = None
    """``(B,)``: the objective without weights, warm-up and penalties, such as minus the ELBO; selects checkpoints."""

    def add(self, name: str, value: Tensor, weight: float = 1.0) -> Self:
        """Add a term ``(B,)`` and return the same object.

        Raises:
            AeframeError: There is a term of this name already.
        """
        if name in self.raw:
            raise AeframeError(f"two terms are named '{name}'; rename one of them")
        self.raw[name] = value
        # A vectorized pass over several models has tensors: a weight for each of them.
        self.weights[name] = weight if isinstance(weight, Tensor) else float(weight)  # type: ignore[unreachable]
        return self

    def total(self) -> Tensor:
        """Return the weighted sum ``(B,)``. A term of weight 0 is left out, even if it is infinite or NaN.

        Raises:
            AeframeError: No term has a weight other than 0.
        """
        total: Tensor | None = None
        for name, value in self.raw.items():
            weight = self.weights[name]
            is_number = not isinstance(weight, Tensor)
            if is_number and weight == 0.0:
                continue
            weighted = value if is_number and weight == 1.0 else weight * value
            total = weighted if total is None else total + weighted
        if total is None:
            raise AeframeError("every term has weight 0, so there is nothing to minimise; set a weight above 0")
        return total
