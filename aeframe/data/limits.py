"""Limits on what a file may claim: its sizes are checked before memory is allocated for them.

A small file can expand to terabytes: an array whose header states a huge shape, a compressed archive, a picture of one
colour.
"""

from __future__ import annotations

import os

from aeframe.errors import AeframeError

MEMORY_VARIABLE = "AEFRAME_MAX_GB"
"""Environment variable: gigabytes that one file may occupy in memory."""
PIXELS_VARIABLE = "AEFRAME_MAX_MEGAPIXELS"
"""Environment variable: megapixels of one picture or one frame of a video."""
DEFAULT_MEGAPIXELS = 100.0
_GIGABYTE, _MEGAPIXEL = 1e9, 1e6


def check_memory(who: str, num_bytes: float, what: str = "its content") -> None:
    """Check the memory that the content of a file would occupy, before it is allocated.

    The limit is the physical memory of the machine, or the gigabytes in ``AEFRAME_MAX_GB``.

    Args:
        who: The file, for the error message: ``"'x.npz'"``.
        num_bytes: The bytes that the content would occupy in memory.
        what: What occupies them: ``"array 'x' of shape (1000000000000, 8)"``.

    Raises:
        AeframeError: The bytes are more than the limit.
    """
    limit = _setting(MEMORY_VARIABLE)
    limit_bytes = _physical_memory() if limit is None else limit * _GIGABYTE
    if num_bytes > limit_bytes:
        raise AeframeError(
            f"{who}: {what} would occupy {_size(num_bytes)} of memory, and the limit is {_size(limit_bytes)}; use a "
            f"smaller file, or set the environment variable {MEMORY_VARIABLE} to more gigabytes"
        )


def check_pixels(who: str, width: int, height: int) -> None:
    """Check the size of a picture or of a frame, before it is decoded.

    The limit is 100 megapixels, or the number in ``AEFRAME_MAX_MEGAPIXELS``.

    Args:
        who: The file, for the error message.
        width: Pixels in a row, as the header states them.
        height: Number of rows.

    Raises:
        AeframeError: The picture has more pixels than the limit.
    """
    limit = _setting(PIXELS_VARIABLE)
    limit = DEFAULT_MEGAPIXELS if limit is None else limit
    if width * height > limit * _MEGAPIXEL:
        raise AeframeError(
            f"{who} has {width} x {height} pixels, and the limit is {limit:g} megapixels; scale it down, or set the "
            f"environment variable {PIXELS_VARIABLE} to more megapixels"
        )


def _setting(variable: str) -> float | None:
    """Return the number in an environment variable; None if it is not set."""
    text = os.environ.get(variable)
    if not text:
        return None
    try:
        number = float(text)
    except ValueError:
        number = -1.0
    if not number > 0:
        raise AeframeError(f"the environment variable {variable} expects a positive number, found '{text}'; correct it")
    return number


def _physical_memory() -> float:
    """Return the bytes of physical memory; infinity where the system does not state it."""
    try:
        return float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    except (AttributeError, OSError, ValueError):
        return float("inf")


def _size(num_bytes: float) -> str:
    """Return a number of bytes with a fitting unit: ``40 GB``."""
    for unit in ("B", "kB", "MB", "GB"):
        if num_bytes < 1000:
            return f"{num_bytes:.3g} {unit}"
        num_bytes /= 1000
    return f"{num_bytes:.3g} TB"
