"""The error for mistakes of the user, and helpers for its message."""

import difflib
import unicodedata
from collections.abc import Iterable
from pathlib import Path

_CONTROL = frozenset({"Cc", "Cf", "Cs", "Co", "Zl", "Zp"})
"""Unicode categories of characters that change how other text is shown."""


class AeframeError(Exception):
    """An error that the user can correct; commands print its message in one line and exit with code 2.

    The message is one sentence: the part or file concerned, what was expected, what was found, the valid name of the
    closest spelling, and the next step. Control characters, which a name of a stranger's file may have, are escaped,
    and lines, as in the errors of some libraries, are joined.
    """

    def __init__(self, message: object = "") -> None:
        super().__init__(in_one_line(str(message)))


class ReportedError(AeframeError):
    """An error that the first process of a run on several devices reports; this process ends without printing it."""


def printable(text: str) -> str:
    """Return text in which control characters, such as those that move the cursor of a terminal, are escaped.

    Line breaks stay.
    """
    return "".join(
        char.encode("unicode_escape").decode() if unicodedata.category(char) in _CONTROL and char != "\n" else char
        for char in text
    )


def in_one_line(text: str) -> str:
    """Return text without control characters (see `printable`), its lines joined by spaces."""
    return printable(" ".join(line.strip() for line in text.split("\n")).strip() if "\n" in text else text)


def did_you_mean(wrong: str, known: Iterable[str]) -> str:
    """Return ``", did you mean 'right'?"`` for the known name of the closest spelling; empty if none is close."""
    by_lower_case = {str(name).lower(): str(name) for name in known}
    closest = difflib.get_close_matches(str(wrong).lower(), by_lower_case, n=1, cutoff=0.5)
    return f", did you mean '{by_lower_case[closest[0]]}'?" if closest else ""


def reason_and_place(error: BaseException) -> str:
    """Return type and message of an error of a library, and the line that raised it: ``KeyError: 'a', in x.py:12``."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    place = "" if trace is None else f", in {Path(trace.tb_frame.f_code.co_filename).name}:{trace.tb_lineno}"
    message = " ".join(str(error).split())
    message = message if len(message) <= 200 else f"{message[:200]}..."
    return f"{type(error).__name__}{': ' if message else ''}{message}{place}"


def first_sentence(error: BaseException) -> str:
    """Return the first sentence of the message of a library's error, on one line and without its full stop."""
    return " ".join(str(error).split()).partition(". ")[0].rstrip(".!")


def quoting_hint(error_type: str, value: object) -> str:
    """Return how to write a text that a command line reads as a number: ``; write '"2024"' for the text 2024``.

    Args:
        error_type: The type of the error of pydantic.
        value: The wrong value. The hint is empty for other errors and values.
    """
    if error_type not in ("string_type", "path_type") or not isinstance(value, (int, float)):
        return ""
    text = str(value).lower() if isinstance(value, bool) else str(value)
    return f"; write '\"{text}\"' for the text {text}"
