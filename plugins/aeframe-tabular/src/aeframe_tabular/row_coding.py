"""`RowCoding`: the columns of a table with their roles, and the coding of those of x and of the condition."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from aeframe.parts.packed import Packing
from aeframe_tabular.coding import CodingOptions, TableCoding
from aeframe_tabular.column import Column
from aeframe_tabular.column_metrics.marginals import Marginals
from aeframe_tabular.missing_cells import MissingCells
from aeframe_tabular.roles import Roles
from aeframe_tabular.typed import restored_frame


class RowCoding:
    """The mapping between typed frames of a table and the tensors of a batch.

    Args:
        columns: All columns of the training table.
        roles: What they are used for.
        options: The coding of the columns of x.
    """

    def __init__(self, columns: Sequence[Column], roles: Roles, options: CodingOptions) -> None:
        self.columns, self.roles = tuple(columns), roles
        self.x = TableCoding(roles.of_x(columns), options)
        self.condition_columns = roles.of_condition(columns)
        self._condition: TableCoding | None = None
        self._packing: Packing | None = None
        if self.condition_columns:
            # One number for each number, and a one-hot vector for each class.
            self._condition = TableCoding(self.condition_columns, CodingOptions(numbers="standard"))
            self._packing = Packing(self._condition.classes)
        self._marginals: Marginals | None = None

    @functools.cached_property
    def missing_cells(self) -> MissingCells:
        """Which cells of x are missing, and how they are filled."""
        return MissingCells(self.x)

    @property
    def marginals(self) -> Marginals:
        """The distribution of each column of x in the training split, which `learn` estimates."""
        if self._marginals is None:
            raise RuntimeError("the rows have no state yet; call learn or from_state first")
        return self._marginals

    @property
    def condition_size(self) -> int:
        """The number C of numbers of a condition."""
        return 0 if self._packing is None else self._packing.size

    @property
    def label_names(self) -> tuple[str, ...] | None:
        """The names of the labels 0, 1, ...; None without labels."""
        return next((column.classes for column in self.columns if column.name == self.roles.label), None)

    def learn(self, frame: pd.DataFrame) -> None:
        """Estimate the coding from the typed frame of the training split."""
        self.x.learn(frame)
        self._marginals = Marginals.of(self.x, frame)
        if self._condition is not None:
            self._condition.learn(frame)

    def needed(self, present: Sequence[str]) -> tuple[Column, ...]:
        """Return the columns of x and of the condition, which a file must have whose columns are `present`.

        With them are the label, if the file has it, and the columns that are left out of x.
        """
        optional = {self.roles.label} & {*present}
        names = {column.name for column in (*self.x.columns, *self.condition_columns)} | optional
        return tuple(column for column in self.columns if column.name in names or not column.is_used)

    def encode(self, frame: pd.DataFrame) -> tuple[Tensor, Tensor]:
        """Return x ``(N, D)`` float32 and its mask ``(N, D)`` bool."""
        x, mask = self.x.encode(frame)
        return torch.from_numpy(x), torch.from_numpy(mask)

    def encode_condition(self, frame: pd.DataFrame) -> Tensor | None:
        """Return the condition ``(N, C)``; None for a table without one."""
        if self._condition is None or self._packing is None:
            return None
        x, mask = (torch.from_numpy(array) for array in self._condition.encode(frame))
        return self._packing.one_hot(x, mask)

    def labels(self, frame: pd.DataFrame) -> Tensor | None:
        """Return the number of the label of each row ``(N,)``, -1 where it is missing; None without labels."""
        if self.roles.label is None or self.roles.label not in frame:
            return None
        return torch.from_numpy(frame[self.roles.label].cat.codes.to_numpy(np.int64, copy=True))

    def restored(self, x: Tensor, names: Sequence[str] | None = None, condition: Tensor | None = None) -> pd.DataFrame:
        """Return rows x ``(N, D)`` with the types and formats of the training table, in the order of its columns.

        Columns of one value have that value.

        Args:
            x: The rows.
            names: The ids of the rows.
            condition: Their condition ``(N, C)``, behind which the label may follow as a one-hot vector
                ``(N, C + L)``: its columns are then part of the rows.
        """
        typed = self.x.decode(x.detach().cpu().numpy())
        restored = restored_frame(typed, self.x.columns)
        by_name: dict[str, Any] = {name: restored[name] for name in restored.columns}
        by_name |= {} if condition is None else self._restored_condition(condition.detach().cpu())
        for column in self.columns:
            if column.kind == "constant" and column.num_missing == 0 and column.example:
                by_name[column.name] = _constant(column, len(restored))
        if names is not None:
            by_name["name" if self.roles.id is None else self.roles.id] = list(names)
        ordered = [column.name for column in self.columns if column.name in by_name]
        rest = [name for name in by_name if name not in ordered]
        return pd.DataFrame({name: by_name[name] for name in [*rest, *ordered]})

    def _restored_condition(self, condition: Tensor) -> dict[str, pd.Series[Any]]:
        """Return the columns of a condition ``(N, C)``, and of a label behind it, by their names."""
        own, label = condition[:, : self.condition_size], condition[:, self.condition_size :]
        columns: dict[str, pd.Series[Any]] = {}
        if self._condition is not None and self._packing is not None:
            typed = self._condition.decode(self._packing.elements(own).numpy())
            restored = restored_frame(typed, self.condition_columns)
            columns = {str(name): restored[name] for name in restored.columns}
        of_label = next((column for column in self.columns if column.name == self.roles.label), None)
        if of_label is not None and label.shape[1] == len(of_label.classes):
            codes: Any = label.argmax(1).numpy()
            values = pd.Categorical.from_codes(codes, categories=pd.Index(list(of_label.classes), dtype=object))
            columns[of_label.name] = restored_frame(pd.DataFrame({of_label.name: values}), [of_label])[of_label.name]
        return columns

    def state(self) -> dict[str, Any]:
        """Return columns, roles and what `learn` estimated, as values that JSON can represent."""
        return {
            "columns": [column.to_dict() for column in self.columns],
            "roles": self.roles.state(),
            "x": self.x.state(),
            "marginals": self.marginals.state(),
            "condition": None if self._condition is None else self._condition.state(),
        }

    @classmethod
    def from_state(cls, state: Mapping[str, Any], options: CodingOptions) -> RowCoding:
        """Return the coding that `state` describes."""
        columns = [Column.from_dict(column) for column in state["columns"]]
        rows = cls(columns, Roles.from_state(state["roles"]), options)
        rows.x.load_state(state["x"])
        rows._marginals = Marginals.from_state(state["marginals"])
        if rows._condition is not None:
            rows._condition.load_state(state["condition"])
        return rows


def _constant(column: Column, num: int) -> pd.Series[Any]:
    """Return the only value of a column `num` times, in the type of the file; dates as they are written there."""
    kind = "O" if column.dtype == "str" else np.dtype(column.dtype).kind
    if kind == "b":
        return pd.Series([column.example.lower() in ("true", "1")] * num)
    values = pd.Series([column.example] * num)
    return pd.to_numeric(values).astype(np.dtype(column.dtype)) if kind in "iuf" else values
