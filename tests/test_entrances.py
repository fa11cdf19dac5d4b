"""Errors that the user caused end in one sentence at every entrance; errors of a plugin name its part."""

from __future__ import annotations

import errno
import gzip
import json
import os
import struct
import traceback
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors import SafetensorError

import aeframe
from aeframe import registry
from aeframe.cli.main import main as aeframe_main
from aeframe.entrances import user_errors
from aeframe.errors import AeframeError
from aeframe.experiment.main import main as train_main

torch.set_num_threads(1)
DAMAGED = "a file cannot be read or written ("


def nested_json() -> None:
    json.loads("[" * 100_000)


def text_as_utf8() -> None:
    b"\xff".decode()


def recursion() -> None:
    recursion()


def raising(error: Exception) -> Callable[[], None]:
    def function() -> None:
        raise error

    return function


CAUSED: dict[str, tuple[Callable[[], Any], str]] = {
    "missing": (
        lambda: open("/nowhere/file"),  # noqa: SIM115 -- it does not open
        "the system reports 'No such file or directory' at '/nowhere/file'; check the path",
    ),
    "folder": (lambda: Path("/").read_bytes(), "the system reports 'Is a directory' at '/'; choose a file instead of"),
    "rename": (
        lambda: os.rename("/nowhere/a", "/b"),
        "the system reports 'No such file or directory' at '/nowhere/a' and '/b'; check the path",
    ),
    "full": (
        raising(OSError(errno.ENOSPC, "No space left on device")),
        "the system reports 'No space left on device', in test_entrances.py:",
    ),
    "unnamed": (raising(OSError("cannot identify it")), f"{DAMAGED}OSError: cannot identify it, in test_entrances.py:"),
    "gzip": (lambda: gzip.decompress(b"x" * 20), f"{DAMAGED}BadGzipFile: Not a gzipped file (b'xx'), in gzip.py:"),
    "zip": (raising(zipfile.BadZipFile("bad")), f"{DAMAGED}BadZipFile: bad, in test_entrances.py:"),
    "struct": (lambda: struct.unpack("<I", b"12"), f"{DAMAGED}error: unpack requires a buffer of 4 bytes, in test_ent"),
    "json": (lambda: json.loads("{"), f"{DAMAGED}JSONDecodeError: "),
    "yaml": (lambda: yaml.safe_load("a: ["), f"{DAMAGED}ParserError: "),
    "safetensors": (raising(SafetensorError("bad")), f"{DAMAGED}SafetensorError: bad, in test_entrances.py:"),
    "text": (text_as_utf8, f"{DAMAGED}UnicodeDecodeError: 'utf-8' codec can't decode byte 0xff"),
    "nested": (nested_json, f"{DAMAGED}RecursionError: maximum recursion depth exceeded"),
    "memory": (raising(MemoryError()), "there is too little memory (MemoryError, in test_entrances.py:"),
    "memory of torch": (lambda: torch.empty(1 << 60), "there is too little memory (RuntimeError: "),
}  # fmt: skip
"""What raises the error, and how its sentence begins."""


@pytest.mark.parametrize("what", CAUSED)
def test_what_the_user_caused_becomes_one_sentence(what: str) -> None:
    call, message = CAUSED[what]
    with pytest.raises(AeframeError) as error, user_errors():
        call()
    assert str(error.value).startswith(message)
    assert "\n" not in str(error.value)
    assert error.value.__cause__ is not None


@pytest.mark.parametrize(
    "error", [ValueError("x"), KeyError("x"), RuntimeError("x"), BrokenPipeError(), NotImplementedError()]
)
def test_programming_errors_are_not_changed(error: Exception) -> None:
    with pytest.raises(type(error)) as caught, user_errors():
        raise error
    assert caught.value is error


def test_an_endless_recursion_of_a_program_is_not_changed() -> None:
    with pytest.raises(RecursionError), user_errors():
        recursion()


@pytest.fixture
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Write a plugin file with a wrong callback, and load it."""
    file = tmp_path / "wrongly.py"
    file.write_text(
        "from aeframe import hookimpl\n"
        "from lightning.pytorch.callbacks import Callback\n"
        "def helper():\n    return {}['lost']\n"
        "class Wrong(Callback):\n"
        "    def on_train_batch_end(self, *args):\n"
        "        return helper()\n"
        "@hookimpl\n"
        "def register_callbacks(register):\n"
        "    register('wrong', 'wrongly:Wrong')\n"
    )
    monkeypatch.setenv("AEFRAME_PLUGIN_FILES", str(file))
    monkeypatch.chdir(tmp_path)
    registry.reset()
    yield file
    monkeypatch.undo()
    registry.reset()


def test_an_error_of_a_plugin_keeps_its_traceback_and_names_the_part(plugin: Path) -> None:
    with pytest.raises(KeyError) as error:
        aeframe.fit(
            model="ae", data="breast_cancer", callbacks={"wrong": {}}, max_batches=2, pictures=False, folder="run"
        )
    assert error.value.__notes__ == [
        f"This error was raised in callback 'wrong' of {plugin} file. Report it to its author if your input is right."
    ]
    text = "".join(traceback.format_exception(error.value))
    assert "in helper" in text
    assert "This error was raised in callback 'wrong'" in text


COMMANDS = {
    "a folder for a file": ["encode", "run", "folder.npy", "-o", "z.npz"],
    "a pipe": ["encode", "run", "pipe.npy", "-o", "z.npz"],
    "a device": ["encode", "run", "/dev/zero", "-o", "z.npz"],
    "a file that may not be read": ["encode", "run", "secret.npy", "-o", "z.npz"],
    "a file for a run": ["encode", "file.npy", "file.npy", "-o", "z.npz"],
    "text in another encoding": ["encode", "run", "latin.csv", "-o", "z.npz"],
    "an empty file": ["encode", "run", "empty.npy", "-o", "z.npz"],
    "a header of an expression": ["encode", "run", "expression.npy", "-o", "z.npz"],
    "a header of many rows": ["encode", "run", "huge.npy", "-o", "z.npz"],
    "an output that cannot be written": ["encode", "run", "rows.npy", "-o", "/proc/z.npz"],
    "a name that is too long": ["encode", "run", "x" * 5000, "-o", "z.npz"],
    "a suite that is no file": ["check-plugin", "core", "--suite", "folder.npy"],
}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    import numpy as np

    folder = tmp_path_factory.mktemp("entrances")
    rows = np.random.default_rng(0).random((20, 4), np.float32)
    np.save(folder / "rows.npy", rows)
    aeframe.fit(rows, model="ae", batch_size=4, max_batches=1, pictures=False, folder=str(folder / "run"))
    (folder / "folder.npy").mkdir()
    (folder / "file.npy").write_bytes((folder / "rows.npy").read_bytes())
    (folder / "secret.npy").write_bytes(b"x")
    (folder / "secret.npy").chmod(0)
    os.mkfifo(folder / "pipe.npy")
    (folder / "latin.csv").write_bytes("a,ü\n1,2\n".encode("latin-1"))
    (folder / "empty.npy").write_bytes(b"")
    header = b"{'descr': __import__('os'), 'fortran_order': False, 'shape': (3,)} ("
    (folder / "expression.npy").write_bytes(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header)
    header = b"{'descr': '<f4', 'fortran_order': False, 'shape': (1000000000000, 4)}\n"
    (folder / "huge.npy").write_bytes(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header)
    return folder


@pytest.mark.parametrize("what", COMMANDS)
def test_a_command_ends_in_one_sentence(
    what: str, run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(run)
    assert aeframe_main(COMMANDS[what]) == 2
    err = capsys.readouterr().err
    assert err.splitlines()[-1].startswith("error: ")
    assert "Traceback" not in err


@pytest.mark.parametrize("folder", ["/proc/x", "/dev/null/x", "rows.npy/x", "x" * 300, "dangling/x"])
def test_a_run_folder_that_cannot_be_made_ends_in_one_sentence(
    folder: str, run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(run)
    if not (run / "dangling").is_symlink():
        (run / "dangling").symlink_to(run / "nothing" / "there")
    arguments = [
        "data=numbers",
        "data.path=rows.npy",
        "batch_size=4",
        "max_batches=1",
        "pictures=false",
        f"folder={folder}",
    ]
    code = train_main(arguments)
    err = capsys.readouterr().err
    assert "Traceback" not in err
    assert code == 2, err


def test_load_ends_in_one_sentence(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for path in ("/dev/null", "/dev/null/x", "x" * 5000, str(run / "folder.npy"), "\0"):
        with pytest.raises(AeframeError):
            aeframe.load(path)

    def full(*args: Any) -> Any:
        raise OSError(errno.EIO, "Input/output error", "tensors")

    monkeypatch.setattr("aeframe.model_store.reader.load_tensors", full)
    with pytest.raises(AeframeError, match=r"^the system reports 'Input/output error' at 'tensors'; check the disk$"):
        aeframe.load(run / "run")
