"""What a check is: a name, a reason, the kinds it is for, and a function that says what is wrong."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from aeframe.kinds import SLOTS

if TYPE_CHECKING:
    from aeframe.testing.part_under_test import PartUnderTest

PLUGIN = "plugin"
"""Stands in place of a kind for checks of the plugin as a whole."""
MODEL_KINDS = frozenset({"modality", *(kind.name for kind in SLOTS)})
"""The kinds that a small model is made around; a modality's is made of its own defaults, on its own data."""


class CheckFailedError(AssertionError):
    """What a part does and should not, in one sentence."""


class NotApplicableError(Exception):
    """Why a check has nothing to say of a part."""


@dataclass(frozen=True, slots=True)
class Check:
    """One promise that a part is held to."""

    name: str
    reason: str
    """Why it matters, in one line."""
    kinds: frozenset[str]
    function: Callable[[PartUnderTest], None]
    """Returns when the promise is kept.

    Raises:
        CheckFailedError: It is not; any other exception says the same.
        NotApplicableError: There is nothing to be tried.
    """
    after: tuple[str, ...] = ()
    """Checks that must have passed, or what this one finds would be their finding again."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one check of one part."""

    check: Check
    part: str
    """``"loss=mse"``, or ``"plugin"``."""
    state: Literal["ok", "failed", "not applicable"]
    sentence: str = ""
    error: BaseException | None = None


def check(
    name: str, reason: str, *, kinds: Iterable[str], after: tuple[str, ...] = ()
) -> Callable[[Callable[[PartUnderTest], None]], Check]:
    """Make a `Check` of a function."""
    return lambda function: Check(name, reason, frozenset(kinds), function, after)


def expect(holds: bool, sentence: str) -> None:
    """Fail the check with `sentence` unless it holds."""
    if not holds:
        raise CheckFailedError(sentence)
