"""Checkpoint files are written completely or not at all, and a changed byte is detected."""

from __future__ import annotations

import errno
import os
import re
from pathlib import Path
from typing import Any

import pytest
import torch

from aeframe.errors import AeframeError
from aeframe.training import checkpoint as checkpoint_module
from aeframe.training.checkpoint import (
    DurableCheckpointIO,
    check_fits,
    partial_of,
    publish_copy,
    read_checkpoint,
    verify,
)
from aeframe.training.checkpoint_files import PREVIOUS
from aeframe.training.checkpoint_hash import DamagedCheckpointError

CONTENT: dict[str, Any] = {
    "aeframe": {"progress": {"batch": 7}},
    "state_dict": {"model.weight": torch.arange(5000.0), "model.bias": torch.ones(3)},
}


def write(path: Path, batch: int = 7) -> Path:
    DurableCheckpointIO().save_checkpoint({**CONTENT, "aeframe": {"progress": {"batch": batch}}}, path)
    return path


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture
def last(tmp_path: Path) -> Path:
    return tmp_path / "run" / "checkpoints" / "last.ckpt"


# -- writing -----------------------------------------------------------------------------------------------------------


def test_a_checkpoint_is_read_as_written(last: Path) -> None:
    write(last)
    for found in (
        read_checkpoint(last),
        DurableCheckpointIO().load_checkpoint(last),
        torch.load(last, weights_only=True),
    ):
        assert found["aeframe"] == {"progress": {"batch": 7}}
        assert torch.equal(found["state_dict"]["model.weight"], CONTENT["state_dict"]["model.weight"])
    assert names(last.parent) == ["last.ckpt"]


def test_torch_maps_the_file_into_memory_too(last: Path) -> None:
    found = torch.load(write(last), weights_only=True, mmap=True)
    assert torch.equal(found["state_dict"]["model.weight"], CONTENT["state_dict"]["model.weight"])


def test_the_previous_checkpoint_is_kept(last: Path) -> None:
    for batch in (1, 2, 3):
        write(last, batch)
    assert names(last.parent) == ["last.ckpt", "last.previous.ckpt"]
    assert [read_checkpoint(path)["aeframe"]["progress"]["batch"] for path in (last, last.with_name(PREVIOUS))] == [
        3,
        2,
    ]


def test_of_other_checkpoints_only_the_newest_is_kept(last: Path) -> None:
    best = last.with_name("best.ckpt")
    for batch in (1, 2):
        write(best, batch)
    assert names(best.parent) == ["best.ckpt"]


class FullDisk:
    """A file of at most `free` bytes."""

    def __init__(self, file: Any, free: int) -> None:
        self._file, self._free = file, free

    def write(self, data: Any) -> int:
        self._free -= len(data)
        if self._free < 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return int(self._file.write(data))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def __enter__(self) -> FullDisk:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()


@pytest.mark.parametrize("free", [0, 100, 15000, 20500])
def test_a_full_disk_leaves_the_previous_checkpoint_and_no_incomplete_one(
    last: Path, free: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(last, 1)
    before = last.read_bytes()
    assert len(before) > 20500
    real = Path.open
    monkeypatch.setattr(Path, "open", lambda self, mode="r", *a, **k: FullDisk(real(self, mode, *a, **k), free))
    with pytest.raises(AeframeError) as caught:
        write(last, 2)
    monkeypatch.undo()
    assert str(caught.value) == (
        f"checkpoint '{last}' cannot be written: No space left on device; the previous one is kept, free "
        f"disk space or restore the permissions of the folder, then resume={last.parent.parent}"
    )
    assert isinstance(caught.value.__cause__, OSError)
    assert names(last.parent) == ["last.ckpt"]
    assert last.read_bytes() == before


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_an_error_at_the_end_of_a_write_leaves_the_previous_checkpoint(
    last: Path, call: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    best = last.with_name("best.ckpt")
    write(best, 1)

    def fail(*_: Any) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, call, fail)
    with pytest.raises(AeframeError, match="cannot be written: Input/output error; the previous one is kept"):
        write(best, 2)
    monkeypatch.undo()
    assert names(best.parent) == ["best.ckpt"]
    assert read_checkpoint(best)["aeframe"]["progress"]["batch"] == 1


def test_other_errors_of_torch_are_raised_unchanged(last: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> None:
        raise RuntimeError("no tensor")

    monkeypatch.setattr(torch, "save", fail)
    with pytest.raises(RuntimeError, match=r"^no tensor$"):
        write(last)
    assert not last.exists()


def test_a_folder_that_cannot_be_made_is_reported(tmp_path: Path) -> None:
    (tmp_path / "run").write_text("a file")
    path = tmp_path / "run" / "checkpoints" / "last.ckpt"
    with pytest.raises(AeframeError, match=re.escape(f"checkpoint '{path}' cannot be written: ")):
        write(path)


def test_a_temporary_file_of_an_interrupted_write_is_replaced(last: Path) -> None:
    last.parent.mkdir(parents=True)
    partial_of(last).write_bytes(b"half" * 100_000)
    write(last)
    assert names(last.parent) == ["last.ckpt"]
    verify(last)


@pytest.mark.parametrize("links", [True, False])
def test_a_copy_is_the_same_checkpoint(last: Path, links: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if not links:
        monkeypatch.setattr(os, "link", lambda *_: (_ for _ in ()).throw(OSError("no links here")))
    write(last, 1)
    best = write(last.with_name("best.ckpt"), 2)
    partial_of(last).write_bytes(b"half")
    publish_copy(best, last)
    assert last.read_bytes() == best.read_bytes()
    assert last.samefile(best) == links
    assert names(last.parent) == ["best.ckpt", "last.ckpt", "last.previous.ckpt"]
    assert read_checkpoint(last.with_name(PREVIOUS))["aeframe"]["progress"]["batch"] == 1
    # A new best does not change the newest.
    write(best, 3)
    assert read_checkpoint(last)["aeframe"]["progress"]["batch"] == 2


def test_a_copy_that_cannot_be_made_is_reported(last: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    best = write(last.with_name("best.ckpt"))

    def fail(*_: Any) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(AeframeError) as caught:
        publish_copy(best, last)
    assert str(caught.value) == (
        f"checkpoint '{last}' cannot be written: Read-only file system; free disk space or restore the "
        f"permissions of the folder, then resume={last.parent.parent}"
    )


# -- reading -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("at", [0.0, 0.002, 0.3, 0.6, 0.99])
def test_a_changed_byte_is_found(last: Path, at: float) -> None:
    content = bytearray(write(last).read_bytes())
    content[int(at * len(content))] ^= 1
    last.write_bytes(content)
    for read in (verify, read_checkpoint, DurableCheckpointIO().load_checkpoint):
        with pytest.raises(DamagedCheckpointError) as caught:
            read(last)
        assert str(caught.value) == (
            f"checkpoint '{last}' is damaged: its bytes changed after it was written, or another program wrote it; "
            "resume from another copy of the run"
        )


@pytest.mark.parametrize("at", range(-79, 0, 13))
def test_a_changed_byte_of_the_hash_is_found(last: Path, at: int) -> None:
    content = bytearray(write(last).read_bytes())
    content[at] ^= 1
    last.write_bytes(content)
    with pytest.raises(DamagedCheckpointError, match="is damaged: "):
        verify(last)


@pytest.mark.parametrize("left", [0, 1, 78, 79, 80, 1000, -80, -79, -1])
def test_a_file_that_was_cut_off_is_found(last: Path, left: int) -> None:
    content = write(last).read_bytes()
    last.write_bytes(content[:left])
    with pytest.raises(DamagedCheckpointError) as caught:
        read_checkpoint(last)
    assert str(caught.value) == (
        f"checkpoint '{last}' is damaged: it was cut off, or another program wrote it; resume from another copy of the "
        "run"
    )


def test_a_file_with_additional_bytes_is_found(last: Path) -> None:
    last.write_bytes(write(last).read_bytes() + b"\n")
    with pytest.raises(DamagedCheckpointError, match="it was cut off, or another program wrote it"):
        verify(last)


def test_a_missing_file_is_reported(last: Path) -> None:
    with pytest.raises(DamagedCheckpointError) as caught:
        verify(last)
    assert str(caught.value) == f"checkpoint '{last}' cannot be read: No such file or directory"


class Foreign:
    """Not a plain value."""


def test_a_file_with_other_objects_is_not_unpickled(last: Path) -> None:
    DurableCheckpointIO().save_checkpoint({**CONTENT, "object": Foreign()}, last)
    with pytest.raises(DamagedCheckpointError) as caught:
        read_checkpoint(last)
    assert str(caught.value) == (
        f"checkpoint '{last}' cannot be read (UnpicklingError); resume from another copy of the run"
    )


@pytest.mark.parametrize("content", [{"state_dict": {}}, {"aeframe": {}}, [1]])
def test_a_checkpoint_of_another_module_is_refused(last: Path, content: Any) -> None:
    DurableCheckpointIO().save_checkpoint(content, last)
    with pytest.raises(AeframeError) as caught:
        read_checkpoint(last)
    assert not isinstance(caught.value, DamagedCheckpointError)
    assert str(caught.value) == (
        f"checkpoint '{last}' is of another module: it holds no training progress of aeframe; resume from the folder "
        "of a run"
    )


# -- another model -----------------------------------------------------------------------------------------------------

OWN = {"model.a": torch.zeros(2, 3), "model.b": torch.zeros(4)}


def test_a_state_of_the_same_shapes_fits() -> None:
    check_fits(OWN, {name: value + 1 for name, value in OWN.items()})


@pytest.mark.parametrize(
    ("found", "message"),
    [
        ({**OWN, "model.b": torch.zeros(5)}, "'b' is (5,) in it and (4,) in the model of this run's config"),
        ({"model.a": OWN["model.a"]}, "'b' is missing in it and (4,) in the model of this run's config"),
        ({**OWN, "model.c": torch.zeros(())}, "'c' is () in it and missing in the model of this run's config"),
    ],
)
def test_the_first_tensor_that_does_not_fit_is_named(found: dict[str, torch.Tensor], message: str) -> None:
    with pytest.raises(AeframeError) as caught:
        check_fits(OWN, found)
    assert str(caught.value) == (f"this checkpoint is of another model: {message}; resume the run that it belongs to")


def test_the_trailer_has_the_documented_size() -> None:
    assert checkpoint_module._TRAILER_SIZE == 79
    assert "79 bytes" in (DurableCheckpointIO.__doc__ or "")
