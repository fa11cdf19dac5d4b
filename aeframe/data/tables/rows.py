"""Classes and functions that all table formats share: `Choice` (what to read from a file), `Header` and `Rows`."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from aeframe.data.conditions import missing_labels
from aeframe.data.lazy_rows import LazyRows
from aeframe.data.tables.dialect import TextOptions
from aeframe.errors import AeframeError, did_you_mean
from aeframe.types import Shape

_WORDS_OF_YAML = frozenset({"null", "true", "false", "none", "nan", "inf"})
"""Names that a command line reads as something else."""


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
    id: str | None = None
    """Name of the column (in NPZ the array) that identifies the rows. It is not part of x."""
    others: tuple[str, ...] = ()
    """Names of further columns or arrays to return in `Rows.others`. They are not part of x."""
    text: TextOptions = field(default_factory=TextOptions)
    """How a text file is written."""

    def uses(self, name: str) -> bool:
        """Return whether a column is chosen by its name, in any role."""
        return name in (self.label, self.id, *self.others, *self.exclude, *(self.columns or ()))


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
    names: NDArray[Any] | None = None
    """``(N,)`` strings that identify the rows, such as the index of a data frame; None without them."""
    id_column: str | None = None
    """The column of `names`, empty for one without a name; None without names."""
    others: dict[str, NDArray[Any]] = field(default_factory=dict)
    """The columns ``(N,)`` of `Choice.others`, as numbers or strings; in NPZ also arrays ``(N, columns)``."""
    extras: dict[str, NDArray[Any]] = field(default_factory=dict)
    """``(N, ...)`` each, by name: further entries of `Batch.extras`."""
    bad: dict[int, str] = field(default_factory=dict)
    """A sentence for each row that cannot be used, by its number; see `read_rows`."""
    notes: tuple[str, ...] = ()
    """What was found out, guessed or changed while the rows were read."""

    is_whole: bool = False
    """Whether `index` counts all rows of the file; set here."""

    def __post_init__(self) -> None:
        if self.index is None:
            self.index, self.is_whole = np.arange(len(self.values)), True

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
        return replace(
            self,
            values=self.values.rows(chosen) if isinstance(self.values, LazyRows) else self.values[chosen],
            label=None if self.label is None else self.label[chosen],
            numbers=None if self.numbers is None else self.numbers[chosen],
            # The numbers of many narrow rows take as much memory as a column; the values share them.
            index=chosen if self.is_whole else self.index[chosen],
            is_whole=False,
            names=None if self.names is None else self.names[chosen],
            others={name: values[chosen] for name, values in self.others.items()},
            extras={name: values[chosen] for name, values in self.extras.items()},
            bad={new: self.bad[old] for new, old in enumerate(chosen.tolist()) if old in self.bad} if self.bad else {},
        )

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
        """Yield the values in blocks of rows, each with the number of its first row."""
        yield from (self.values if isinstance(self.values, LazyRows) else LazyRows(self.values)).chunks()

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
        excluded |= {index_of(name, "id") for name in (choice.id, *choice.others) if name is not None}
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


def select_others(file: str, names: Sequence[str], wanted: Sequence[str], what: str = "others") -> list[int]:
    """Return the indices among `names` of further columns; `what` names the option in error messages.

    Raises:
        AeframeError: A column does not exist.
    """
    index = {name: number for number, name in enumerate(names)}
    unknown = next((name for name in wanted if name not in index), None)
    if unknown is not None:
        raise AeframeError(
            f"'{file}' has no column '{unknown}' for {what}{did_you_mean(unknown, names)}; its columns are "
            f"{listed(names)}"
        )
    return [index[name] for name in wanted]


def pasted(names: Iterable[str]) -> str:
    """Return names as a list that can be pasted into a command line, in quotation marks where it needs them."""
    plain = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*")
    quoted = [
        name if plain.fullmatch(name) and name.lower() not in _WORDS_OF_YAML else '"' + name.replace('"', '\\"') + '"'
        for name in names
    ]
    text = f"[{','.join(quoted)}]"
    return f"'{text}'" if any(each.startswith('"') for each in quoted) else text


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

    Strings are replaced by their indices in the sorted strings of all splits; numbers stay. A missing label, None or
    NaN, is -1; among fractions it stays NaN.

    Returns:
        The labels: int64 if all are strings or whole numbers, float32 otherwise. The sorted strings; None if all labels
        are numbers.
    """
    missing = [missing_labels(label) for label in labels]
    present = [label[~gaps] for label, gaps in zip(labels, missing, strict=True)]
    present = [np.array(label.tolist()) if label.dtype == object else label for label in present]
    has_strings = any(label.dtype.kind in "US" and len(label) for label in present)
    if not has_strings:
        numbers = [label if label.dtype.kind in "biuf" else label.astype(np.float64) for label in present]
        whole = all(np.isfinite(label).all() and (label == np.round(label)).all() for label in numbers)
        has_gaps = any(gaps.any() for gaps in missing)
        if not whole:
            return [
                _filled(label, gaps, np.nan, np.float32) for label, gaps in zip(numbers, missing, strict=True)
            ], None
        # -1 can be a label of its own where none is missing.
        if not has_gaps or all(not len(label) or label.min() >= 0 for label in numbers):
            return [_filled(label, gaps, -1, np.int64) for label, gaps in zip(numbers, missing, strict=True)], None
    # A column may hold numbers in one file and other strings in another.
    strings = [np.array(label_texts(label), str) for label in present]
    classes = np.unique(np.concatenate(strings))
    codes = (np.searchsorted(classes, split_strings) for split_strings in strings)
    names = tuple(classes.tolist())
    return [_filled(label, gaps, -1, np.int64) for label, gaps in zip(codes, missing, strict=True)], names


def label_texts(label: NDArray[Any]) -> list[str]:
    """Return labels, of which none is missing, as strings: whole numbers without a decimal point."""
    values = label.tolist()
    return [str(int(value)) if isinstance(value, float) and value.is_integer() else str(value) for value in values]


def _filled(present: NDArray[Any], missing: NDArray[np.bool_], gap: float, dtype: type) -> NDArray[Any]:
    """Return labels of a type, with `gap` where one is missing."""
    labels: NDArray[Any] = np.full(len(missing), gap, dtype)
    labels[~missing] = present
    return labels
