"""Texts before they are tokens: each with its place in its file, and what is wrong with it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch

from aeframe.data.random_split import RandomSplit
from aeframe.data.split_record import SPLITS, SplitRecord


@dataclass(frozen=True, slots=True)
class Line:
    """One text of a file."""

    text: str
    where: str
    """``'train.txt', line 3``: what a sentence about it begins with."""
    problem: str | None = None
    """What is wrong with it, where it cannot be used: ``is empty``."""
    label: str | None = None


@dataclass(frozen=True, slots=True)
class TextSplits:
    """What the modality ``text`` prepares."""

    train: Sequence[Line]
    validation: Sequence[Line]
    test: Sequence[Line]
    column: str = field(default="text", kw_only=True)
    """What they stand under in JSONL, CSV and TSV; files that a model reads and writes later have it too."""


def complete_splits(
    present: Mapping[str, Sequence[Line]], split: RandomSplit, record: SplitRecord, *, column: str = "text"
) -> TextSplits:
    """Return the texts of the three splits, in the order of the file.

    Args:
        present: The texts of each split that the dataset has: at least ``train``.
        split: Draws the missing splits from ``train``.
        record: `Dataset.split_record`, which stores the split, or returns that of an earlier run.
        column: See `TextSplits`.

    Raises:
        AeframeError: See `RandomSplit.indices`.
    """
    indices = split.indices({name: torch.arange(len(lines)) for name, lines in present.items()}, record)
    texts = [[present.get(name, present["train"])[row] for row in indices[name].tolist()] for name in SPLITS]
    return TextSplits(*texts, column=column)
