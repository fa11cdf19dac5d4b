"""Format the outcomes of a conformance suite for the console, a pipe or a file."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.text import Text

from aeframe.testing.check import Outcome

_COLOURS = {"ok": "green", "failed": "bold red", "not applicable": "dim"}


def lines(outcomes: Sequence[Outcome]) -> Iterator[Text]:
    """Return a line with part, check and state of each outcome, and its message on a line of its own.

    Lines are complete: print them without wrapping.
    """
    headings = ("part", "check", "state")
    rows = [(outcome.part, outcome.check.name, outcome.state) for outcome in outcomes]
    widths = [max(len(cell) for cell in column) for column in zip(headings, *rows, strict=True)]
    yield Text(_aligned(headings, widths))
    previous = None
    for outcome, (part, name, state) in zip(outcomes, rows, strict=True):
        line = Text(_aligned(("" if part == previous else part, name, ""), widths) + "  ")
        yield line.append(state, style=_COLOURS[state])
        if outcome.message:
            # Errors of other libraries can have several lines.
            yield Text("    " + " ".join(outcome.message.split()))
        previous = part


def _aligned(cells: Sequence[str], widths: Sequence[int]) -> str:
    return (
        "  ".join(f"{cell:<{width}}" for cell, width in zip(cells, widths, strict=True))
        .rstrip()
        .ljust(widths[0] + 2 + widths[1])
    )


def summary(outcomes: Sequence[Outcome]) -> str:
    """Return the number of outcomes in each state: ``"12 ok, 1 failed, 3 not applicable"``."""
    return ", ".join(f"{sum(outcome.state == state for outcome in outcomes)} {state}" for state in _COLOURS)
