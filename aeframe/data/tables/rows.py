"""Classes and functions that all table formats share: `Choice` (what to read from a file), `Header` and `Rows`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from aeframe.data.lazy_rows import LazyRows
from aeframe.errors import AeframeError, did_you_mean
from aeframe.types import Shape


@dataclass(frozen=True, slots=True)
class Choice:
    """Which array, columns and label to read from a file."""

    key: str | None = None
    """Name of the array in an NPZ file."""
    label: str | None = None
    """Name of the label: a column, or an array of an NPZ file. It is not part of x."""
    columns: tuple[str, ...] | None = None
    """Names of the columns of x, in this order; None for all columns but the label and `exclude`."""
    exclude: tuple[str, ...] = ()
    """Names of columns that are not read."""
    header: bool | None = None
    """Whether the first line of a text file names the columns; None decides by the first lines."""


@dataclass(frozen=True, slots=True)
class Header:
    """Shape of a row and names of its columns, which are known before the rows are read."""

    shape: Shape
    columns: tuple[str, ...] | None = None
    """Names of the D columns; None if the file has no header."""


@dataclass(slots=True)
class Rows:
    """Rows of a file or of a bundled dataset."""

    values: NDArray[Any] | LazyRows
    """``(N, *shape)``, of any real dtype; missing values are NaN."""
    origin: str
    """Name of the file in error messages."""
    columns: tuple[str, ...] | None = None
    """Names of the D columns; None if the file has no header."""
    label: NDArray[Any] | None = None
    """``(N,)`` numbers or strings."""
    numbers: NDArray[np.int64] | None = None
    """``(N,)`` number of each row in error messages, as counted by `place`; by default `index`."""
    index: NDArray[np.int64] | None = None
    """``(N,)`` index of each row in the file, from 0; by default 0 to N - 1."""
    place: Literal["row", "line"] = "row"
    """What `numbers` count: rows from 0, or lines of a text file from 1."""

    def __post_init__(self) -> None:
        if self.index is None:
            self.index = np.arange(len(self.values))

    def __len__(self) -> int:
        return len(self.values)

    @property
    def header(self) -> Header:
        """Shape and column names of the rows."""
        return Header(tuple(self.values.shape[1:]), self.columns)

    def rows(self, index: Tensor) -> Rows:
        """Return the rows at `index` ``(n,)``; they keep their numbers in error messages."""
        assert self.index is not None
        chosen = index.numpy()
        label = None if self.label is None else self.label[chosen]
        numbers = None if self.numbers is None else self.numbers[chosen]
        values = self.values.rows(chosen) if isinstance(self.values, LazyRows) else self.values[chosen]
        return Rows(values, self.origin, self.columns, label, numbers, self.index[chosen], self.place)

    def with_columns(self, chosen: list[int], columns: tuple[str, ...]) -> Rows:
        """Return the columns at `chosen` of rows ``(N, D)``, under the names `columns`."""
        if isinstance(self.values, LazyRows):
            return replace(self, values=self.values.with_columns(np.array(chosen)), columns=columns)
        values = self.values[:, chosen]
        return replace(self, values=values, columns=columns)

    @property
    def array(self) -> NDArray[Any]:
        """The values as an array in memory; lazy values are read now."""
        return self.values[:] if isinstance(self.values, LazyRows) else self.values

    def chunks(self) -> Iterator[tuple[int, NDArray[Any]]]:
        """Yield the values in blocks of rows, each with the number of its first row; an array is one block."""
        if isinstance(self.values, LazyRows):
            yield from self.values.chunks()
        else:
            yield 0, self.values

    def where(self, row: int, element: Sequence[int] = ()) -> str:
        """Return how error messages name a row or value: ``"rows.csv, line 7, column 'age'"``."""
        numbers = self.numbers if self.numbers is not None else self.index
        assert numbers is not None
        place = f"{self.origin}, {self.place} {int(numbers[row])}"
        if len(element) == 1:
            column = element[0]
            return f"{place}, column {repr(self.columns[column]) if self.columns else column}"
        return f"{place}, element {tuple(int(i) for i in element)}" if element else place


def select_columns(file: str, names: Sequence[str], choice: Choice) -> tuple[list[int], int | None]:
    """Return the indices among `names` of the columns of x that `choice` names, and that of the label or None.

    Raises:
        AeframeError: A column does not exist, occurs twice, has no name, or is both label and part of x.
    """
    index = {name: number for number, name in enumerate(names)}

    def index_of(name: str, what: str) -> int:
        if name not in index:
            raise AeframeError(
                f"'{file}' has no column '{name}' for {what}{did_you_mean(name, names)}; "
                f"its columns are {listed(names)}"
            )
        return index[name]

    if len(index) < len(names):
        duplicate = next(name for name, count in Counter(names).items() if count > 1)
        raise AeframeError(f"'{file}' has two columns named '{duplicate}'; rename one")
    label = None if choice.label is None else index_of(choice.label, "label")
    if choice.columns is None:
        excluded = {index_of(name, "exclude") for name in choice.exclude}
        chosen = [number for number in range(len(names)) if number != label and number not in excluded]
    else:
        chosen = [index_of(name, "columns") for name in choice.columns]
    if label in chosen:
        raise AeframeError(
            f"column '{choice.label}' of '{file}' is both the label and one of columns; take it from one"
        )
    if not chosen:
        raise AeframeError(f"'{file}' has no column left for x; its columns are {listed(names)}")
    unnamed = next((number for number in chosen if not names[number].strip()), None)
    if unnamed is not None:
        raise AeframeError(
            f"column {unnamed} of '{file}' has no name in the header; name it, or leave it out with exclude=['']"
        )
    return chosen, label


def listed(names: Sequence[str]) -> str:
    """Return names as a list for error messages, at most a dozen."""
    return ", ".join(names[:12]) + (f", ... ({len(names)} in all)" if len(names) > 12 else "")


def check_not_empty(file: str, rows: Rows) -> Rows:
    """Return `rows`; raise AeframeError if there are none or they have no values."""
    if len(rows) == 0 or 0 in rows.values.shape:
        raise AeframeError(
            f"'{file}' holds no samples (an array of shape {rows.values.shape}), expected rows of numbers"
        )
    return rows


def encode_labels(*labels: NDArray[Any]) -> tuple[list[NDArray[Any]], tuple[str, ...] | None]:
    """Return the labels of several splits as numbers, encoded in the same way in every split, and their names.

    Strings are replaced by their indices in the sorted strings of all splits; numbers stay.

    Returns:
        The labels: int64 if all are strings or whole numbers, float32 otherwise. The sorted strings; None if all labels
        are numbers.
    """
    if any(label.dtype.kind in "US" for label in labels):
        # A column may hold numbers in one file and other strings in another.
        strings = [label.astype(str) for label in labels]
        classes = np.unique(np.concatenate(strings))
        names = tuple(classes.tolist())
        return [np.searchsorted(classes, split_strings) for split_strings in strings], names
    whole = all(np.isfinite(label).all() and (label == np.round(label)).all() for label in labels)
    return [label.astype(np.int64 if whole else np.float32) for label in labels], None
