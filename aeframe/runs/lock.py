"""A lock on a run folder, so that two processes do not write to it at once."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from aeframe.errors import AeframeError

try:
    import fcntl
except ImportError:
    # Windows has no such locks.
    _HAS_LOCKS = False
else:
    _HAS_LOCKS = True

NAME = ".lock"
_held: set[str] = set()
"""Folders that this process has locked; the system's locks do not exclude other threads of the process."""


@contextmanager
def run_lock(folder: Path) -> Iterator[None]:
    """Hold the lock of a run folder inside.

    The lock file names host and process. When a process ends, however it does, the system releases its lock; the next
    process then takes over the file, and prints a line on standard error.

    Raises:
        AeframeError: Another process trains in this folder.
    """
    path = folder / NAME
    key = str(path.resolve())
    holder: dict[str, Any] = {"host": socket.gethostname(), "pid": os.getpid()}
    if key in _held:
        raise _refused(folder, holder)
    with _opened(path) as (file, before, locked):
        if not locked:
            raise _refused(folder, before)
        if before:
            who = f"process {before.get('pid')} on {before.get('host')}"
            print(f"taking over run '{folder}' from {who}, which has ended without finishing it", file=sys.stderr)
        file.seek(0)
        file.truncate()
        json.dump(holder, file)
        file.flush()
        _held.add(key)
        try:
            yield
        finally:
            _held.discard(key)
            with contextlib.suppress(OSError):
                path.unlink()


@contextmanager
def _opened(path: Path) -> Iterator[tuple[IO[str], dict[str, Any], bool]]:
    """Open and lock the file; yield it, its previous content, and whether this process has the lock."""
    while True:
        with path.open("a+", encoding="utf-8") as file:
            before = _read(file)
            locked = _lock(file)
            # The previous holder may have removed the file meanwhile: then this lock is on a removed file.
            if locked and not (path.exists() and os.path.samestat(os.fstat(file.fileno()), path.stat())):
                continue
            yield file, before, locked
            return


def _lock(file: IO[str]) -> bool:
    """Lock the file; return False if another process has the lock, True also where the system has no locks."""
    if not _HAS_LOCKS:
        return True
    try:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        return False
    except OSError:
        # A network file system without locks.
        return True
    return True


def _read(file: IO[str]) -> dict[str, Any]:
    file.seek(0)
    try:
        found = json.loads(file.read() or "{}")
    except (json.JSONDecodeError, UnicodeDecodeError):
        return {}
    return found if isinstance(found, dict) else {}


def _refused(folder: Path, holder: dict[str, Any]) -> AeframeError:
    return AeframeError(
        f"run '{folder}' is in use by process {holder.get('pid')} on {holder.get('host')}; wait until it ends, "
        "or choose another folder with folder=PATH"
    )
