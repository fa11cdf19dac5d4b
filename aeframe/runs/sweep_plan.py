"""The points that a sweep is to train, by number, in the folder of the sweep."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from aeframe.errors import AeframeError
from aeframe.model_store.files import write_text
from aeframe.plain_files import read_mapping

FILE = "plan.json"
"""The name of the file in the folder of a sweep."""
_NOT_OF_A_POINT = frozenset({"folder", "resume", "root", "progress", "verbose"})
"""Settings that may differ when a sweep is continued: they change no result."""


@dataclass(frozen=True, slots=True)
class SweepPlan:
    """The points of a sweep; they keep their numbers when the sweep is continued, also with further points."""

    overrides: tuple[str, ...]
    """The overrides of the newest command, without folders."""
    points: tuple[tuple[str, ...], ...] = ()
    """The overrides of each point; empty if the sweeper chooses them during the sweep."""
    first: int = 0
    """The number of the newest command's first point, if its sweeper chooses the points."""

    def number(self, overrides: Sequence[str], job: int) -> int:
        """Return the number of a point, or of the job with this number if the point is not planned."""
        numbers = {point_key(point): number for number, point in enumerate(self.points)}
        return numbers.get(point_key(overrides), self.first + job)

    def name(self, number: int, overrides: Sequence[str]) -> str:
        """Return the name of a point for messages: ``point 3 (seed=1)``."""
        keys = varied_keys(self.points) if self.points else chosen_keys(overrides, self.overrides)
        text = point_text(overrides, keys)
        return f"point {number} ({text})" if text else f"point {number}"

    def with_points(self, points: Iterable[Sequence[str]]) -> SweepPlan:
        """Return a plan that also has `points`; those that it has already are the same points."""
        known = {point_key(point): point for point in self.points}
        for point in points:
            known.setdefault(point_key(point), tuple(point))
        return SweepPlan(self.overrides, tuple(known.values()), self.first)

    def write(self, sweep: Path) -> None:
        """Write the plan into the folder of its sweep."""
        content = {"overrides": self.overrides, "points": self.points, "first": self.first}
        write_text(sweep / FILE, json.dumps(content, indent=1) + "\n")


def read_plan(sweep: Path) -> SweepPlan | None:
    """Return the plan of a sweep; None for a folder that is no sweep's.

    Raises:
        AeframeError: The file is damaged.
    """
    path = sweep / FILE
    if not path.is_file():
        return None
    try:
        return TypeAdapter(SweepPlan).validate_python(read_mapping(path))
    except ValidationError as error:
        raise AeframeError(f"'{path}' is not the plan of a sweep; copy the file again") from error


def point_key(overrides: Iterable[str]) -> tuple[str, ...]:
    """Return what identifies a point: its overrides, sorted, without those that change no result."""
    return tuple(sorted(override for override in overrides if not _is_of_command(override)))


def varied_keys(points: Iterable[Sequence[str]]) -> list[str]:
    """Return the keys of overrides that are not the same in all points, in their order."""
    settings = [point_settings(point) for point in points]
    keys = dict.fromkeys(key for each in settings for key in each)
    return [key for key in keys if len({each.get(key) for each in settings}) > 1]


def chosen_keys(overrides: Iterable[str], command: Sequence[str]) -> list[str]:
    """Return the keys of a point's overrides that a sweeper chose: the command does not have these overrides."""
    return [_key(override) for override in overrides if override not in command]


def point_settings(overrides: Iterable[str]) -> dict[str, str]:
    """Return the values of overrides as text, by key."""
    return {_key(override): override.partition("=")[2] for override in overrides}


def point_text(overrides: Iterable[str], keys: Iterable[str]) -> str:
    """Return those settings of a point that have the `keys` as text: ``latent.dim=2, seed=0``."""
    settings = point_settings(overrides)
    return ", ".join(f"{key}={settings[key]}" for key in keys if key in settings)


def without_folders(overrides: Iterable[str]) -> list[str]:
    """Return overrides without ``folder`` and ``resume``, which name the folder of the sweep."""
    return [override for override in overrides if _key(override) not in ("folder", "resume")]


def _is_of_command(override: str) -> bool:
    key = _key(override)
    return key in _NOT_OF_A_POINT or key.startswith(("hydra.", "hydra/"))


def _key(override: str) -> str:
    return override.partition("=")[0].lstrip("+~")
