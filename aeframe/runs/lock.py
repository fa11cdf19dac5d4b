"""A lock on a run folder, so that two processes do not write to it at the same time."""

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
    # Windows has no `fcntl`.
    _HAS_LOCKS = False
else:
    _HAS_LOCKS = True

NAME = ".lock"
"""The name of the lock file in a run folder."""


class FolderInUseError(AeframeError):
    """Another process, or another run of this one, holds the lock of a run folder."""


_held: set[str] = set()
"""Lock files that this process holds; the system's locks do not exclude other threads of the same process."""


@contextmanager
def run_lock(folder: Path) -> Iterator[None]:
    """Hold the lock of a run folder inside.

    The lock file contains host and process id of its holder. When a process ends, also by a crash, the system releases
    its lock. The next process then takes over the file that was left, and prints a line on standard error.

    Raises:
        FolderInUseError: Another run of this or another process holds the lock.
    """
    path = folder / NAME
    key = str(path.resolve())
    holder: dict[str, Any] = {"host": socket.gethostname(), "pid": os.getpid()}
    if key in _held:
        raise _in_use(folder, holder)
    with _locked_file(path) as (file, previous_holder, locked):
        if not locked:
            raise _in_use(folder, previous_holder)
        if previous_holder:
            who = f"process {previous_holder.get('pid')} on {previous_holder.get('host')}"
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


def is_locked(folder: Path) -> bool:
    """Return whether a process holds the lock of a folder. Without locks of the system, the file alone counts."""
    path = folder / NAME
    if str(path.resolve()) in _held or not _HAS_LOCKS:
        return path.is_file()
    try:
        with path.open("r+", encoding="utf-8") as file:
            return not _lock(file)
    except FileNotFoundError:
        return False


@contextmanager
def _locked_file(path: Path) -> Iterator[tuple[IO[str], dict[str, Any], bool]]:
    """Open and lock the file; yield it, its previous content, and whether this process has the lock."""
    while True:
        with path.open("a+", encoding="utf-8") as file:
            previous_holder = _read(file)
            locked = _lock(file)
            # The previous holder may have removed the file after it was opened here; then open the new one.
            if locked and not (path.exists() and os.path.samestat(os.fstat(file.fileno()), path.stat())):
                continue
            yield file, previous_holder, locked
            return


def _lock(file: IO[str]) -> bool:
    """Lock the file. Return False if another process has the lock; True also if the system has no locks."""
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
    """Return the holder in a lock file: ``{host, pid}``, or ``{}`` if the file is empty or damaged."""
    file.seek(0)
    try:
        holder = json.loads(file.read() or "{}")
    except (json.JSONDecodeError, UnicodeDecodeError):
        return {}
    return holder if isinstance(holder, dict) else {}


def _in_use(folder: Path, holder: dict[str, Any]) -> FolderInUseError:
    return FolderInUseError(
        f"run '{folder}' is in use by process {holder.get('pid')} on {holder.get('host')}; wait until it ends, "
        "or choose another folder with folder=PATH"
    )
