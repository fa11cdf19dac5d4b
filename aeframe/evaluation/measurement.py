"""`Measurement`: one value that a run has measured, as a row of ``metrics.csv``."""

from __future__ import annotations

from typing import NamedTuple


class Measurement(NamedTuple):
    """One value of a loss term or metric."""

    step: int
    """Number of batches trained on before the measurement."""
    epoch: int
    split: str
    """``train``, ``val`` or ``test``."""
    name: str
    """Name of the term or metric."""
    value: float
