"""What a run makes of bad data: one sentence and nothing written, or a list of what was left out."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Sequence
from pathlib import Path

from aeframe.experiment.main import main
from aeframe.testing.check import expect

_QUICK = ("max_epochs=1", "max_batches=2", "pictures=false", "trainer.accelerator=cpu", "trainer.threads=1")


def refusal(folder: Path, words: Sequence[str]) -> str:
    """Run ``aeframe-train`` in `folder` on what it must refuse, and return the sentence.

    Raises:
        CheckFailedError: The run went on, said more or less than one line, or changed anything in `folder`.
    """
    before, (code, said) = _files(folder), _train(folder, words)
    expect(code == 2, f"expected the run to be refused with 2, it ended with {code}:\n{said}")
    expect(
        said.startswith("error: ") and said.count("\n") == 1, f"expected one line that begins 'error: ', found {said!r}"
    )
    changed = sorted(str(path) for path, _ in _files(folder) ^ before)
    expect(not changed, f"the refused run changed {', '.join(changed)}")
    return said.removeprefix("error: ").rstrip("\n")


def left_out(folder: Path, words: Sequence[str]) -> list[str]:
    """Run ``aeframe-train`` in `folder` for two batches, and return what its run folder lists as skipped.

    Raises:
        CheckFailedError: The run did not go on to its end, or lists nothing.
    """
    code, said = _train(folder, [*words, "folder=run"])
    expect(code == 0, f"expected the run to go on, it ended with {code}:\n{said}")
    expect((folder / "run" / "model" / "model.safetensors").is_file(), "the run saved no model")
    listed = folder / "run" / "skipped.txt"
    expect(listed.is_file(), "the run folder has no skipped.txt")
    return listed.read_text(encoding="utf-8").splitlines()


def _train(folder: Path, words: Sequence[str]) -> tuple[int, str]:
    said = io.StringIO()
    with contextlib.chdir(folder), contextlib.redirect_stderr(said):
        return main([*_QUICK, *words]), said.getvalue()


def _files(folder: Path) -> set[tuple[Path, bytes | None]]:
    return {(path, path.read_bytes() if path.is_file() else None) for path in folder.rglob("*")}
