"""Texts before tokenisation: their origin, name, problem and label, and their splits."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import overload

import torch
from torch import Tensor

from aeframe.data.random_split import RandomSplit
from aeframe.data.split_record import SPLITS, SplitRecord
from aeframe_text.reading import ReadOptions

_SURROGATE = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class Origin:
    """Where texts come from: a file, or a dataset. All its texts share one, so that a text takes little memory."""

    where: str
    """The origin for messages, before the number of a text: ``'train.txt', line``."""
    name: str | None = None
    """The name of the file, from which the texts without a name of their own are named: ``train.txt:3``. None for texts
    without names."""


@dataclass(frozen=True, slots=True)
class Line:
    """One text of a dataset, usable or not."""

    text: str
    origin: Origin
    number: int | None = None
    """The number of the text in its origin, such as its line from 1; None for an origin of one text."""
    problem: str | None = None
    """Why the text cannot be used, for messages: ``is empty``; None for a usable text."""
    label: str | int | None = None
    """The name of the class, or the code of the label; None for a text without label."""
    own_name: str | None = None
    """The name that the data have for the text, such as that of a molecule."""

    @property
    def where(self) -> str:
        """The place of the text, for messages: ``'train.txt', line 3``."""
        return self.origin.where if self.number is None else f"{self.origin.where} {self.number}"

    @property
    def name(self) -> str | None:
        """The name of the text in outputs: its own, or ``train.txt:3``; None for texts without names."""
        if self.own_name is not None or self.origin.name is None:
            return self.own_name
        return self.origin.name if self.number is None else f"{self.origin.name}:{self.number}"


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
    reading: ReadOptions = field(default_factory=ReadOptions, kw_only=True)
    """How the texts were read from files; a trained model reads and writes files in the same way."""
    label_names: tuple[str, ...] | None = field(default=None, kw_only=True)
    """The names of the labels in the order of their codes, if lines have codes; empty if these are numbers that have no
    names. None takes the sorted classes of the training texts."""


def problem_of(text: str) -> str | None:
    """Return why a text cannot be used, whatever the tokeniser; None for a usable one."""
    if not text or text.isspace():
        return "is empty"
    # JSON and programs can have half of a surrogate pair, which no encoding can write.
    if not text.isascii() and (found := _SURROGATE.search(text)):
        return f"has a lone surrogate, character {found.start() + 1}"
    return None


def sorted_labels(labels: Iterable[str]) -> tuple[str, ...]:
    """Return the names of classes in the order of their codes: whole numbers by value, others alphabetically."""
    names = set(labels)
    if all(re.fullmatch(r"[+-]?[0-9]{1,18}", name) for name in names):
        return tuple(sorted(names, key=lambda name: (int(name), name)))
    return tuple(sorted(names))


def complete_splits(
    present: Mapping[str, Sequence[Line]],
    split: RandomSplit,
    record: SplitRecord,
    *,
    reading: ReadOptions | None = None,
    keys: Mapping[str, Tensor] | None = None,
) -> TextSplits:
    """Return the texts of the three splits, in the order of the file.

    Args:
        present: The texts of each split that the dataset has: at least ``train``.
        split: Draws the missing splits from ``train``.
        record: `Dataset.split_record`, which stores the split, or returns that of an earlier run.
        reading: See `TextSplits`.
        keys: Keys ``(N,)`` of the texts of each split (see `SplitRecord`); None takes their positions.

    Raises:
        AeframeError: See `RandomSplit.indices`.
    """
    if keys is None:
        keys = {name: torch.arange(len(lines)) for name, lines in present.items()}
    indices = split.indices(keys, record)
    texts = [[present.get(name, present["train"])[row] for row in indices[name].tolist()] for name in SPLITS]
    return TextSplits(*texts, reading=reading or ReadOptions())
