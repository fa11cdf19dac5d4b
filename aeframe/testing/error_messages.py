"""Run ``aeframe-train`` on bad data, and return its error message or its list of skipped samples."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Sequence
from pathlib import Path

from aeframe.experiment.main import main
from aeframe.testing.expectations import expect

_QUICK = ("max_epochs=1", "max_batches=2", "pictures=false", "trainer.accelerator=cpu", "trainer.threads=1")


def run_expecting_error(folder: Path, overrides: Sequence[str]) -> str:
    """Run ``aeframe-train`` in `folder` with a config that it must reject, and return the error message.

    Raises:
        CheckFailedError: The exit code is not 2, stderr is not one line, or a file in `folder` changed.
    """
    before = _files(folder)
    code, stderr = _train(folder, overrides)
    expect(code == 2, f"expected the run to end with exit code 2, found {code}:\n{stderr}")
    expect(
        stderr.startswith("error: ") and stderr.count("\n") == 1,
        f"expected one line that begins with 'error: ', found {stderr!r}",
    )
    changed = sorted(str(path) for path, _ in _files(folder) ^ before)
    expect(not changed, f"the rejected run changed {', '.join(changed)}")
    return stderr.removeprefix("error: ").rstrip("\n")


def run_expecting_skipped(folder: Path, overrides: Sequence[str]) -> list[str]:
    """Run ``aeframe-train`` in `folder` for two batches, and return the lines of the run's ``skipped.txt``.

    Raises:
        CheckFailedError: The run fails, saves no model, or lists no skipped sample.
    """
    code, stderr = _train(folder, [*overrides, "folder=run"])
    expect(code == 0, f"expected the run to succeed, found exit code {code}:\n{stderr}")
    expect((folder / "run" / "model" / "model.safetensors").is_file(), "the run saved no model")
    skipped = folder / "run" / "skipped.txt"
    expect(skipped.is_file(), "the run folder has no skipped.txt")
    return skipped.read_text(encoding="utf-8").splitlines()


def _train(folder: Path, overrides: Sequence[str]) -> tuple[int, str]:
    """Return the exit code and stderr of a short run."""
    stderr = io.StringIO()
    with contextlib.chdir(folder), contextlib.redirect_stderr(stderr):
        return main([*_QUICK, *overrides]), stderr.getvalue()


def _files(folder: Path) -> set[tuple[Path, bytes | None]]:
    """Return every path below `folder` with the content of the file; None for a folder."""
    return {(path, path.read_bytes() if path.is_file() else None) for path in folder.rglob("*")}
