"""Start runs in forked processes, which start fast since everything is imported already."""

from __future__ import annotations

import os
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

WRITES = ("os.rename", "os.remove", "os.mkdir", "os.link", "os.truncate", "os.rmdir", "shutil.rmtree")
"""Audit events that change the file system, in addition to ``open`` for writing."""


class Child:
    """A forked process that runs ``aeframe-train``."""

    def __init__(self, pid: int, log: Path) -> None:
        self.pid, self.log = pid, log

    def wait(self, seconds: float = 120) -> int:
        """Return the exit code, which is -n after signal n."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                return os.waitstatus_to_exitcode(status)
            time.sleep(0.005)
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        raise AssertionError(f"no end after {seconds} s:\n{self.text()}")

    def text(self) -> str:
        """Return the output of the process."""
        return self.log.read_text(errors="replace")


def start(argv: Sequence[str], folder: Path, before: Callable[[], None] | None = None, verb: str = "train") -> Child:
    """Fork a process that calls `before` and then runs ``aeframe-train ARGV`` in a folder."""
    log = folder / f"child-{time.monotonic_ns()}.log"
    pid = os.fork()
    if pid:
        return Child(pid, log)
    code = 99
    try:
        out = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(out, 1)
        os.dup2(out, 2)
        sys.stdout, sys.stderr = os.fdopen(1, "w"), os.fdopen(2, "w")
        os.chdir(folder)
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_DFL if number == signal.SIGTERM else signal.default_int_handler)
        if before is not None:
            before()
        if verb == "train":
            from aeframe.experiment.main import main
        else:
            from aeframe.cli.main import main
        code = main(list(argv))
    except BaseException:  # noqa: BLE001 -- the child process ends here after any error
        traceback.print_exc()
        code = 1
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    raise AssertionError("unreachable")


def train(argv: Sequence[str], folder: Path, before: Callable[[], None] | None = None, verb: str = "train") -> int:
    """Run to the end, and return the exit code."""
    return start(argv, folder, before, verb).wait()


class Operations:
    """Count the operations on files below a folder, and call `act` at number `at`."""

    def __init__(self, root: Path, at: int | None = None, act: Callable[[], Any] | None = None) -> None:
        self.root, self.at, self.act = str(root), at, act
        self.number = 0
        self.at_each: Callable[[], Any] | None = None

    def install(self) -> None:
        """Start counting in this process."""
        sys.addaudithook(self._hook)

    def _hook(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open":
            path, mode, flags = arguments
            writes = isinstance(flags, int) and flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
            if not writes and not (isinstance(mode, str) and set(mode) & set("wax+")):
                return
        elif event in WRITES:
            path = arguments[0]
        else:
            return
        if isinstance(path, bytes):
            path = path.decode(errors="replace")
        if not isinstance(path, (str, os.PathLike)) or not os.path.abspath(path).startswith(self.root):
            return
        self.number += 1
        if self.number == self.at and self.act is not None:
            self.act()
        if self.at_each is not None:
            self.at_each()


def kill_self() -> None:
    """Kill this process with SIGKILL, like a power cut."""
    os.kill(os.getpid(), signal.SIGKILL)


def result(folder: Path) -> dict[str, bytes | list[str]]:
    """Return the files that must be equal in an interrupted and an uninterrupted run."""
    files = ("metrics.csv", "metrics.json", "log.txt", "model/model.safetensors", "model/config.yaml")
    contents: dict[str, bytes | list[str]] = {name: (folder / name).read_bytes() for name in files}
    contents["files"] = sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
    return contents


def differences(expected: dict[str, Any], actual: dict[str, Any]) -> list[str]:
    """Return the names of entries that differ."""
    return [name for name in expected if expected[name] != actual[name]]


@contextmanager
def patched(owner: Any, name: str, value: Any) -> Iterator[None]:
    """Set an attribute inside."""
    original = getattr(owner, name)
    setattr(owner, name, value)
    try:
        yield
    finally:
        setattr(owner, name, original)
