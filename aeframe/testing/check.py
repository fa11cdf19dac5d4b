"""A conformance check: a function that tests one property of a part, and its outcome.

A part is what a plugin registers under a name, such as the loss ``mse``; ``loss`` is its kind.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from aeframe.kinds import SLOTS
from aeframe.testing.part_under_test import PartUnderTest

MODEL_KINDS = frozenset({"modality", *(kind.name for kind in SLOTS)})
"""The kinds that are tested inside a small model. A modality's model consists of the modality's default parts."""


@dataclass(frozen=True, slots=True)
class SharedWork:
    """Work in other processes that a check requires, done once for all parts of the plugin.

    A process that imports torch takes seconds to start, so that one process per part would be slow.
    """

    prepare: Callable[[PartUnderTest], None]
    """Writes the input files of one part into its folder."""
    run: Callable[[Sequence[PartUnderTest]], None]
    """Runs the processes, which write the results of every prepared part into the part's folder."""


@dataclass(frozen=True, slots=True)
class Check:
    """A named test of one property, which parts of some kinds must have."""

    name: str
    reason: str
    """Why the property matters, in one line."""
    kinds: frozenset[str]
    function: Callable[[PartUnderTest], None]
    """Returns None when the part has the property.

    Raises:
        CheckFailedError: The part does not have it. Any other exception counts as a failure too.
        NotApplicableError: The property cannot be tested for this part.
    """
    depends_on: tuple[str, ...] = ()
    """Names of checks that must pass first. Without them, one fault of a part would fail several checks."""
    shared_work: SharedWork | None = None
    """The work in other processes that `function` reads the results of."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """The result of one check of one part."""

    check: Check
    part: str
    """``"loss=mse"``, or ``"plugin"``."""
    state: Literal["ok", "failed", "not applicable"]
    message: str = ""
    error: BaseException | None = None


def check(
    name: str,
    reason: str,
    *,
    kinds: Iterable[str],
    depends_on: tuple[str, ...] = (),
    shared_work: SharedWork | None = None,
) -> Callable[[Callable[[PartUnderTest], None]], Check]:
    """Return a decorator that turns a function into a `Check`."""
    return lambda function: Check(name, reason, frozenset(kinds), function, depends_on, shared_work)
