"""What is read from a file of numbers: rows, the names of their columns, and where each row stands in the file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from aeframe.errors import AeframeError, did_you_mean
from aeframe.types import Shape


@dataclass(frozen=True, slots=True)
class Choice:
    """Which of a file's contents are asked for."""

    key: str | None = None
    """The array of an NPZ file."""
    label: str | None = None
    """The column, or the array of an NPZ file, that is no part of x."""
    columns: tuple[str, ...] | None = None
    """The columns of x, in this order; all but the label where none are named."""


@dataclass(frozen=True, slots=True)
class Header:
    """What a file says of each row before it is read."""

    shape: Shape
    columns: tuple[str, ...] | None = None
    """Names of the D columns; None where the file names none."""


@dataclass(slots=True)
class Rows:
    """Some rows of a file, or of a data set that is embedded."""

    values: NDArray[Any]
    """``(N, *shape)``, of any real dtype; NaN where a value is missing."""
    origin: str
    """The file, as messages call it."""
    columns: tuple[str, ...] | None = None
    label: NDArray[Any] | None = None
    """``(N,)`` numbers or strings."""
    numbers: NDArray[np.int64] | None = None
    """``(N,)`` the number of each row in the file, as messages give it; by default its position."""
    index: NDArray[np.int64] | None = None
    """``(N,)`` the position of each row in the file, from 0; by default all of them in order."""
    place: Literal["row", "line"] = "row"
    """What is counted: rows from 0, or a text file's lines from 1."""

    def __post_init__(self) -> None:
        if self.index is None:
            self.index = np.arange(len(self.values))

    def __len__(self) -> int:
        return len(self.values)

    @property
    def header(self) -> Header:
        """The shape and the names that all rows have."""
        return Header(tuple(self.values.shape[1:]), self.columns)

    def take(self, chosen: NDArray[np.int64]) -> Rows:
        """Return some of the rows, which remember where they come from."""
        assert self.index is not None
        label = None if self.label is None else self.label[chosen]
        numbers = None if self.numbers is None else self.numbers[chosen]
        return Rows(self.values[chosen], self.origin, self.columns, label, numbers, self.index[chosen], self.place)

    def where(self, row: int, element: Sequence[int] = ()) -> str:
        """Say where a value stands: ``"rows.csv, line 7, column 'age'"``."""
        numbers = self.numbers if self.numbers is not None else self.index
        assert numbers is not None
        place = f"{self.origin}, {self.place} {int(numbers[row])}"
        if len(element) == 1:
            column = element[0]
            return f"{place}, column {repr(self.columns[column]) if self.columns else column}"
        return f"{place}, element {tuple(int(i) for i in element)}" if element else place


def pick(file: str, names: Sequence[str], choice: Choice) -> tuple[list[int], int | None]:
    """Return the positions of the columns of x, and of the label.

    Raises:
        AeframeError: A column that is not there, is there twice, or is both label and x.
    """

    def position(name: str, what: str) -> int:
        if name not in names:
            raise AeframeError(
                f"'{file}' has no column '{name}' for {what}{did_you_mean(name, names)}; "
                f"its columns are {listed(names)}"
            )
        return list(names).index(name)

    twice = next((name for name in names if list(names).count(name) > 1), None)
    if twice is not None:
        raise AeframeError(f"'{file}' has two columns named '{twice}'; rename one")
    label = None if choice.label is None else position(choice.label, "label")
    if choice.columns is None:
        chosen = [number for number in range(len(names)) if number != label]
    else:
        chosen = [position(name, "columns") for name in choice.columns]
    if label in chosen:
        raise AeframeError(
            f"column '{choice.label}' of '{file}' is both the label and one of columns; take it from one"
        )
    if not chosen:
        raise AeframeError(f"'{file}' has no column left for x; its columns are {listed(names)}")
    unnamed = next((number for number in chosen if not names[number].strip()), None)
    if unnamed is not None:
        raise AeframeError(
            f"column {unnamed} of '{file}' has no name in the header; name it, or choose others with columns"
        )
    return chosen, label


def listed(names: Sequence[str]) -> str:
    """Write names for a message, the first dozen of many."""
    return ", ".join(names[:12]) + (f", ... ({len(names)} in all)" if len(names) > 12 else "")


def check_sizes(file: str, rows: Rows) -> Rows:
    """Refuse a file without a row or without a number in its rows."""
    if len(rows) == 0 or 0 in rows.values.shape:
        raise AeframeError(
            f"'{file}' holds no samples (an array of shape {rows.values.shape}), expected rows of numbers"
        )
    return rows


def encode_labels(*labels: NDArray[Any]) -> list[NDArray[Any]]:
    """Make labels numeric in the same way in every split: whole numbers stay, strings become classes in sorted order.

    Returns:
        int64 where all labels are whole numbers or strings, float32 otherwise.
    """
    if any(label.dtype.kind in "US" for label in labels):
        # A column that looks like numbers in one file and like words in another is words.
        words = [label.astype(str) for label in labels]
        classes = np.unique(np.concatenate(words))
        return [np.searchsorted(classes, word) for word in words]
    whole = all(np.isfinite(label).all() and (label == np.round(label)).all() for label in labels)
    return [label.astype(np.int64 if whole else np.float32) for label in labels]
