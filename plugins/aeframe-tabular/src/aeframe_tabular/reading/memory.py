"""Frames of pandas, polars and pyarrow in memory, and arrays with names: `frame_of`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from aeframe.data.file_samples import OnError
from aeframe.errors import AeframeError
from aeframe_tabular.reading.checks import checked
from aeframe_tabular.reading.plain_columns import plain_frame
from aeframe_tabular.reading.selection import chosen_columns
from aeframe_tabular.reading.table import RawTable, TableOptions


def frame_of(
    x: Any,
    options: TableOptions = TableOptions(),  # noqa: B008
    on_error: OnError = "raise",
    *,
    origin: str = "the frame",
) -> RawTable:
    """Return the cells of a table in memory; `x` is not changed.

    Args:
        x: A frame of pandas, polars or pyarrow, a mapping of columns, or a structured array.
        options: Marks for missing cells, and which columns are read.
        on_error: ``skip`` leaves out rows with an infinite number.
        origin: The name of the table in error messages.

    Raises:
        AeframeError: `x` is no table, has no rows, or a column is missing or there twice; or as `read_frame`.
    """
    frame = _as_pandas(x, origin)
    if isinstance(frame.columns, pd.MultiIndex):
        frame = frame.set_axis([" ".join(map(str, name)) for name in frame.columns], axis=1)
    names = [str(name) for name in frame.columns]
    chosen = chosen_columns(origin, names, options)
    plain, notes = plain_frame(frame.iloc[:, chosen], origin, options.missing, parse=False)
    return checked(RawTable(plain, origin, notes), on_error)


def _as_pandas(x: Any, origin: str) -> pd.DataFrame:
    """Return a table of any library as a frame of pandas."""
    if isinstance(x, pd.DataFrame):
        return x
    if isinstance(x, pd.Series):
        return x.to_frame(name=x.name if x.name is not None else "0")
    if isinstance(x, np.ndarray) and x.dtype.names:
        return pd.DataFrame.from_records(x)
    module = type(x).__module__.partition(".")[0]
    if module == "polars" and hasattr(x, "to_arrow"):
        # Columns of pyarrow keep integers and truth values with nulls.
        frame = x.collect() if hasattr(x, "collect") else x
        return _of_arrow(frame.to_arrow())
    if module == "pyarrow" and hasattr(x, "column_names"):
        return _of_arrow(x)
    if isinstance(x, dict):
        try:
            return pd.DataFrame(x)
        except ValueError as error:
            raise AeframeError(f"{origin} is a mapping whose columns differ in length ({error})") from None
    raise AeframeError(
        f"{origin} is of type {type(x).__name__}, expected a frame of pandas or polars, a table of pyarrow, or a "
        "mapping of names to columns"
    )


def _of_arrow(table: Any) -> pd.DataFrame:
    return table.to_pandas(types_mapper=pd.ArrowDtype)


def stacked_names(names: Sequence[str], num: int, origin: str) -> list[str]:
    """Return the names of the `num` columns of an array.

    Raises:
        AeframeError: There are more or fewer names than columns.
    """
    if len(names) != num:
        raise AeframeError(f"{origin} has {num} columns in 'x' and {len(names)} names in 'columns'; give each one name")
    return list(names)
