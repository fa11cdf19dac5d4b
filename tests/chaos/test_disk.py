"""Disk errors end a run with one sentence and exit code 2, and the run can be resumed afterwards."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.chaos.children import Child, Operations, start
from tests.chaos.conftest import Uninterrupted

pytestmark = pytest.mark.slow

NAME = "aae"
EVERY = int(os.environ.get("AEFRAME_CHAOS_EVERY", "7"))
ERRORS = {"disk full": errno.ENOSPC, "read-only": errno.EROFS, "no permission": errno.EACCES}


def fail_from(run: Path, operation: int, number: int) -> Callable[[], None]:
    """Return a function that makes all operations on files of a run fail from number `operation` on."""
    operations = Operations(run)

    def act() -> None:
        if operations.number >= operation:
            raise OSError(number, os.strerror(number), str(run))

    operations.at_each = act
    return operations.install


def assert_one_sentence(child: Child) -> str:
    text = child.text()
    assert "Traceback" not in text, text
    (sentence,) = [line for line in text.splitlines() if line.startswith("error: ")]
    return sentence


@pytest.mark.parametrize("what", ERRORS)
def test_a_run_recovers_from_a_disk_error_at_any_operation(
    what: str, uninterrupted: Callable[[str], Uninterrupted]
) -> None:
    whole = uninterrupted(NAME)
    for operation in range(1 + len(what) % EVERY, whole.num_operations, EVERY):
        run = whole.folder / f"{what.replace(' ', '-')}-{operation}"
        child = start([*whole.overrides, f"folder={run}"], whole.folder, fail_from(run, operation, ERRORS[what]))
        assert child.wait() == 2, (operation, child.text())
        sentence = assert_one_sentence(child)
        assert os.strerror(ERRORS[what]) in sentence, sentence
        assert "resume=" in sentence or "run the command again" in sentence, sentence
        whole.check_recovery(run)
        shutil.rmtree(run)


def test_a_disk_that_is_full_during_a_checkpoint_leaves_the_previous_one(
    uninterrupted: Callable[[str], Uninterrupted],
) -> None:
    whole = uninterrupted(NAME)
    run = whole.folder / "middle"

    def fill() -> None:
        from aeframe.training.checkpoint import _HashingFile

        write, written = _HashingFile.write, [0]

        def limited(self: _HashingFile, data: object) -> int:
            written[0] += 1
            if written[0] > 150:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return write(self, data)

        _HashingFile.write = limited  # type: ignore[method-assign]

    child = start([*whole.overrides, f"folder={run}"], whole.folder, fill)
    assert child.wait() == 2, child.text()
    assert assert_one_sentence(child) == (
        f"error: checkpoint '{run}/checkpoints/last.ckpt' cannot be written: No space left on device; the previous "
        f"one is kept, free disk space or restore the permissions of the folder, then resume={run}"
    )
    whole.check_recovery(run)


def test_training_continues_if_the_log_cannot_be_written(uninterrupted: Callable[[str], Uninterrupted]) -> None:
    whole = uninterrupted(NAME)
    run = whole.folder / "no-log"

    def refuse() -> None:
        from aeframe.runs.records import Records

        def append(*_: object, **__: object) -> None:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        Records.append = append  # type: ignore[method-assign]

    child = start([*whole.overrides, f"folder={run}"], whole.folder, refuse)
    assert child.wait() == 0, child.text()
    assert child.text().count("warning: metrics are no longer written to") == 1
    assert (run / "model" / "model.safetensors").read_bytes() == whole.result["model/model.safetensors"]


@pytest.mark.parametrize(
    ("place", "sentence"),
    [
        ("/dev/null/x", "Not a directory"),
        ("/proc/x", "No such file or directory"),
    ],
)
def test_a_folder_that_cannot_be_created_is_an_error(
    place: str, sentence: str, uninterrupted: Callable[[str], Uninterrupted]
) -> None:
    whole = uninterrupted(NAME)
    child = start([*whole.overrides, f"folder={place}"], whole.folder)
    assert child.wait() == 2, child.text()
    assert assert_one_sentence(child).startswith(f"error: run '{place}' stopped: {sentence}")


def test_a_full_temporary_folder_is_not_used(uninterrupted: Callable[[str], Uninterrupted], tmp_path: Path) -> None:
    whole = uninterrupted(NAME)
    run = whole.folder / "no-temporary"

    def nowhere() -> None:
        import tempfile

        tempfile.tempdir = os.environ["TMPDIR"] = str(tmp_path / "missing")

    child = start([*whole.overrides, f"folder={run}"], whole.folder, nowhere)
    assert child.wait() == 0, child.text()
    whole.check_recovery(run)


def test_the_error_names_a_table_that_is_not_text(uninterrupted: Callable[[str], Uninterrupted]) -> None:
    whole = uninterrupted(NAME)
    run = whole.kill_at(whole.num_operations // 2)
    metrics = run / "metrics.csv"
    content = metrics.read_bytes()
    metrics.write_bytes(content[:100] + b"\xff\xfe\n" + content[100:])
    child = start([f"resume={run}"], whole.folder)
    assert child.wait() == 2, child.text()
    sentence = assert_one_sentence(child)
    assert sentence.startswith(f"error: '{metrics}' cannot be read as a table of measurements (")
    assert sentence.endswith("; move it out of the run folder")
    metrics.write_bytes(content)
    whole.check_recovery(run)


@pytest.mark.parametrize("what", ["run", "checkpoints"])
def test_a_removed_run_folder_ends_the_run_with_one_sentence(
    what: str, uninterrupted: Callable[[str], Uninterrupted]
) -> None:
    whole = uninterrupted(NAME)
    run = whole.folder / f"vanished-{what}"

    def remove_later() -> None:
        from aeframe.training.module import AutoencoderModule as Module

        train_on = Module.train_on

        def remove(self: Module, each: object) -> object:
            if self.progress.batch == 12:
                shutil.rmtree(run if what == "run" else run / "checkpoints")
            return train_on(self, each)  # type: ignore[arg-type]

        Module.train_on = remove  # type: ignore[method-assign,assignment]

    child = start([*whole.overrides, f"folder={run}"], whole.folder, remove_later)
    assert child.wait() == 2, child.text()
    assert assert_one_sentence(child) == (
        f"error: checkpoint '{run}/checkpoints/last.ckpt' cannot be written: its folder was removed; restore it, then "
        f"resume={run}"
    )
