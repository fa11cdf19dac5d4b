"""Let glibc keep freed memory: otherwise it returns a step's activations and faults them in again at the next."""

from __future__ import annotations

import ctypes
import platform
import sys
from collections.abc import Iterator
from contextlib import contextmanager

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_DEFAULT = 128 * 1024
"""What glibc starts with for both."""


def keep_freed_memory() -> bool:
    """Set glibc's malloc to keep freed memory; return whether it was set. Does nothing elsewhere than on Linux's glibc.

    Measured on a convolutional VAE: the step takes 0.62 to 0.92 of its time.
    """
    return _set(2**31 - 1, 2**30)


@contextmanager
def kept_memory(wanted: bool) -> Iterator[None]:
    """Keep freed memory inside, and set glibc's defaults again afterwards."""
    changed = wanted and keep_freed_memory()
    try:
        yield
    finally:
        if changed:
            _set(_DEFAULT, _DEFAULT)


def _set(trim: int, mmap: int) -> bool:
    if not sys.platform.startswith("linux") or platform.libc_ver()[0] != "glibc":
        return False
    libc = ctypes.CDLL(None)
    return bool(libc.mallopt(_M_TRIM_THRESHOLD, trim)) and bool(libc.mallopt(_M_MMAP_THRESHOLD, mmap))
