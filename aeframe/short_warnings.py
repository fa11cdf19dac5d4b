"""`short_warnings`: how the commands print warnings; `stacklevel_of_caller`: which line a warning names."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def short_warnings() -> Iterator[None]:
    """Print warnings of aeframe on one line, like its errors; warnings of libraries are unchanged."""
    original = warnings.formatwarning

    def one_line(
        message: Warning | str, category: type[Warning], filename: str, lineno: int, line: str | None = None
    ) -> str:
        if category.__module__.partition(".")[0] == "aeframe":
            return f"warning: {message}\n"
        return original(message, category, filename, lineno, line)

    warnings.formatwarning = one_line
    try:
        yield
    finally:
        warnings.formatwarning = original


def stacklevel_of_caller() -> int:
    """Return the ``stacklevel`` with which a warning names the line of the user's program.

    The caller passes it to `warnings.warn`. Frames of aeframe, and of torch and contextlib, whose decorators are
    in between, are skipped.
    """
    frame, level = inspect.currentframe(), 0
    while frame is not None:
        package = str(frame.f_globals.get("__name__", "")).partition(".")[0]
        if package not in ("aeframe", "torch", "contextlib"):
            return level
        frame, level = frame.f_back, level + 1
    return level
