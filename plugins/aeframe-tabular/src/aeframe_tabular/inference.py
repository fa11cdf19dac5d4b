"""The kind of each column of a table, from its cells: `infer_columns`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from aeframe.data.tables.cells import shown
from aeframe.data.tables.rows import listed
from aeframe.errors import AeframeError, did_you_mean
from aeframe_tabular.column import KINDS, Column, Kind
from aeframe_tabular.column_details import Cells, described
from aeframe_tabular.identifiers import identifier_reason, is_named_as_identifier
from aeframe_tabular.reading.table import RawTable

MAX_CLASSES = 500
"""Distinct texts up to which a column is a category."""
_FEW = 20
"""Distinct texts that are a category also if most of them occur only once."""


def infer_columns(
    frame: pd.DataFrame | RawTable,
    *,
    kinds: Mapping[str, Kind] | None = None,
    max_classes: int = MAX_CLASSES,
    date_formats: Mapping[str, str] | None = None,
    day_first: bool | None = None,
) -> tuple[Column, ...]:
    """Return the columns of a table in their order, also those that are left out, each with the reason for its kind.

    Args:
        frame: The rows of training.
        kinds: The kinds of columns by their names, for those that are not found out.
        max_classes: Distinct texts up to which a column is a category; with more it is left out.
        date_formats: Formats of dates by the names of columns, for `datetime.strptime`.
        day_first: Whether the day is before the month in dates that both orders fit; None raises an error for them.

    Raises:
        AeframeError: A name or kind does not exist, a column does not have the kind in `kinds`, the table has fewer
            than two rows, or no column can be used.
    """
    raw = frame if isinstance(frame, RawTable) else RawTable(frame)
    kinds, date_formats = kinds or {}, date_formats or {}
    names = [str(name) for name in raw.frame.columns]
    _check_names(raw.origin, names, kinds, date_formats)
    if len(raw.frame) < 2:
        num = "one row" if len(raw.frame) else "no rows"
        raise AeframeError(f"{raw.origin} has {num}, expected at least two, of which kinds of columns are found")
    columns = []
    for name in names:
        cells = Cells(name, raw.frame[name], raw)
        wanted: Kind | None = kinds.get(name, "date" if name in date_formats else None)
        kind, reason = (wanted, "as set") if wanted is not None else _kind(cells, max_classes)
        columns.append(described(cells, kind, reason, date_formats.get(name), day_first, is_set=wanted is not None))
    if not any(column.is_used for column in columns):
        shown = "; ".join(f"'{column.name}': {column.kind}, {column.reason}" for column in columns[:4])
        raise AeframeError(
            f"{raw.origin} has no column that can be used ({shown}); set a kind, such as data.kinds.NAME=category"
        )
    return tuple(columns)


def _check_names(origin: str, names: list[str], kinds: Mapping[str, Kind], date_formats: Mapping[str, str]) -> None:
    """Raise AeframeError for a column or kind that does not exist."""
    for option, given in (("kinds", kinds), ("date_formats", date_formats)):
        unknown = next((name for name in given if name not in names), None)
        if unknown is not None:
            raise AeframeError(
                f"{origin} has no column '{unknown}' of data.{option}{did_you_mean(unknown, names)}; its columns are "
                f"{listed(names)}"
            )
    for name, kind in kinds.items():
        if kind not in KINDS:
            raise AeframeError(
                f"data.kinds: column '{name}' has kind '{kind}'{did_you_mean(kind, KINDS)}; expected one of "
                f"{', '.join(KINDS)}"
            )


def _kind(cells: Cells, max_classes: int) -> tuple[Kind, str]:
    """Return the kind of a column, and why."""
    distinct = cells.distinct
    if distinct.num == 0:
        return "constant", "no cell has a value"
    if distinct.num == 1:
        if not distinct.num_missing:
            return "constant", "one value in all rows"
        return "category", "one value, and missing cells"
    dtype: Any = cells.column.dtype
    if isinstance(dtype, pd.CategoricalDtype):
        if distinct.num > max_classes:
            return "text", _too_many(cells, max_classes)
        return ("ordinal", "ordered categories") if dtype.ordered else ("category", "categories of the frame")
    if cells.is_date:
        return "date", "dates"
    if distinct.num == 2 and cells.truth_values() is not None:
        return "boolean", "two truth values"
    if cells.is_numeric:
        return _kind_of_numbers(cells, max_classes)
    return _kind_of_texts(cells, max_classes)


def _kind_of_numbers(cells: Cells, max_classes: int) -> tuple[Kind, str]:
    if not cells.are_whole:
        return "number", "numbers"
    if reason := identifier_reason(cells.name, cells.column, cells.distinct):
        return "id", reason
    if cells.is_integer_date:
        return "date", "dates of eight digits"
    if is_named_as_identifier(cells.name):
        if _is_repeated(cells, max_classes):
            return "category", "identifiers that are repeated"
        return "id", f"named as an identifier, {cells.distinct.num} different"
    return "integer", "whole numbers"


def _kind_of_texts(cells: Cells, max_classes: int) -> tuple[Kind, str]:
    distinct = cells.distinct
    texts = cells.texts
    dates = cells.dates
    if dates is not None and dates.second is None:
        return "date", "dates"
    if dates is not None:
        return "text", (
            f"dates in two formats, {dates.date_format} and {dates.second} ('{dates.example}'); write one of them"
        )
    numeric = int((~np.isnan(cells.numbers)).sum())
    if numeric == distinct.num and not _is_repeated(cells, max_classes) and cells.are_plain_numbers:
        if not cells.are_whole:
            return "number", "numbers that are text"
        if distinct.num < distinct.num_present:
            return "integer", "whole numbers that are text"
    if 2 * numeric > distinct.num and numeric < distinct.num and not _is_repeated(cells, max_classes):
        example = shown(texts[int(np.argmax(np.isnan(cells.numbers)))])
        return "text", f"numbers, and text such as {example}, which data.missing can name"
    if distinct.num == distinct.num_present:
        if any(" " in text for text in texts[:100]):
            return "text", "free text, all different"
        return "id", "texts that are all different"
    if _is_repeated(cells, max_classes):
        return "category", f"{distinct.num} different texts"
    if distinct.num > max_classes and 2 * distinct.num <= distinct.num_present:
        return "text", _too_many(cells, max_classes)
    return "text", f"free text, {distinct.num} different in {distinct.num_present} cells"


def _is_repeated(cells: Cells, max_classes: int) -> bool:
    """Return whether values occur more than once on average, or are few."""
    distinct = cells.distinct
    return distinct.num <= max_classes and (
        2 * distinct.num <= distinct.num_present or (distinct.num <= _FEW and distinct.num < distinct.num_present)
    )


def _too_many(cells: Cells, max_classes: int) -> str:
    return f"{cells.distinct.num} different texts, more than {max_classes}"
