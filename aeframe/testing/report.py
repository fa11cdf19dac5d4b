"""Format the outcomes of a conformance suite for the console."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table
from rich.text import Text

from aeframe.testing.check import Outcome

_COLOURS = {"ok": "green", "failed": "bold red", "not applicable": "dim"}


def table(outcomes: Sequence[Outcome]) -> Table:
    """Return a table with the part, check, state and message of each outcome."""
    result = Table(box=None, pad_edge=False)
    for heading in ("part", "check", "state", ""):
        result.add_column(heading, no_wrap=heading != "")
    previous = None
    for outcome in outcomes:
        part = outcome.part if outcome.part != previous else ""
        state = Text(outcome.state, style=_COLOURS[outcome.state])
        result.add_row(part, outcome.check.name, state, Text(outcome.message))
        previous = outcome.part
    return result


def summary(outcomes: Sequence[Outcome]) -> str:
    """Return the number of outcomes in each state: ``"12 ok, 1 failed, 3 not applicable"``."""
    return ", ".join(f"{sum(outcome.state == state for outcome in outcomes)} {state}" for state in _COLOURS)
