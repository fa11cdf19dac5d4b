"""Texts before tokenisation: their origin, problem and label, and their splits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import overload

import torch
from torch import Tensor

from aeframe.data.random_split import RandomSplit
from aeframe.data.split_record import SPLITS, SplitRecord


@dataclass(frozen=True, slots=True)
class Line:
    """One text of a dataset, usable or not."""

    text: str
    where: str
    """The origin, for messages: ``'train.txt', line 3``."""
    problem: str | None = None
    """Why the text cannot be used, for messages: ``is empty``; None for a usable text."""
    label: str | int | None = None
    """The name of the class, or the code of the label."""


class Lines(Sequence[Line]):
    """N lines, which can be selected by index."""

    def __init__(self, lines: Sequence[Line]) -> None:
        self._lines = lines

    def __len__(self) -> int:
        return len(self._lines)

    @overload
    def __getitem__(self, number: int) -> Line: ...

    @overload
    def __getitem__(self, number: slice) -> Sequence[Line]: ...

    def __getitem__(self, number: int | slice) -> Line | Sequence[Line]:
        return self._lines[number]

    def rows(self, index: Tensor) -> Lines:
        """Return the lines at the positions `index` ``(n,)``."""
        return Lines([self._lines[number] for number in index.tolist()])


@dataclass(frozen=True, slots=True)
class TextSplits:
    """The raw splits that a dataset of modality ``text`` loads."""

    train: Sequence[Line]
    validation: Sequence[Line]
    test: Sequence[Line]
    column: str = field(default="text", kw_only=True)
    """The JSON key or column that holds the text; a trained model reads and writes files with the same one."""
    label: str | None = field(default=None, kw_only=True)
    """The JSON key or column that holds the label; None without labels, and for texts in memory."""
    label_names: tuple[str, ...] | None = field(default=None, kw_only=True)
    """The names of the labels in the order of their codes, if lines have codes; empty if these are numbers that have no
    names. None takes the sorted classes of the training texts."""


def complete_splits(
    present: Mapping[str, Sequence[Line]],
    split: RandomSplit,
    record: SplitRecord,
    *,
    column: str = "text",
    label: str | None = None,
) -> TextSplits:
    """Return the texts of the three splits, in the order of the file.

    Args:
        present: The texts of each split that the dataset has: at least ``train``.
        split: Draws the missing splits from ``train``.
        record: `Dataset.split_record`, which stores the split, or returns that of an earlier run.
        column: See `TextSplits`.
        label: See `TextSplits`.

    Raises:
        AeframeError: See `RandomSplit.indices`.
    """
    indices = split.indices({name: torch.arange(len(lines)) for name, lines in present.items()}, record)
    texts = [[present.get(name, present["train"])[row] for row in indices[name].tolist()] for name in SPLITS]
    return TextSplits(*texts, column=column, label=label)
