"""One measurement of a run, as tables keep it."""

from __future__ import annotations

from typing import NamedTuple


class Row(NamedTuple):
    """One number: when it was measured, on which split, what it is."""

    step: int
    """Batches trained on when it was measured."""
    epoch: int
    split: str
    """``train``, ``val`` or ``test``."""
    name: str
    value: float
