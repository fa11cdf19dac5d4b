"""`Where`: a comparison that the values of one column fulfil or not, such as ``age<30``."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from aeframe.errors import AeframeError, did_you_mean

_COMPARISONS: Mapping[str, Callable[[Any, Any], Any]] = {
    "=": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_TEXT = re.compile(r"(?P<column>.+?)(?P<operator>!=|<=|>=|=|<|>)(?P<value>.+)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Where:
    """A comparison of a column with a value. A missing cell fulfils none."""

    column: str
    operator: str
    """``=``, ``!=``, ``<``, ``<=``, ``>`` or ``>=``."""
    value: str
    """The value as it was written, in the unit of the file."""

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the comparison that is written as `text`; its first operator counts: ``income=>50K`` is "is >50K".

        Raises:
            AeframeError: Column, operator or value is missing.
        """
        match = _TEXT.fullmatch(text)
        column, sign, value = (part.strip() for part in match.groups()) if match else ("", "", "")
        if not column or not value:
            raise AeframeError(
                f"a comparison is written as COLUMN, one of {' '.join(_COMPARISONS)}, and a value, found '{text}'; "
                "write it as age<30"
            )
        return cls(column, sign, value)

    def __str__(self) -> str:
        return f"{self.column}{self.operator}{self.value}"

    @property
    def is_equality(self) -> bool:
        """Whether the column has this value (``=``)."""
        return self.operator == "="

    def position(self, columns: Sequence[str]) -> int:
        """Return which of `columns` is compared.

        Raises:
            AeframeError: There is no such column.
        """
        if self.column not in columns:
            raise AeframeError(
                f"'{self}' compares column '{self.column}', which samples do not have"
                f"{did_you_mean(self.column, columns)}; their columns are {_first(columns)}"
            )
        return list(columns).index(self.column)

    def number(self) -> float:
        """Return the value as a number.

        Raises:
            AeframeError: It is none.
        """
        try:
            return float(self.value)
        except ValueError:
            raise AeframeError(
                f"'{self}' compares the numbers of column '{self.column}' with '{self.value}', which is no number; "
                "correct it"
            ) from None

    def class_number(self, classes: Sequence[str]) -> int:
        """Return which of `classes` the value is.

        Raises:
            AeframeError: It is none of them.
        """
        if self.value not in classes:
            raise AeframeError(
                f"'{self}' compares column '{self.column}' with '{self.value}', which is none of its classes"
                f"{did_you_mean(self.value, classes)}; they are {_first(classes)}"
            )
        return list(classes).index(self.value)

    def holds(self, values: NDArray[Any], value: Any) -> NDArray[np.bool_]:
        """Return ``(N,)``: whether each of `values` ``(N,)`` fulfils the comparison with `value`; NaN does not."""
        fulfilled: NDArray[np.bool_] = _COMPARISONS[self.operator](values, value)
        # NaN and NaT are the values that do not equal themselves.
        return fulfilled & (values == values)


def _first(names: Sequence[str]) -> str:
    """Return the first dozen of the names."""
    return ", ".join(names[:12]) + (", ..." if len(names) > 12 else "")
