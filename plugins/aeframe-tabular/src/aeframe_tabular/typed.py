"""From the cells of a table to the typed frame of `Column`, and back: `typed_frame`, `restored_frame`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from aeframe.data.tables.cells import shown
from aeframe.data.tables.rows import listed
from aeframe.errors import AeframeError, did_you_mean
from aeframe_tabular.column import Column
from aeframe_tabular.column_details import as_utc
from aeframe_tabular.dates import parse_dates, write_dates
from aeframe_tabular.distinct import Distinct, numbers_in
from aeframe_tabular.reading.table import RawTable

Unknown = Literal["raise", "missing"]
_TEXT: Any = "string[pyarrow]"


def typed_frame(
    raw: pd.DataFrame | RawTable,
    columns: Sequence[Column],
    *,
    unknown: Unknown = "raise",
    who: str = "the model",
) -> pd.DataFrame:
    """Return the typed frame of a table, see `Column`: the columns that are used, in the order of `columns`.

    Columns are found by their names. Other columns are left out, with a note in `RawTable.notes`. The index is that of
    the table, or else the first column of kind ``id``.

    Args:
        raw: The table.
        columns: The columns of training.
        unknown: ``missing`` takes values that their column cannot have, such as classes that did not occur in training,
            for missing cells, with a note; ``raise`` raises an error.
        who: What was trained on `columns`, in error messages.

    Raises:
        AeframeError: A column is absent; or a value is no number, no date or no class of its column, unless it is
            taken for missing. The message names its row.
    """
    table = raw if isinstance(raw, RawTable) else RawTable(raw)
    names = [str(name) for name in table.frame.columns]
    known = {column.name for column in columns}
    added = [name for name in names if name not in known]
    used = [column for column in columns if column.is_used]
    absent = [column.name for column in used if column.name not in names]
    if absent:
        columns_absent = f"column '{absent[0]}'" if len(absent) == 1 else f"columns {listed(absent)}"
        raise AeframeError(
            f"{table.origin} has no {columns_absent}, on which {who} was trained"
            f"{did_you_mean(absent[0], added)}{'' if added else '; its columns are ' + listed(names)}"
        )
    if added:
        table.notes.append(f"{table.origin}: {_plural(len(added))} not of {who} left out ({listed(added)})")
    values = {column.name: _typed(table, column, unknown, who) for column in used}
    return pd.DataFrame(values, index=_index(table, columns), copy=False)


def restored_frame(typed: pd.DataFrame, columns: Sequence[Column]) -> pd.DataFrame:
    """Return a typed frame in the types of the file of training: `typed_frame` of it returns `typed`.

    Numbers are rounded to the decimals of their column, and written as integers, truth values, durations, dates or text
    as there. Integers and truth values with missing cells have the nullable dtypes of pandas.
    """
    values = {column.name: _restored(typed[column.name], column) for column in columns if column.is_used}
    return pd.DataFrame(values, index=typed.index, copy=False)


def _plural(num: int) -> str:
    return "a column" if num == 1 else f"{num} columns"


def _index(table: RawTable, columns: Sequence[Column]) -> Any:
    """Return the index of the rows: that of the table, or its first column of identifiers."""
    index = table.frame.index
    if not isinstance(index, pd.RangeIndex) or index.name is not None:
        return index
    for column in columns:
        if column.kind == "id" and column.name in table.frame.columns:
            return pd.Index(table.frame[column.name].array, name=column.name)
    return index


def _typed(table: RawTable, column: Column, unknown: Unknown, who: str) -> Any:
    """Return a column of the typed frame."""
    cells: Any = table.frame[column.name]
    if column.is_numeric and column.kind != "date" and pd.api.types.is_numeric_dtype(cells.dtype):
        # Without distinct values, which take longer than all else.
        numbers = np.array(cells.to_numpy(np.float64, na_value=np.nan))
        if not _is_wrong(numbers[~np.isnan(numbers)], column).any():
            return numbers
    distinct = Distinct.of(cells)
    if column.is_discrete:
        classes = _classes_of(distinct, column)
        _check(table, column, distinct, classes < 0, unknown, who)
        codes: Any = np.append(classes, -1)[distinct.codes]
        return pd.Categorical.from_codes(
            codes,
            categories=pd.Index(list(column.classes), dtype=object),
            ordered=column.kind == "ordinal",
        )
    if column.kind == "date":
        dates = _dates_of(distinct, column)
        _check(table, column, distinct, np.isnat(dates), unknown, who)
        return np.append(dates, np.datetime64("NaT", "us"))[distinct.codes]
    numbers = numbers_in(distinct.values)
    wrong = _is_wrong(numbers, column)
    _check(table, column, distinct, wrong, unknown, who)
    numbers[wrong] = np.nan
    return np.append(numbers, np.nan)[distinct.codes]


def _is_wrong(numbers: NDArray[np.float64], column: Column) -> NDArray[np.bool_]:
    """Return which numbers a column of numbers or integers cannot have."""
    wrong: NDArray[np.bool_] = ~np.isfinite(numbers)
    if column.kind == "integer":
        wrong |= numbers != np.round(numbers)
    return wrong


def _classes_of(distinct: Distinct, column: Column) -> NDArray[np.int64]:
    """Return the class of each distinct value, -1 for one that is none.

    A value is compared as text, then as a number (``1.50`` and ``1.5``), truth values also without case.
    """
    numbers = {text: number for number, text in enumerate(column.classes)}
    texts = distinct.texts()
    found = np.array([numbers.get(text, -1) for text in texts], np.int64)
    if column.kind == "boolean":
        by_lower = {text.lower(): number for text, number in numbers.items()}
        again = [by_lower.get(text.lower(), -1) for text in texts]
        found = np.where(found < 0, np.array(again, np.int64), found)
    if (found < 0).any():
        values = numbers_in(list(column.classes))
        by_value = {value: number for number, value in enumerate(values.tolist()) if not np.isnan(value)}
        again = [by_value.get(value, -1) for value in numbers_in(distinct.values).tolist()]
        found = np.where(found < 0, np.array(again, np.int64), found)
    return found


def _dates_of(distinct: Distinct, column: Column) -> NDArray[np.datetime64]:
    values = pd.Series(distinct.values)
    if values.dtype.kind == "M":
        return as_utc(values)
    if column.date_format is not None:
        return parse_dates(distinct.texts(), column.date_format)
    return parse_dates(distinct.texts(), "ISO8601")


def _check(
    table: RawTable, column: Column, distinct: Distinct, wrong: NDArray[np.bool_], unknown: Unknown, who: str
) -> None:
    """Raise AeframeError for distinct values that a column cannot have, or add a note if they count as missing."""
    if not wrong.any():
        return
    value = int(np.argmax(wrong))
    text = distinct.texts()[value]
    where = table.where(distinct.first_row(value), column.name)
    if column.is_discrete:
        expected = f"one of the {len(column.classes)} classes on which {who} was trained"
        hint = did_you_mean(text, column.classes)
        hint = hint if hint or len(column.classes) > 12 else f" ({listed(column.classes)})"
    else:
        form = f" in the format {column.date_format}" if column.date_format else ""
        expected = {"date": f"a date{form}", "integer": "a whole number"}.get(column.kind, "a finite number")
        hint = ""
    if unknown == "raise":
        raise AeframeError(
            f"{where} is {shown(text)}, expected {expected}{hint}; correct it, or take such cells for missing ones "
            "(unknown=missing)"
        )
    num = int(distinct.counts[wrong].sum())
    table.notes.append(
        f"{where} is {shown(text)}, expected {expected}; {num} cell{'s' * (num > 1)} of column '{column.name}' like it "
        f"{'are' if num > 1 else 'is'} taken for missing"
    )


def _restored(values: pd.Series[Any], column: Column) -> Any:
    """Return a column in the type in which it was read."""
    if column.is_discrete:
        return _restored_classes(values, column)
    if column.kind == "date":
        return _restored_dates(values, column)
    numbers = values.to_numpy(np.float64)
    if column.decimals is not None:
        # Zero is added so that no number is -0.
        numbers = np.round(numbers, column.decimals) + 0.0
    if column.dtype.startswith("timedelta"):
        durations: Any = pd.Series(pd.to_timedelta(numbers, unit="s"))
        return durations.astype(column.dtype).array
    return _as_dtype(numbers, column)


def _as_dtype(numbers: NDArray[np.float64], column: Column) -> Any:
    """Return numbers, NaN where missing, in the type of a column."""
    if column.dtype in ("str", "category"):
        form = f"%.{column.decimals}f" if column.decimals is not None else "%.17g"
        written = np.char.mod(form, numbers).astype(object)
        written[np.isnan(numbers)] = None
        return pd.array(written, dtype=_TEXT)
    dtype: Any = pd.api.types.pandas_dtype(column.dtype)
    missing = np.isnan(numbers)
    if pd.api.types.is_integer_dtype(dtype):
        limits = np.iinfo(dtype.numpy_dtype if not isinstance(dtype, np.dtype) else dtype)
        whole = np.clip(np.where(missing, 0, numbers), limits.min, limits.max).astype(limits.dtype)
        if isinstance(dtype, np.dtype) and not missing.any():
            return whole
        return pd.arrays.IntegerArray(whole, missing)
    if pd.api.types.is_bool_dtype(dtype):
        truth = np.where(missing, 0, numbers) != 0
        return truth if isinstance(dtype, np.dtype) and not missing.any() else pd.arrays.BooleanArray(truth, missing)
    return numbers.astype(dtype if isinstance(dtype, np.dtype) else np.float64)


def _restored_classes(values: pd.Series[Any], column: Column) -> Any:
    """Return classes as they were read: categories, truth values, numbers, dates or text."""
    array: Any = values.array
    if column.dtype == "category":
        return array
    if column.dtype == "str":
        texts = np.array([*column.classes, None], object)
        return pd.array(texts[array.codes], dtype=_TEXT)
    if column.dtype.startswith("datetime"):
        return _restored_dates(pd.Series(parse_dates(array.astype(object), "ISO8601")), column)
    if column.dtype in ("bool", "boolean"):
        numbers = np.array([float(text == "True") for text in column.classes] + [np.nan])
    else:
        numbers = np.append(numbers_in(list(column.classes)), np.nan)
    return _as_dtype(numbers[array.codes], column)


def _restored_dates(values: pd.Series[Any], column: Column) -> Any:
    if column.date_format is not None:
        written = write_dates(values, column.date_format)
        if column.dtype == "str":
            return pd.array(written, dtype=_TEXT)
        return _as_dtype(np.array([np.nan if each is None else float(each) for each in written]), column)
    if not column.dtype.startswith("datetime64["):
        return values.array
    dtype: Any = pd.api.types.pandas_dtype(column.dtype)
    if isinstance(dtype, pd.DatetimeTZDtype):
        return values.dt.tz_localize("UTC").dt.tz_convert(dtype.tz).astype(dtype).array
    return values.astype(dtype).array
