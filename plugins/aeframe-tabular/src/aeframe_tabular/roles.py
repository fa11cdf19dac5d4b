"""`Roles`: what the columns of a table are used for: as x, id, label or condition."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from aeframe.errors import AeframeError, did_you_mean
from aeframe_tabular.column import DISCRETE, Column

_MAX_SHOWN = 8
"""Columns that a note names."""


@dataclass(frozen=True, slots=True)
class Roles:
    """The names of the columns that are not part of x although they could be."""

    id: str | None = None
    """The column that identifies the rows; None if they have no id."""
    label: str | None = None
    """The column of classes that labels the rows; None without labels."""
    condition: tuple[str, ...] = ()
    """The columns that encoder and decoder receive as the condition."""

    @classmethod
    def of(
        cls, who: str, columns: Sequence[Column], *, id: str | None, label: str | None, condition: Sequence[str]
    ) -> Roles:
        """Return the roles that a user states; by default the first column of kind ``id`` identifies the rows.

        Raises:
            AeframeError: A column does not exist, is left out, or has two roles, or the label has no classes.
        """
        kinds = {column.name: column.kind for column in columns}
        used = {column.name for column in columns if column.is_used}
        for option, name in (("id", id), ("label", label), *(("condition", name) for name in condition)):
            if name is None:
                continue
            if name not in kinds:
                raise AeframeError(
                    f"'{who}' has no column '{name}' for data.{option}{did_you_mean(name, kinds)}; its columns are "
                    f"{_shown(list(kinds))}"
                )
            if option != "id" and name not in used:
                raise AeframeError(
                    f"'{who}': column '{name}' is left out as {kinds[name]}, and data.{option} needs its values; set "
                    f"data.kinds.{name}=category"
                )
        if label is not None and kinds[label] not in DISCRETE:
            raise AeframeError(
                f"'{who}': data.label needs a column of classes, and '{label}' has the kind {kinds[label]}; set "
                f"data.kinds.{label}=category"
            )
        named = [name for name in (id, label, *condition) if name is not None]
        twice = next((name for name in named if named.count(name) > 1), None)
        if twice is not None:
            raise AeframeError(f"'{who}': column '{twice}' has two of the roles id, label and condition; choose one")
        default = next((column.name for column in columns if column.kind == "id"), None)
        return cls(default if id is None else id, label, tuple(condition))

    def of_x(self, columns: Sequence[Column]) -> tuple[Column, ...]:
        """Return the columns that are part of x, in the order of the file.

        Raises:
            AeframeError: None is left.
        """
        apart = {self.id, self.label, *self.condition}
        chosen = tuple(column for column in columns if column.is_used and column.name not in apart)
        if not chosen:
            raise AeframeError(
                f"the table has no column for x: {_shown([f'{column.name} ({column.kind})' for column in columns])}; "
                "set data.kinds.NAME=category for one of them"
            )
        return chosen

    def of_condition(self, columns: Sequence[Column]) -> tuple[Column, ...]:
        """Return the columns of the condition, in its order."""
        by_name = {column.name: column for column in columns}
        return tuple(by_name[name] for name in self.condition)

    def notes(self, columns: Sequence[Column]) -> Iterator[str]:
        """Yield a sentence about the columns that are left out, if there are any."""
        left_out = [column for column in columns if not column.is_used and column.name != self.id]
        if left_out:
            names = _shown([f"{column.name} ({column.kind})" for column in left_out])
            yield f"columns that are left out: {names}; aeframe table FILE lists all columns and how to use them"
        if self.id is not None:
            yield f"column {self.id} identifies the rows, and is no part of x"

    def state(self) -> dict[str, Any]:
        """Return the roles as values that JSON can represent; `from_state` reads them."""
        return {"id": self.id, "label": self.label, "condition": list(self.condition)}

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Roles:
        """Return the roles that `state` describes."""
        return cls(state["id"], state["label"], tuple(state["condition"]))


def with_index(frame: pd.DataFrame, raw: pd.DataFrame, id: str | None) -> pd.DataFrame:
    """Return a typed frame whose index has the ids of the rows as strings.

    They are the values of the column `id`, or else the index of the raw frame unless it counts the rows. Without either
    the index counts the rows, and has no name.
    """
    if id is not None and id in raw.columns:
        values, name = pd.Series(raw[id]), id
    elif isinstance(raw.index, pd.RangeIndex) and raw.index.name is None:
        return _with_axis(frame, pd.RangeIndex(len(frame)))
    else:
        values, name = raw.index.to_series(), str(raw.index.name or "name")
    # An id with missing cells is read as floating-point numbers.
    if values.dtype.kind == "f" and (values.dropna() % 1 == 0).all():
        values = values.astype("Int64")
    return _with_axis(frame, pd.Index(values.astype("string").fillna("").astype(object), name=name))


def _with_axis(frame: pd.DataFrame, index: pd.Index[Any]) -> pd.DataFrame:
    """Return a frame with another index and the same columns in memory; `DataFrame.set_axis` would copy them."""
    shared = frame.copy(deep=False)
    shared.index = index
    return shared


def _shown(names: Sequence[str]) -> str:
    more = f" and {len(names) - _MAX_SHOWN} more" if len(names) > _MAX_SHOWN else ""
    return ", ".join(names[:_MAX_SHOWN]) + more
