"""`claimed_folder`: the run folder of a command among those of one job, made or found without a race."""

from __future__ import annotations

import contextlib
import itertools
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from aeframe.errors import AeframeError
from aeframe.runs.folder import RunFolder
from aeframe.runs.lock import FolderInUseError, run_lock

_SECONDS_UNTIL_NAMED = 10.0
"""How long to wait for the process that holds a folder to write which command it runs: it does so at once."""
_claimed: set[str] = set()
"""Folders that runs of this process have claimed."""


@contextmanager
def claimed_folder(path: Path, command: str, *, continues: bool) -> Iterator[RunFolder]:
    """Claim the first of the folders ``path``, ``path.2``, ``path.3``, ... that is free or that the command has begun.

    The lock of the folder is held inside. A process claims no folder twice, so that two equal runs of one program have
    folders of their own, and the same ones when the program is started again. After an error the claim is given up, and
    a folder in which nothing else was written is removed.

    Args:
        path: The first folder to try.
        command: The digest of the command's settings; folders of other commands are left alone.
        continues: Whether a folder of the same command is claimed too; if not, only a new one.

    Raises:
        AeframeError: Another process runs the same command in its folder.
    """
    for number in itertools.count(1):
        folder = RunFolder(path if number == 1 else path.with_name(f"{path.name}.{number}"))
        if str(folder.path.resolve()) in _claimed:
            continue
        with ExitStack() as stack:
            if not _is_claimed(folder, command, continues, stack):
                continue
            key = str(folder.path.resolve())
            _claimed.add(key)
            try:
                yield folder
            except BaseException:
                # The program may try again, and then continues here.
                _claimed.discard(key)
                _remove_empty(folder)
                raise
            return


def _is_claimed(folder: RunFolder, command: str, continues: bool, stack: ExitStack) -> bool:
    """Return whether this process now holds the folder: it was free, or the command has begun it."""
    try:
        folder.path.mkdir(parents=True)
    except FileExistsError:
        if not continues or not folder.path.is_dir():
            return False
        if not folder.is_unbegun() and folder.read_state().get("command") != command:
            return False
    try:
        stack.enter_context(run_lock(folder.path))
    except FolderInUseError as error:
        if _command_of_holder(folder) == command:
            raise AeframeError(
                f"{str(error).partition(';')[0]}, which runs the same command; wait until it ends, or begin another "
                "run with resume=false"
            ) from error
        return False
    except FileNotFoundError:
        # Its process gave the claim up after the folder was found here.
        return False
    # Read again: another process may have claimed and left the folder before it was locked here.
    found = folder.read_state().get("command")
    if found is None and folder.is_unbegun():
        folder.write_state("training", command)
        return True
    if found == command:
        return True
    stack.close()
    return False


def _command_of_holder(folder: RunFolder) -> str | None:
    """Return the command that holds a folder; None if that does not become known, or the folder was left."""
    deadline = time.monotonic() + _SECONDS_UNTIL_NAMED
    while time.monotonic() < deadline and folder.path.is_dir():
        if (command := folder.read_state().get("command")) is not None:
            return str(command)
        time.sleep(0.05)
    return None


def _remove_empty(folder: RunFolder) -> None:
    """Remove a folder in which there is only what a claim writes."""
    with contextlib.suppress(OSError):
        names = {entry.name for entry in folder.path.iterdir()}
        if names <= {folder.state.name, ".lock"}:
            for name in names:
                (folder.path / name).unlink()
            folder.path.rmdir()
