"""The error that a person reads: one sentence, exit code 2."""

import difflib
from collections.abc import Iterable


class AeframeError(Exception):
    """Something a user can mend: who, what was expected, what was found, the nearest right name, what to do."""


def did_you_mean(wrong: str, known: Iterable[str]) -> str:
    """Return ``", did you mean 'right'?"`` for the nearest known name, or an empty string when none is near."""
    near = difflib.get_close_matches(str(wrong), [str(name) for name in known], n=1, cutoff=0.5)
    return f", did you mean '{near[0]}'?" if near else ""


def first_sentence(error: BaseException) -> str:
    """Return the first sentence of an error of a library, on one line and without its full stop."""
    return " ".join(str(error).split()).partition(". ")[0].rstrip(".!")
