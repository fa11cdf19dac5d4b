"""A readable report of an examination."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table
from rich.text import Text

from aeframe.testing.check import Outcome

_COLOURS = {"ok": "green", "failed": "bold red", "not applicable": "dim"}


def table(outcomes: Sequence[Outcome]) -> Table:
    """Return a table with one line for each outcome: part, check, state, and a sentence where there is one to say."""
    made = Table(box=None, pad_edge=False)
    for heading in ("part", "check", "state", ""):
        made.add_column(heading, no_wrap=heading != "")
    previous = None
    for outcome in outcomes:
        part = outcome.part if outcome.part != previous else ""
        state = Text(outcome.state, style=_COLOURS[outcome.state])
        made.add_row(part, outcome.check.name, state, Text(outcome.sentence))
        previous = outcome.part
    return made


def summary(outcomes: Sequence[Outcome]) -> str:
    """Return the numbers in one line: ``"12 ok, 1 failed, 3 not applicable"``."""
    return ", ".join(f"{sum(each.state == state for each in outcomes)} {state}" for state in _COLOURS)
