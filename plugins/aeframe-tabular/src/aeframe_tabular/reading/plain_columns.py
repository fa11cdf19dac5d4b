"""Columns that have types already, in frames, Parquet, Excel and SQLite: `plain_frame`."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from aeframe.data.tables.cells import shown
from aeframe.errors import AeframeError
from aeframe_tabular.reading.text_columns import LARGEST, Marks, as_pandas, column_of_text


class PlainColumns:
    """Converts columns of pandas to the dtypes of `RawTable`, one after another.

    Args:
        origin: The name of the table in notes.
        missing: Further marks for missing cells.
        parse: Whether text is parsed as numbers where a whole column allows it. Formats without types need it; in
            others text is meant as text.
    """

    def __init__(self, origin: str, missing: Sequence[str | float] = (), *, parse: bool) -> None:
        self.origin = origin
        self.marks = Marks(missing)
        self.parse = parse
        self.notes: list[str] = []
        self.left_out: list[str] = []

    def convert(self, name: str, column: Any) -> Any:
        """Return an array of a column; None for one that is left out, with a note."""
        dtype = column.dtype
        if isinstance(dtype, pd.CategoricalDtype):
            return column.array
        if isinstance(dtype, pd.SparseDtype):
            return self.convert(name, column.sparse.to_dense())
        if isinstance(dtype, pd.ArrowDtype):
            return self.of_arrow(name, pa.chunked_array(column.array._pa_array))
        if isinstance(dtype, pd.StringDtype):
            return self._text(name, pa.array(column, pa.string(), from_pandas=True))
        if isinstance(dtype, pd.PeriodDtype):
            return column.dt.to_timestamp().array
        if isinstance(dtype, pd.IntervalDtype):
            return self._text(name, _as_text(column))
        if pd.api.types.is_bool_dtype(dtype):
            return column.array if column.isna().any() else column.to_numpy(bool)
        if pd.api.types.is_integer_dtype(dtype):
            return self._integers(name, column)
        if pd.api.types.is_float_dtype(dtype):
            return self._without_marks(column.to_numpy(getattr(dtype, "numpy_dtype", dtype), na_value=np.nan))
        if pd.api.types.is_complex_dtype(dtype):
            return self._leave_out(name, "complex numbers")
        if dtype.kind in "mM" or isinstance(dtype, pd.DatetimeTZDtype):
            return column.array
        return self._objects(name, column)

    def of_arrow(self, name: str, column: Any) -> Any:
        """As `convert`, for a column of pyarrow."""
        kind = column.type
        types = pa.types
        if types.is_string(kind) or types.is_large_string(kind) or kind == pa.string_view():
            return self._text(name, column.cast(pa.string()))
        if types.is_null(kind):
            return self._text(name, column.cast(pa.string()))
        if types.is_decimal(kind):
            return self._without_marks(column.cast(pa.float64()).to_numpy())
        if types.is_integer(kind):
            if column.null_count:
                return self._integers(name, pd.Series(as_pandas(column)))
            return self._integers(name, pd.Series(column.to_numpy(), copy=False))
        if types.is_floating(kind):
            return self._without_marks(column.to_numpy())
        if types.is_boolean(kind):
            return as_pandas(column)
        if types.is_date(kind) or types.is_timestamp(kind) or types.is_duration(kind) or types.is_dictionary(kind):
            kind = pa.timestamp("s") if types.is_date(kind) else kind
            return column.cast(kind).to_pandas().array
        if types.is_time(kind):
            return self._text(name, column.cast(pa.string()))
        return self._leave_out(name, f"values of type {kind}")

    def _integers(self, name: str, column: Any) -> Any:
        """Return integers; those beyond 2**53 as text, as float64 does not hold them exactly."""
        present = column.dropna()
        wide = column.dtype.itemsize == 8 if isinstance(column.dtype, np.dtype) else True
        if wide and len(present) and (int(present.max()) > LARGEST or int(present.min()) < -LARGEST):
            self.notes.append(f"{self.origin}, column '{name}' has integers beyond 2**53, and is read as text")
            return self._text(name, _as_text(column), parse=False)
        marks = [int(mark) for mark in self.marks.numbers if float(mark).is_integer()]
        missing = column.isin(marks) if marks else None
        if missing is not None and missing.any():
            return column.astype(str(column.dtype).replace("int", "Int").replace("u", "U")).mask(missing).array
        if not isinstance(column.dtype, np.dtype) and len(present) == len(column):
            return column.to_numpy(column.dtype.numpy_dtype)
        return column.to_numpy() if isinstance(column.dtype, np.dtype) else column.array

    def _without_marks(self, values: Any) -> Any:
        if self.marks.numbers and np.isin(values, self.marks.numbers).any():
            return np.where(np.isin(values, self.marks.numbers), np.nan, values)
        return values

    def _text(self, name: str, cells: Any, *, parse: bool | None = None) -> Any:
        """Return text, or numbers if they are to be parsed; marks become missing cells."""
        cells = cells.fill_null("")
        found = column_of_text(cells, self.marks, None) if self.parse and parse is None else None
        if found is None:
            return Text(self.marks).of(cells)
        if found.note:
            self.notes.append(f"{self.origin}, column '{name}' {found.note}")
        return found.values

    def _objects(self, name: str, column: Any) -> Any:
        """Return a column of objects of Python by what they are."""
        inferred = pd.api.types.infer_dtype(column, skipna=True)
        if inferred in ("string", "empty"):
            return self._text(name, pa.array(column, pa.string(), from_pandas=True))
        if inferred == "boolean":
            return self.convert(name, column.astype("boolean"))
        if inferred == "integer":
            try:
                return self.convert(name, column.astype("Int64"))
            except (OverflowError, TypeError, ValueError):
                self.notes.append(f"{self.origin}, column '{name}' has integers beyond 2**53, and is read as text")
                return self._text(name, _as_text(column), parse=False)
        if inferred in ("floating", "mixed-integer-float", "decimal"):
            return self._without_marks(column.where(column.notna(), np.nan).astype(float).to_numpy())
        if inferred in ("datetime", "date", "datetime64"):
            return self._dates(name, column)
        if inferred in ("timedelta", "timedelta64"):
            return pd.to_timedelta(column).array
        if inferred == "time":
            return self._text(name, _as_text(column))
        if inferred == "bytes":
            return self._leave_out(name, "bytes")
        return self._mixed(name, column)

    def _dates(self, name: str, column: Any) -> Any:
        try:
            return pd.to_datetime(column).array
        except (ValueError, TypeError, OverflowError):
            # Dates with and without a zone, or outside of the years of datetime64.
            return self._text(name, _as_text(column))

    def _mixed(self, name: str, column: Any) -> Any:
        """Return a column of several types as text, with a note of the first cell of the rarer type."""
        types = column.dropna().map(type)
        nested = types.map(lambda kind: issubclass(kind, (list, dict, tuple, set, np.ndarray)))
        if nested.any():
            return self._leave_out(name, f"a {types[nested].iloc[0].__name__} in each cell")
        as_number = types.map(lambda kind: issubclass(kind, (bool, int, float, np.number, np.bool_)))
        rare = as_number if 2 * as_number.sum() < len(as_number) else ~as_number
        text = _as_text(column)
        converted = self._text(name, text, parse=self.parse or None)
        if not pd.api.types.is_numeric_dtype(converted.dtype) and rare.any():
            row = int(np.flatnonzero(column.index == rare[rare].index[0])[0])
            self.notes = [note for note in self.notes if f"column '{name}' holds" not in note]
            example = shown(text[row].as_py())
            self.notes.append(
                f"{self.origin}, column '{name}' holds numbers and text, such as {example} (row {row}), and is read as "
                "text"
            )
        return converted

    def _leave_out(self, name: str, what: str) -> None:
        self.left_out.append(name)
        self.notes.append(f"{self.origin}, column '{name}' holds {what}, and is left out")


class Text:
    """Converts text to strings of pandas without marks for missing cells."""

    def __init__(self, marks: Marks) -> None:
        self._marks = marks

    def of(self, cells: Any) -> Any:
        """Return cells, strings of pyarrow, as strings of pandas without blanks around them."""
        import pyarrow.compute as pc

        words = pc.utf8_trim_whitespace(cells)
        return as_pandas(pc.if_else(self._marks.are_missing(words), pa.scalar(None, pa.string()), words))


def plain_frame(
    frame: pd.DataFrame, origin: str, missing: Sequence[str | float] = (), *, parse: bool
) -> tuple[pd.DataFrame, list[str]]:
    """Return a frame whose columns have the dtypes of `RawTable`, and notes; see `PlainColumns`.

    Raises:
        AeframeError: No column is left.
    """
    columns = PlainColumns(origin, missing, parse=parse)
    values: dict[str, Any] = {}
    for position, name in enumerate(frame.columns):
        array = columns.convert(str(name), frame.iloc[:, position])
        if array is not None:
            values[str(name)] = array
    if not values:
        raise AeframeError(f"{origin} has no column of numbers, text or times; {'; '.join(columns.notes)}")
    return pd.DataFrame(values, index=frame.index, copy=False), columns.notes


def _as_text(column: Any) -> Any:
    """Return the values of a column as strings of pyarrow: whole floats without a decimal point, dates in ISO 8601."""
    return pa.array(column.astype(object).map(_text_of, na_action="ignore"), pa.string(), from_pandas=True)


def _text_of(value: Any) -> str:
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return value.isoformat(" ") if isinstance(value, datetime.datetime) else str(value)
