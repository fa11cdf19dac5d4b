"""`CodingOptions`: how the columns of a table become elements of x."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, get_args

from aeframe.errors import AeframeError, did_you_mean

NumberCodingName = Literal["mixture", "quantile", "standard"]
NUMBER_CODINGS: tuple[NumberCodingName, ...] = get_args(NumberCodingName)


@dataclass(frozen=True)
class CodingOptions:
    """Options of the coding of a table; raise an `AeframeError` if one is out of range.

    Args:
        numbers: The coding of numbers, integers and dates. ``mixture``: mode-specific normalization. ``quantile``: to
            a normal distribution by empirical quantiles. ``standard``: to mean 0 and standard deviation 1.
        per_column: Name of a column to its coding, for columns that differ from `numbers`.
        modes: Number of modes of ``mixture``; modes that a column does not need stay unused.
        quantiles: Number of stored quantiles of ``quantile``.
        max_classes: The most classes of a category, without that of missing cells. Those that are rarest in the
            training split are grouped.
        date_parts: Whether month, weekday and hour of a date are elements of their own, where they vary.
    """

    numbers: NumberCodingName = "mixture"
    per_column: Mapping[str, NumberCodingName] = field(default_factory=dict)
    modes: int = 10
    quantiles: int = 1000
    max_classes: int = 1000
    date_parts: bool = False

    def __post_init__(self) -> None:
        for owner, name in [
            ("numbers", self.numbers),
            *((f"per_column.{key}", x) for key, x in self.per_column.items()),
        ]:
            if name not in NUMBER_CODINGS:
                raise AeframeError(
                    f"the coding option '{owner}' must be one of {', '.join(NUMBER_CODINGS)}, found '{name}'"
                    f"{did_you_mean(name, NUMBER_CODINGS)}"
                )
        for option, value, least in (
            ("modes", self.modes, 1),
            ("quantiles", self.quantiles, 2),
            ("max_classes", self.max_classes, 2),
        ):
            if value < least:
                raise AeframeError(f"the coding option '{option}' must be at least {least}, found {value}")
