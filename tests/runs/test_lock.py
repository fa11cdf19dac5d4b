"""The lock of a run folder excludes a second process, and ends with its process."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from aeframe.errors import AeframeError
from aeframe.runs import lock
from aeframe.runs.lock import NAME, run_lock

HOST = socket.gethostname()
HOLDER = """
import sys
from pathlib import Path
from aeframe.runs.lock import run_lock
with run_lock(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.readline()
"""


@contextmanager
def held_by_another_process(folder: Path) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    try:
        yield process
    finally:
        process.communicate("\n", timeout=30)


def test_the_file_names_its_holder_and_is_gone_afterwards(tmp_path: Path) -> None:
    with run_lock(tmp_path):
        assert json.loads((tmp_path / NAME).read_text()) == {"host": HOST, "pid": os.getpid()}
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(RuntimeError), run_lock(tmp_path):
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []
    with run_lock(tmp_path):
        pass


def test_a_second_process_is_refused(tmp_path: Path) -> None:
    with held_by_another_process(tmp_path) as process:
        with pytest.raises(AeframeError) as caught, run_lock(tmp_path):
            pytest.fail("two processes hold one lock")
        assert str(caught.value) == (
            f"run '{tmp_path}' is in use by process {process.pid} on {HOST}; wait until it ends, or choose another "
            "folder with folder=PATH"
        )
        # The first process still holds the lock.
        assert json.loads((tmp_path / NAME).read_text())["pid"] == process.pid
    assert process.returncode == 0
    with run_lock(tmp_path):
        pass


def test_the_same_process_is_refused_twice(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path)
    with run_lock(tmp_path):
        for folder in (tmp_path, tmp_path / "link"):
            with pytest.raises(AeframeError) as caught, run_lock(folder):
                pytest.fail("one process holds a lock twice")
            assert str(caught.value) == (
                f"run '{folder}' is in use by process {os.getpid()} on {HOST}; wait until it ends, or choose another "
                "folder with folder=PATH"
            )
        assert (tmp_path / NAME).is_file()
        with run_lock_elsewhere(tmp_path):
            pass


@contextmanager
def run_lock_elsewhere(folder: Path) -> Iterator[None]:
    other = folder / "other"
    other.mkdir()
    with run_lock(other):
        yield


def test_a_stale_lock_is_taken_over(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / NAME).write_text(json.dumps({"host": "node7", "pid": 4711, "more": "x" * 500}))
    with run_lock(tmp_path):
        assert json.loads((tmp_path / NAME).read_text()) == {"host": HOST, "pid": os.getpid()}
    assert capsys.readouterr().err == (
        f"taking over run '{tmp_path}' from process 4711 on node7, which has ended without finishing it\n"
    )
    assert not (tmp_path / NAME).exists()


@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b"\xff\xfe"])
def test_a_lock_that_cannot_be_read_is_taken_over_in_silence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: bytes
) -> None:
    (tmp_path / NAME).write_bytes(content)
    with run_lock(tmp_path):
        pass
    assert capsys.readouterr().err == ""


def test_a_process_that_is_killed_releases_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with held_by_another_process(tmp_path) as process:
        process.send_signal(signal.SIGKILL)
        process.wait(timeout=30)
        with run_lock(tmp_path):
            pass
    assert capsys.readouterr().err == (
        f"taking over run '{tmp_path}' from process {process.pid} on {HOST}, which has ended without finishing it\n"
    )


def test_a_file_system_without_locks_refuses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def none(*_: object) -> None:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr("fcntl.lockf", none)
    with run_lock(tmp_path):
        assert (tmp_path / NAME).is_file()
    monkeypatch.undo()
    monkeypatch.setattr(lock, "_HAS_LOCKS", False)
    with run_lock(tmp_path):
        assert (tmp_path / NAME).is_file()
