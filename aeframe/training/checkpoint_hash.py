"""Hash the bytes of checkpoint files, and flush folders to the disk."""

from __future__ import annotations

import contextlib
import hashlib
import os
from pathlib import Path
from typing import BinaryIO

from aeframe.errors import AeframeError

_CHUNK = 1 << 20


class DamagedCheckpointError(AeframeError):
    """A checkpoint is truncated, its bytes have changed, or a part of it is missing."""


def sha256_of(file: BinaryIO, length: int) -> str:
    """Return the SHA-256 of the next `length` bytes of an open file, or of all that are left, in hexadecimal."""
    digest = hashlib.sha256()
    while length > 0 and (chunk := file.read(min(length, _CHUNK))):
        digest.update(chunk)
        length -= len(chunk)
    return digest.hexdigest()


def sync_folder(folder: Path) -> None:
    """Flush new and renamed entries of a folder to the disk, if the operating system supports it."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
