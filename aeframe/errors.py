"""The error for mistakes of the user, and the nearest name for its message."""

import difflib
from collections.abc import Iterable


class AeframeError(Exception):
    """An error that the user can correct; commands print its message in one line and exit with code 2.

    The message is one sentence: the part or file concerned, what was expected, what was found, the nearest valid name,
    and the next step.
    """


def did_you_mean(wrong: str, known: Iterable[str]) -> str:
    """Return ``", did you mean 'right'?"`` for the nearest known name, or an empty string when none is near."""
    near = difflib.get_close_matches(str(wrong), [str(name) for name in known], n=1, cutoff=0.5)
    return f", did you mean '{near[0]}'?" if near else ""


def first_sentence(error: BaseException) -> str:
    """Return the first sentence of an error of a library, on one line and without its full stop."""
    return " ".join(str(error).split()).partition(". ")[0].rstrip(".!")
