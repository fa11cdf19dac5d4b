"""What looks at a refusal must see that there was none, that it said too much, or that something was written."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from aeframe.testing import error_messages
from aeframe.testing.check import CheckFailedError
from aeframe.testing.error_messages import left_out, refusal


@pytest.mark.parametrize(
    ("said", "code", "written", "sentence"),
    [
        ("error: no\n", 0, False, "expected the run to be refused with 2, it ended with 0:\nerror: no\n"),
        ("error: no\nnor that\n", 2, False, r"expected one line that begins 'error: ', found 'error: no\nnor that\n'"),
        ("warning: no\n", 2, False, r"expected one line that begins 'error: ', found 'warning: no\n'"),
        ("error: no\n", 2, True, "the refused run changed "),
    ],
)
def test_no_proper_refusal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: str, code: int, written: bool, sentence: str
) -> None:
    def main(words: Sequence[str]) -> int:
        sys.stderr.write(said)
        if written:
            Path("new.txt").touch()
        return code

    monkeypatch.setattr(error_messages, "main", main)
    with pytest.raises(CheckFailedError, match=f"^{re.escape(sentence)}"):
        refusal(tmp_path, [])


def test_a_refusal_and_a_run_that_leaves_nothing_out(tmp_path: Path) -> None:
    assert refusal(tmp_path, ["data=table", "data.path=no.csv"]) == "there is no file 'no.csv'"
    with pytest.raises(CheckFailedError, match=r"^the run folder has no skipped\.txt$"):
        left_out(tmp_path, ["data=breast_cancer"])
