"""What the cells of text tables mean: numbers, truth values and marks for missing values."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

MISSING = frozenset({"", "nan", "na", "n/a", "null", "none", "#n/a", "#na", "<na>", "?", "-nan", "#n/a n/a", "n.a."})
"""Marks for a missing value, in lower case and without blanks around them."""
MISSING_NUMBERS = frozenset({".", "-", "--", "1.#qnan", "-1.#ind", "1.#ind", "-1.#qnan"})
"""Marks that stand for a missing number, but may be words in a column of text."""
TRUTH = {"true": 1.0, "false": 0.0}
_THOUSANDS = re.compile(r"[+-]?[1-9]\d{0,2}((,\d{3})+(\.\d*)?|(\.\d{3}){2,}(,\d*)?|(\.\d{3})+,\d*)")
_COMMA = re.compile(r"[+-]?(\d+,\d*|,\d+)([eE][+-]?\d+)?")
_MAX_SHOWN = 40


class CellReader:
    """Reads the cells of one text file as numbers.

    Args:
        decimal: The decimal mark, ``.`` or ``,``.
        missing: Further marks for missing values.
    """

    def __init__(self, decimal: str, missing: Sequence[str | float] = ()) -> None:
        self.decimal = decimal
        self.words = frozenset(mark.strip().lower() for mark in missing if isinstance(mark, str))
        """Further words for missing values, in lower case."""
        self.numbers = tuple(float(mark) for mark in missing if is_number(str(mark)))
        """Further numbers that stand for missing values."""

    def number(self, cell: str) -> float | None:
        """Return the number in a cell, 1 and 0 for true and false, NaN for a missing one; None if it holds none."""
        word = cell.strip().lower()
        if self.is_missing(word):
            return float("nan")
        if word in TRUTH:
            return TRUTH[word]
        if self.decimal == ",":
            if "." in word:
                return None
            word = word.replace(",", ".")
        return float(word) if is_number(word) else None

    def is_value(self, cell: str) -> bool:
        """Return whether a cell is a number, a truth value or a mark for a missing one, and not empty."""
        return bool(cell.strip()) and self.number(cell) is not None

    def finite(self, cell: str) -> float | None:
        """Return the number in a cell; None for a missing one, an infinity, and for a cell that holds no number."""
        number = self.number(cell)
        return number if number is not None and math.isfinite(number) else None

    def is_missing(self, cell: str) -> bool:
        """Return whether a cell stands for a missing number."""
        word = cell.strip().lower()
        return word in MISSING or word in MISSING_NUMBERS or word in self.words

    def is_missing_label(self, cell: str) -> bool:
        """Return whether a cell stands for a missing label or text."""
        word = cell.strip().lower()
        return word in MISSING or word in self.words

    def without_marks(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Set the numbers that stand for missing values to NaN, in place."""
        for mark in self.numbers:
            values[values == mark] = np.nan
        return values


def is_value(cell: str) -> bool:
    """Return whether a cell is a number, a truth value or a mark for a missing value, and not empty."""
    word = cell.strip().lower()
    return bool(word) and (word in TRUTH or word in MISSING or word in MISSING_NUMBERS or is_number(word))


def is_number(cell: str) -> bool:
    """Return whether Python reads a cell as a number; digits with underscores between them are none."""
    try:
        float(cell)
    except ValueError:
        return False
    return "_" not in cell


def is_whole(cell: str) -> bool:
    """Return whether a cell has only digits, and perhaps a sign."""
    return re.fullmatch(r"\s*[+-]?\d+\s*", cell) is not None


def has_decimal_comma(cell: str) -> bool:
    """Return whether a cell is a number with a comma as its decimal mark; ``1,234`` can be one."""
    return _COMMA.fullmatch(cell.strip()) is not None


def has_thousands(cell: str) -> bool:
    """Return whether a cell is a number whose digits can be separated in thousands, such as ``1,234``."""
    return _THOUSANDS.fullmatch(cell.strip()) is not None


def problem_of(cell: str) -> str:
    """Return how an error message describes a cell that is no number: the cell, and what it seems to be."""
    word = cell.strip()
    if word.endswith("%") and is_number(word[:-1].replace(",", ".")):
        return f"{shown(cell)}, a percentage,"
    if has_thousands(word):
        return f"{shown(cell)}, with a separator of thousands or another decimal mark,"
    if has_decimal_comma(word):
        return f"{shown(cell)}, with a decimal comma,"
    return shown(cell)


def shown(cell: str) -> str:
    """Return a cell in quotation marks for an error message, shortened."""
    return f"'{cell}'" if len(cell) <= _MAX_SHOWN else f"'{cell[: _MAX_SHOWN - 3]}...'"
