"""Let glibc's malloc keep freed memory.

By default it returns the memory of a step's activations to the system, and the next step gets it again page by page.
"""

from __future__ import annotations

import ctypes
import platform
import sys
from collections.abc import Iterator
from contextlib import contextmanager

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
"""The parameters of `mallopt`, as ``malloc.h`` numbers them."""
_DEFAULT = 128 * 1024
"""The initial value of both thresholds in glibc."""


def keep_freed_memory() -> bool:
    """Set glibc's malloc to keep freed memory; return False, without an effect, on systems without glibc.

    In measurements on a convolutional VAE, a step took between 0.62 and 0.92 of the time with default settings.
    """
    return _set(2**31 - 1, 2**30)


@contextmanager
def kept_memory(enabled: bool) -> Iterator[None]:
    """If enabled, keep freed memory inside, and restore glibc's defaults afterwards."""
    changed = enabled and keep_freed_memory()
    try:
        yield
    finally:
        if changed:
            _set(_DEFAULT, _DEFAULT)


def _set(trim: int, mmap: int) -> bool:
    """Set both thresholds in bytes; return whether that succeeded."""
    if not sys.platform.startswith("linux") or platform.libc_ver()[0] != "glibc":
        return False
    libc = ctypes.CDLL(None)
    return bool(libc.mallopt(_M_TRIM_THRESHOLD, trim)) and bool(libc.mallopt(_M_MMAP_THRESHOLD, mmap))
