"""`SpeedFigure`: a measured ratio of times, from the results of a benchmark."""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import yaml

from aeframe.errors import AeframeError

FILE = "speed.yaml"
"""The list of figures in the folder of benchmarks."""


@dataclass(frozen=True, slots=True)
class Ratio:
    """A measured ratio with its spread."""

    median: float
    low: float
    high: float

    def __str__(self) -> str:
        spread = "" if self.low == self.high else f" ({self.low:.3g} to {self.high:.3g})"
        return f"{self.median:.3g}{spread}"


@dataclass(frozen=True, slots=True)
class SpeedFigure:
    """What is compared with what, and where the result is; the fields are those of ``speed.yaml``."""

    what: str
    against: str
    aim: float
    better: Literal["lower", "higher"]
    file: str
    ratio: str
    command: str
    of: str | None = None
    low: str | None = None
    high: str | None = None

    def measured(self, results: Path) -> Ratio | None:
        """Return the ratio in a folder of results; None if it was not measured yet.

        Raises:
            AeframeError: The file has no such value.
        """
        path = results / self.file
        if not path.is_file():
            return None
        stored = json.loads(path.read_text(encoding="utf-8"))
        first = self.ratio.split(" / ")[0]
        if isinstance(stored, dict) and first not in stored:
            # A file of several cases, of which this one was not measured.
            return None
        values = self._values(stored, self.ratio, path)
        if self.of is not None:
            values = [other / ours for ours, other in zip(values, self._values(stored, self.of, path), strict=True)]
        ends = [*values, *(value for end in (self.low, self.high) if end for value in self._values(stored, end, path))]
        return Ratio(statistics.median(values), min(ends), max(ends))

    def reached(self, ratio: Ratio) -> bool:
        """Return whether the median reaches the aim."""
        return ratio.median <= self.aim if self.better == "lower" else ratio.median >= self.aim

    def _values(self, stored: Any, keys: str, path: Path) -> list[float]:
        try:
            return [float(value) for value in _at(stored, keys.split(" / "))]
        except (KeyError, TypeError, ValueError) as error:
            raise AeframeError(
                f"'{path}' has no number at '{keys}'; correct {FILE}, or measure again with: {self.command}"
            ) from error


def read_figures(folder: Path) -> dict[str, SpeedFigure]:
    """Return the figures of a folder of benchmarks by name.

    Raises:
        AeframeError: The folder has no list of figures, or a figure lacks a field.
    """
    path = folder / FILE
    if not path.is_file():
        raise AeframeError(
            f"aeframe bench prints the results in benchmarks/ of a checkout, found no '{path}'; clone the repository, "
            "or name its folder with --folder"
        )
    listed: Mapping[str, Mapping[str, Any]] = yaml.safe_load(path.read_text(encoding="utf-8"))
    try:
        return {name: SpeedFigure(**fields) for name, fields in listed.items()}
    except TypeError as error:
        raise AeframeError(f"'{path}' has a figure with wrong fields: {error}") from error


def _at(stored: Any, keys: list[str]) -> Iterator[Any]:
    """Yield what is stored below keys; the key ``*`` is every element of a list."""
    if not keys:
        yield stored
    elif keys[0] == "*":
        for element in stored:
            yield from _at(element, keys[1:])
    else:
        yield from _at(stored[keys[0]], keys[1:])
