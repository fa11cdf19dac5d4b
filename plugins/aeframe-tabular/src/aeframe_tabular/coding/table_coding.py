"""`TableCoding`: the mapping between a typed frame and the tensors x and mask."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from aeframe.errors import AeframeError, did_you_mean
from aeframe.types import Domain
from aeframe_tabular.coding.categories import CategoryCoding
from aeframe_tabular.coding.column_coding import ColumnCoding, Element
from aeframe_tabular.coding.dates import DateCoding
from aeframe_tabular.coding.numbers import NumberCoding
from aeframe_tabular.coding.options import CodingOptions
from aeframe_tabular.column import Column

_ROWS = 16_384
"""Rows that are coded at once, so that the values of a column stay in the cache of the processor."""

Number = TypeVar("Number", np.float32, np.float64)


class TableCoding:
    """The mapping between a typed frame of N rows and x (N, D) float32 with its mask (N, D) bool.

    The elements are those of the used columns, in their order; those of a column are adjacent. `elements` and `classes`
    are available at once; `learn` or `load_state` precedes `encode` and `decode`.

    Args:
        columns: Columns of the table; those that are left out are ignored.
        options: Options of the coding.
    """

    def __init__(self, columns: Sequence[Column], options: CodingOptions | None = None) -> None:
        self.options = options or CodingOptions()
        self.columns = tuple(column for column in columns if column.is_used)
        if not self.columns:
            raise AeframeError("the table has no column that can be modelled: all are constants, identifiers or text")
        self._check_names()
        self.codings = tuple(_coding(column, index, self.options) for index, column in enumerate(self.columns))
        self.elements: tuple[Element, ...] = tuple(element for coding in self.codings for element in coding.elements)
        counts = [len(coding.elements) for coding in self.codings]
        self._starts = np.cumsum([0, *counts[:-1]])
        self._slices = tuple(slice(int(a), int(a) + n) for a, n in zip(self._starts, counts, strict=True))

    @property
    def classes(self) -> tuple[int, ...]:
        """The number of classes of each element, 0 for a real one."""
        return tuple(element.classes for element in self.elements)

    @property
    def domain(self) -> Domain:
        """The values of the elements, those of a column in one group."""
        return Domain.mixed(self.classes, [len(coding.elements) for coding in self.codings])

    def learn(self, frame: pd.DataFrame) -> None:
        """Estimate the coding of all columns from the typed frame of the training split."""
        self._check_frame(frame)
        for coding in self.codings:
            coding.learn(frame[coding.column.name])

    def encode(self, frame: pd.DataFrame) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Return x (N, D) and its mask (N, D) from a typed frame; raise an `AeframeError` if a column is absent.

        The mask is False, and x is 0, for the real element of a spike or a missing cell. It is False for all elements
        of a missing cell in a column that has no class for missing cells.
        """
        self._check_frame(frame)
        x = np.empty((len(frame), len(self.elements)), dtype=np.float32)
        mask = np.empty(x.shape, dtype=np.bool_)
        values = [frame[column.name] for column in self.columns]
        for start in range(0, len(frame), _ROWS):
            rows = slice(start, start + _ROWS)
            for coding, place, series in zip(self.codings, self._slices, values, strict=True):
                x[rows, place], mask[rows, place] = coding.encode(series.iloc[rows])
        return x, mask

    def decode(self, x: NDArray[np.float32], index: pd.Index[Any] | None = None) -> pd.DataFrame:
        """Return the typed frame of x (N, D); the same x has the same frame.

        Args:
            x: Elements; class numbers are rounded, and NaN is decoded to a missing cell.
            index: Index of the frame; default is 0..N-1.
        """
        if x.ndim != 2 or x.shape[1] != len(self.elements):
            raise AeframeError(f"x of the table must have the shape (N, {len(self.elements)}), found {x.shape}")
        draws = any(isinstance(coding, CategoryCoding) and coding.groups_classes for coding in self.codings)
        seed = zlib.crc32(np.ascontiguousarray(x).data) if draws else 0
        columns = {
            coding.column.name: coding.decode(x[:, place], seed=seed + number)
            for number, (coding, place) in enumerate(zip(self.codings, self._slices, strict=True))
        }
        frame = pd.DataFrame(columns, copy=False)
        return frame if index is None else frame.set_axis(index)

    @property
    def starts(self) -> NDArray[np.int64]:
        """The index of the first element of each column, ``(C,)``."""
        return self._starts

    def column_sums(self, values: NDArray[Number]) -> NDArray[Number]:
        """Return the sum (N, C) over the elements of each of C columns, such as of the errors (N, D) of elements."""
        return np.add.reduceat(values, self._starts, axis=1)

    def state(self) -> dict[str, Any]:
        """Return what `learn` estimated, as values that JSON can represent."""
        return {"columns": [{"name": coding.column.name, "state": coding.state()} for coding in self.codings]}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Restore what `state` of a coding of the same columns and options returned."""
        stored = [str(entry["name"]) for entry in state["columns"]]
        names = [column.name for column in self.columns]
        if stored != names:
            raise AeframeError(f"the stored coding is of the columns {', '.join(stored)}; expected {', '.join(names)}")
        for coding, entry in zip(self.codings, state["columns"], strict=True):
            coding.load_state(entry["state"])

    def _check_names(self) -> None:
        names = [column.name for column in self.columns]
        double = next((name for name in names if names.count(name) > 1), None)
        if double is not None:
            raise AeframeError(f"the table has two columns of the name '{double}'; rename one of them")
        numeric = [column.name for column in self.columns if column.is_numeric]
        for name in self.options.per_column:
            if name not in numeric:
                raise AeframeError(
                    f"the coding option 'per_column' has '{name}', which is no used column of numbers or dates"
                    f"{did_you_mean(name, numeric)}; they are: {', '.join(numeric)}"
                )

    def _check_frame(self, frame: pd.DataFrame) -> None:
        absent = [column.name for column in self.columns if column.name not in frame.columns]
        if absent:
            raise AeframeError(
                f"the table has no column '{absent[0]}'{did_you_mean(absent[0], map(str, frame.columns))}; "
                f"it has: {', '.join(map(str, frame.columns))}"
            )


def _coding(column: Column, index: int, options: CodingOptions) -> ColumnCoding:
    if column.is_discrete:
        return CategoryCoding(column, index, options)
    return DateCoding(column, index, options) if column.kind == "date" else NumberCoding(column, index, options)
