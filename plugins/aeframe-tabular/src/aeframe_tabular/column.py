"""`Column`: the name, kind and format of one column of a table, as found in the training file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal, get_args

Kind = Literal["number", "integer", "boolean", "category", "ordinal", "date", "id", "text", "constant"]
KINDS: tuple[Kind, ...] = get_args(Kind)
NUMERIC: frozenset[Kind] = frozenset({"number", "integer", "date"})
"""Kinds whose values have an order and distances."""
DISCRETE: frozenset[Kind] = frozenset({"boolean", "category", "ordinal"})
"""Kinds whose values are one of `Column.classes`."""
LEFT_OUT: frozenset[Kind] = frozenset({"id", "text", "constant"})
"""Kinds that are not part of x."""


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table: its name, its kind, and how its values are written.

    A *typed frame* is a `pandas.DataFrame` with the columns that are used, in the order of the file:

    - ``number``, ``integer``: float64, NaN where missing; those of integers are whole, and at most 2**53.
    - ``boolean``, ``category``, ``ordinal``: `pandas.Categorical` with the categories `classes`, all strings.
    - ``date``: datetime64[us], NaT where missing.

    Its index is the id of each row, if the table has one.
    """

    name: str
    kind: Kind
    dtype: str = "str"
    """The type in which values are returned: a dtype of numpy such as ``int64``, or ``str``."""
    num_missing: int = 0
    """Missing cells among the rows that were examined."""
    num_distinct: int = 0
    """Different values among the rows that were examined, without the missing ones."""
    example: str = ""
    """A value, as it is written in the file."""
    classes: tuple[str, ...] = ()
    """The values of a boolean, category or ordinal, in the order of their numbers."""
    low: float | None = None
    """The lowest number; of dates in seconds since 1970."""
    high: float | None = None
    """The highest number."""
    decimals: int | None = None
    """The digits after the decimal mark to which numbers are rounded; None for all."""
    date_format: str | None = None
    """The format of dates that are text, for `strptime`; None for a column of dates."""
    spike: float | None = None
    """A number that many rows have, such as 0 in amounts; it is modelled apart from the others."""
    reason: str = ""
    """Why it has this kind, or why it is left out, in a few words."""

    @property
    def is_used(self) -> bool:
        """Whether the column is part of x."""
        return self.kind not in LEFT_OUT

    @property
    def is_numeric(self) -> bool:
        """Whether the values have an order and distances."""
        return self.kind in NUMERIC

    @property
    def is_discrete(self) -> bool:
        """Whether the values are one of `classes`."""
        return self.kind in DISCRETE

    def to_dict(self) -> dict[str, Any]:
        """Return the column as values that JSON can represent; `from_dict` reads them."""
        return {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(self).items()}

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> Column:
        """Return the column of the values that `to_dict` returned."""
        known = {field.name for field in fields(cls)}
        values = {key: value for key, value in plain.items() if key in known}
        return cls(**values | {"classes": tuple(plain.get("classes", ()))})
