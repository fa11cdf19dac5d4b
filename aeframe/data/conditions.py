"""`ConditionCoding`: turns the conditions of samples into numbers, categories by their names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from aeframe.data.folders import encode_names
from aeframe.data.samples import as_array, column_of, is_frame, names_of_columns, side_by_side
from aeframe.errors import AeframeError, did_you_mean


@dataclass(frozen=True, slots=True)
class ConditionCoding:
    """The columns of a condition: numbers as they are, categories as one-hot vectors.

    Learned from the training samples, and saved with the model.
    """

    categories: tuple[tuple[str, ...] | None, ...]
    """For each column the names of its categories, sorted; None for a column of numbers."""
    columns: tuple[str, ...] = ()
    """The names of the columns in a data frame; empty for an array."""

    @classmethod
    def learn(cls, condition: NDArray[Any], columns: Sequence[str] = ()) -> Self:
        """Return the coding of the condition ``(N,)`` or ``(N, columns)`` of the training samples.

        A column of floating-point numbers stays as it is. Whole numbers, truth values and strings are categories if
        they are the only column ``(N,)`` or come from a data frame; a matrix of numbers is taken as it is.

        Raises:
            AeframeError: A value is missing.
        """
        is_matrix = condition.ndim == 2 and condition.dtype.kind in "fiub"
        if condition.dtype.kind == "f" and np.isnan(condition).any():
            row = int(np.argwhere(np.isnan(condition))[0][0])
            raise AeframeError(f"row {row} has no condition (NaN); fill it, or leave the row out")
        categories = [None if is_matrix or _is_number(values) else _names(values) for values in _columns(condition)]
        by_column = (None if names is None else tuple(sorted(set(names), key=_order)) for names in categories)
        return cls(tuple(by_column), tuple(columns))

    @property
    def width(self) -> int:
        """The number C of numbers of a condition."""
        return sum(1 if names is None else len(names) for names in self.categories)

    def encode(self, who: str, condition: Any) -> Tensor:
        """Return the condition of N samples as numbers ``(N, C)``, float32.

        Args:
            who: How error messages name the receiver.
            condition: ``(N, C)`` numbers as this method returns them, or ``(N,)`` or ``(N, columns)`` as in training.
                A data frame or a mapping has the columns by their names, in any order.

        Raises:
            AeframeError: A category that was not in training, or other columns.
        """
        values = as_array(self._by_name(who, condition))
        if values.ndim == 2 and values.shape[1] == self.width and values.dtype.kind in "fiub":
            return torch.from_numpy(values.astype(np.float32))
        columns = _columns(values)
        if len(columns) != len(self.categories):
            raise AeframeError(
                f"{who} has a condition of {len(self.categories)} columns, found one of shape {values.shape}; pass "
                f"the same columns as in training"
            )
        encoded = [
            self._encode_column(who, number, column, names)
            for number, (column, names) in enumerate(zip(columns, self.categories, strict=True))
        ]
        return torch.from_numpy(np.concatenate(encoded, 1))

    def _by_name(self, who: str, condition: Any) -> Any:
        """Return a data frame or mapping with the columns in the order of training; anything else as it is."""
        is_mapping = isinstance(condition, Mapping)
        if not is_mapping and not (is_frame(condition) and self.columns):
            return condition
        names = [str(name) for name in condition] if is_mapping else names_of_columns(condition)
        if not self.columns:
            raise AeframeError(
                f"{who} was trained on a condition without names of columns, found the names {', '.join(names)}; pass "
                "an array (N,) or (N, columns)"
            )
        missing = next((name for name in self.columns if name not in names), None)
        if missing is not None:
            raise AeframeError(
                f"{who} has a condition of the columns {', '.join(self.columns)}, found none named "
                f"'{missing}'{did_you_mean(missing, names)}; pass all of them"
            )
        columns = (condition[name] if is_mapping else column_of(condition, name) for name in self.columns)
        return side_by_side([as_array(column) for column in columns])

    def _encode_column(
        self, who: str, number: int, column: NDArray[Any], categories: Sequence[str] | None
    ) -> NDArray[np.float32]:
        if categories is None:
            if not _is_number(column):
                raise AeframeError(f"{who} has numbers in column {number} of its condition, found {column[0]!r}")
            return column.astype(np.float32)[:, None]
        codes = {name: code for code, name in enumerate(categories)}
        names = _names(column)
        unknown = next((name for name in names if name not in codes), None)
        if unknown is not None:
            raise AeframeError(
                f"{who} was trained without the category '{unknown}'{did_you_mean(unknown, categories)}; its "
                f"categories are {', '.join(categories)}"
            )
        one_hot = np.zeros((len(column), len(categories)), np.float32)
        one_hot[np.arange(len(column)), [codes[name] for name in names]] = 1
        return one_hot

    def is_in(self, x: Any) -> bool:
        """Return whether x is a data frame that has all columns of the condition."""
        return bool(self.columns) and is_frame(x) and {*self.columns} <= {*names_of_columns(x)}

    def state(self) -> dict[str, Any]:
        """Return the coding as values that JSON can represent."""
        categories = [None if names is None else list(names) for names in self.categories]
        return {"categories": categories, "columns": list(self.columns)}

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Self:
        """Return the coding that `state` describes."""
        categories = (None if names is None else tuple(names) for names in state["categories"])
        return cls(tuple(categories), tuple(state["columns"]))


def for_each_sample(condition: Any, num: int) -> Any:
    """Return a condition with a value for each of `num` samples: a single category is that of all of them.

    A mapping may have a single category or number for a column.
    """
    if isinstance(condition, Mapping):
        return {
            name: [value] * num if isinstance(value, (str, int, float)) else value for name, value in condition.items()
        }
    return [condition] * num if isinstance(condition, (str, int)) else condition


def encode_categories(labels: Any) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    """Return labels ``(N,)`` as their numbers among the sorted names, and the names; a missing label is -1.

    Whole numbers of at least 0 keep their values as codes, also as floating-point numbers beside missing ones; their
    names are then empty.
    """
    values = as_array(labels)
    missing = missing_labels(values)
    present = values[~missing]
    codes = np.full(len(values), -1, np.int64)
    if present.dtype == object or missing.any():
        # Numbers beside None or NaN.
        present = np.array(present.tolist())
        is_whole = present.dtype.kind == "f" and bool((present == np.round(present)).all())
        present = present.astype(np.int64) if is_whole else present
    if present.dtype.kind in "iu" and (len(present) == 0 or present.min() >= 0):
        codes[~missing] = present
        return codes, ()
    texts = _names(present)
    names = tuple(sorted(set(texts), key=_order))
    code_of: Mapping[str, int] = {name: code for code, name in enumerate(names)}
    codes[~missing] = [code_of[text] for text in texts]
    return codes, names


def encode_known_categories(labels: Any, names: Sequence[str] | None) -> Tensor:
    """Return labels ``(N,)`` as int64 codes as `encode_categories` did, -1 for a label that is not among the names.

    Args:
        labels: The labels of new samples.
        names: What `encode_categories` returned; None or empty for labels that are whole numbers.

    Raises:
        AeframeError: A label is not a whole number where `names` are not given.
    """
    values = as_array(labels)
    missing = missing_labels(values)
    if missing.any():
        codes = torch.full((len(values),), -1)
        if not missing.all():
            present = np.array(values[~missing].tolist())
            is_whole = present.dtype.kind == "f" and bool((present == np.round(present)).all())
            present = present.astype(np.int64) if is_whole else present
            codes[torch.from_numpy(~missing)] = encode_known_categories(present, names)
        return codes
    if names:
        return encode_names(_names(values), names)
    if values.dtype.kind not in "iu":
        raise AeframeError(f"labels were whole numbers in training, found {values[0]!r}; pass their numbers")
    return torch.from_numpy(values.astype(np.int64))


def _columns(condition: NDArray[Any]) -> list[NDArray[Any]]:
    if condition.ndim == 1:
        return [condition]
    if condition.ndim == 2:
        return [np.array(condition[:, number].tolist()) for number in range(condition.shape[1])]
    raise AeframeError(f"a condition has one or more columns for each sample, found shape {condition.shape}")


def missing_labels(labels: NDArray[Any]) -> NDArray[np.bool_]:
    """Return which labels ``(N,)`` are missing: None, NaN and empty strings."""
    if labels.dtype.kind == "f":
        return np.isnan(labels)
    if labels.dtype.kind in "US":
        return np.char.strip(labels.astype(str)) == ""
    if labels.dtype != object:
        return np.zeros(len(labels), bool)
    return np.array([_is_missing(value) for value in labels.tolist()], bool)


def _is_missing(value: Any) -> bool:
    # The missing value of pandas is neither equal nor unequal to itself.
    return value is None or type(value).__name__ in ("NAType", "NaTType") or value != value or value == ""


def _is_number(column: NDArray[Any]) -> bool:
    return column.dtype.kind == "f"


def _names(column: NDArray[Any]) -> list[str]:
    """Return the values of a column as strings: whole numbers without a decimal point."""
    values = column.tolist()
    missing = next((row for row, value in enumerate(values) if _is_missing(value)), None)
    if missing is not None:
        raise AeframeError(f"row {missing} has no label or category; leave the row out, or name the missing ones")
    return [str(int(value)) if isinstance(value, float) and value.is_integer() else str(value) for value in values]


def _order(name: str) -> tuple[bool, float, str]:
    """Return a key that sorts numbers by value, and before other names."""
    try:
        return False, float(name), name
    except ValueError:
        return True, 0.0, name
