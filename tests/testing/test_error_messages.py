"""`run_expecting_error` and `run_expecting_skipped` accept one-line errors and lists of skipped samples only."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from aeframe.testing import error_messages
from aeframe.testing.error_messages import run_expecting_error, run_expecting_skipped
from aeframe.testing.expectations import CheckFailedError


@pytest.mark.parametrize(
    ("stderr", "code", "writes", "message"),
    [
        ("error: no\n", 0, False, "expected the run to end with exit code 2, found 0:\nerror: no\n"),
        ("error: a\nb\n", 2, False, r"expected one line that begins with 'error: ', found 'error: a\nb\n'"),
        ("warning: no\n", 2, False, r"expected one line that begins with 'error: ', found 'warning: no\n'"),
        ("error: no\n", 2, True, "the rejected run changed "),
    ],
)
def test_run_expecting_error_fails_without_a_proper_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stderr: str, code: int, writes: bool, message: str
) -> None:
    def main(overrides: Sequence[str]) -> int:
        sys.stderr.write(stderr)
        if writes:
            Path("new.txt").touch()
        return code

    monkeypatch.setattr(error_messages, "main", main)
    with pytest.raises(CheckFailedError, match=f"^{re.escape(message)}"):
        run_expecting_error(tmp_path, [])


def test_an_error_is_returned_and_a_run_without_skipped_samples_fails(tmp_path: Path) -> None:
    assert run_expecting_error(tmp_path, ["data=numbers", "data.path=no.csv"]) == "there is no file 'no.csv'"
    with pytest.raises(CheckFailedError, match=r"^the run folder has no skipped\.txt$"):
        run_expecting_skipped(tmp_path, ["data=breast_cancer"])
