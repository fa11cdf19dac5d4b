"""Preparing texts with the vocabulary and the split of an earlier run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from aeframe.testing.saved_state import assert_state_restores_data
from aeframe_text.modality import Text
from aeframe_text.sentences import Sentences
from aeframe_text.text_files import TextFiles

LINES = [f"{who} {what} {number}" for number in range(5) for who in ("cat", "dog") for what in ("sees", "hears")]


@pytest.mark.parametrize("options", [{}, {"buckets": True}, {"tokeniser": "bpe", "vocabulary_size": 280}])
def test_the_dataset_sentences(options: dict[str, Any]) -> None:
    assert_state_restores_data(lambda: Text(**options), lambda: Sentences(size=60))


def test_lines_added_to_the_file_change_neither_vocabulary_nor_split(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("\n".join(LINES) + "\n")
    added = "\n".join([*LINES, *[f"a much longer sentence about zebra {n}" for n in range(20)]]) + "\n"
    splits = assert_state_restores_data(
        lambda: Text(max_length=None), lambda: TextFiles(path=path), change=lambda: path.write_text(added)
    )
    assert len(splits.train) == 16
