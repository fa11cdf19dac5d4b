"""`ScoredParts`: anomaly scores of parts of samples, such as the time steps of a series."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from aeframe.data.score_quantiles import ScoreQuantiles

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True, slots=True)
class ScoredParts:
    """A score for each of N parts of the samples in a file."""

    name: str
    """The parts in words, in the plural: ``time steps``."""
    identity: Mapping[str, NDArray[Any]]
    """What identifies each part: columns ``(N,)`` by name."""
    scores: NDArray[np.float64]
    """``(N,)``; NaN for parts that cannot be scored."""
    reference: ScoreQuantiles
    """The distribution of the scores of held-out parts in training."""
    details: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    """Further columns ``(N,)`` by name, such as reconstructions."""
    notes: Sequence[str] = ()
    """What was changed or guessed while the file was read."""
    skipped: Sequence[str] = ()
    """One sentence for each bad part of the file that was left out."""
    draw: Callable[[float], Figure] | None = None
    """Returns a figure of the parts, with those above a threshold marked."""


def largest(errors: Tensor, names: Sequence[str], num: int = 3) -> list[str]:
    """Return for each sample the names of its `num` elements with the largest errors, the largest first.

    Args:
        errors: ``(B, D)``.
        names: The names of the D elements.
        num: The number of names; elements without an error are left out.
    """
    values, positions = errors.topk(min(num, errors.shape[1]), dim=1)
    return [
        ", ".join(names[position] for value, position in zip(*row, strict=True) if value > 0)
        for row in zip(values.tolist(), positions.tolist(), strict=True)
    ]
