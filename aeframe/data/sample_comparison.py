"""`SampleComparison`: scores and figures of new samples and of held-out ones, in the unit of the data."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True, slots=True)
class SampleComparison:
    """How new samples of a model compare with held-out ones, by measures of the field."""

    samples: Mapping[str, float]
    """The value of each measure by name, of new samples."""
    real: Mapping[str, float]
    """The value of each measure that real samples reach."""
    protocol: Sequence[str] = ()
    """What was compared, a sentence each."""
    draw: Callable[[], Mapping[str, Figure]] | None = None
    """Returns figures of new and of real samples by name; None without figures."""

    def as_dict(self) -> dict[str, Any]:
        """Return plain values, for JSON."""
        return {"samples": dict(self.samples), "real": dict(self.real), "protocol": list(self.protocol)}

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> Self:
        """Return the comparison of the values that `as_dict` returned, without figures; null becomes NaN."""
        samples, real = (
            {str(name): math.nan if value is None else float(value) for name, value in plain[key].items()}
            for key in ("samples", "real")
        )
        return cls(samples, real, [str(sentence) for sentence in plain["protocol"]])
