"""Columns of text become numbers where every cell allows it: `column_of_text`.

Cells are strings of pyarrow, so that each step is one pass over a column. A column with repeated cells is converted by
its distinct cells.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from aeframe.data.tables.cells import MISSING, MISSING_NUMBERS, is_number, shown

LARGEST = 2**53
"""Integers beyond it are not exact in float64."""
_NUM_SAMPLED = 10_000
"""Cells from which it is estimated whether cells are repeated."""
_NUMBER = r"^[+-]?([0-9]+[.,]?[0-9]*|[.,][0-9]+)([eE][+-]?[0-9]+)?$"
_LEADING_ZERO = r"^[+-]?0[0-9]"
_THOUSANDS = {
    ".": r"^[+-]?[0-9]{1,3}(,[0-9]{3})+(\.[0-9]*)?$",
    ",": r"^[+-]?[0-9]{1,3}(\.[0-9]{3})+(,[0-9]*)?$",
}


class Marks:
    """The marks for missing cells: those of `aeframe.data.tables.cells`, and further ones.

    Args:
        further: Words, which are compared without case and blanks around them, and numbers, compared by value.
    """

    def __init__(self, further: Sequence[str | float] = ()) -> None:
        self.words = MISSING | {str(mark).strip().lower() for mark in further}
        self.numbers = tuple(float(mark) for mark in further if is_number(str(mark)))
        self._words = pa.array(sorted(self.words), pa.string())
        self._with_dashes = pa.array(sorted(self.words | MISSING_NUMBERS), pa.string())

    def are_missing(self, cells: Any, *, of_numbers: bool = False) -> Any:
        """Return which cells, without blanks around them, are marks; `of_numbers` adds ``-`` and ``.``."""
        return pc.is_in(pc.utf8_lower(cells), value_set=self._with_dashes if of_numbers else self._words)

    def without_numbers(self, values: Any) -> Any:
        """Return numbers of pyarrow, with null for those that are marks."""
        for mark in self.numbers:
            values = pc.if_else(pc.equal(values, pa.scalar(mark)), pa.scalar(None, values.type), values)
        return values


@dataclass(frozen=True, slots=True)
class TextColumn:
    """A column whose cells were text."""

    values: Any
    """``(N,)`` an array of pandas: int64, Int64, float64 or string."""
    note: str = ""
    """What the column holds and why it is text, in a few words; empty for numbers and for plain text."""
    row: int | None = None
    """The index of the first row that shows it."""


def column_of_text(cells: Any, marks: Marks, decimal: str | None = ".") -> TextColumn:
    """Return a column as numbers if all its cells are numbers or missing, otherwise as text.

    Numbers with leading zeros, and integers beyond 2**53, stay text, which keeps all their digits.

    Args:
        cells: ``(N,)`` strings, an array of pyarrow.
        marks: The marks for missing cells.
        decimal: The decimal mark.
    """
    sample = cells.slice(0, _NUM_SAMPLED)
    if 2 * pc.count_distinct(sample).as_py() > len(sample) or len(cells) < 2:
        values, note, shows = _converted(cells, marks, decimal)
        row = None if shows is None else pc.index(shows, pa.scalar(True)).as_py()
        return TextColumn(as_pandas(values), note, row)
    encoded = cells.dictionary_encode()
    encoded = encoded.unify_dictionaries() if isinstance(encoded, pa.ChunkedArray) else encoded
    chunks = encoded.chunks if isinstance(encoded, pa.ChunkedArray) else [encoded]
    codes = pa.chunked_array([chunk.indices for chunk in chunks])
    values, note, shows = _converted(chunks[0].dictionary, marks, decimal)
    row = None if shows is None else pc.index(shows.take(codes), pa.scalar(True)).as_py()
    return TextColumn(as_pandas(values.take(codes)), note, row)


def as_pandas(values: Any) -> Any:
    """Return numbers or strings of pyarrow as an array of pandas: integers with nulls as Int64, others as of numpy."""
    values = values if isinstance(values, pa.ChunkedArray) else pa.chunked_array([values])
    if pa.types.is_string(values.type) or pa.types.is_large_string(values.type):
        return pd.StringDtype("pyarrow").__from_arrow__(values)  # type: ignore[attr-defined]
    if pa.types.is_integer(values.type) and values.null_count:
        name = str(values.type).replace("int", "Int").replace("uI", "UI")
        dtype: Any = pd.api.types.pandas_dtype(name)
        return dtype.__from_arrow__(values)
    if pa.types.is_boolean(values.type) and values.null_count:
        return pd.BooleanDtype().__from_arrow__(values)  # type: ignore[attr-defined]
    return values.to_numpy()


def _converted(cells: Any, marks: Marks, decimal: str | None) -> tuple[Any, str, Any]:
    """Return the values of cells, a note, and a mask of the cells that show what the note says, or None."""
    words = pc.utf8_trim_whitespace(cells)
    words = pc.if_else(marks.are_missing(words), pa.scalar(None, pa.string()), words)
    if words.null_count == len(words):
        return words, "", None
    found = _numbers(words, decimal)
    if found is None:
        # A dash is a word among words, and a missing number among numbers.
        dashes = marks.are_missing(words, of_numbers=True)
        if pc.any(dashes).as_py():
            found = _numbers(pc.if_else(dashes, pa.scalar(None, pa.string()), words), decimal)
    if found is None:
        return words, *_mixture(words)
    numbers, note = found
    if numbers is not None:
        return marks.without_numbers(numbers), note, None
    if note != _LARGE:
        shows = pc.match_substring_regex(words, _LEADING_ZERO if note == _ZEROS else ",")
    else:
        shows = pc.greater(pc.abs(pc.cast(words, pa.float64())), float(LARGEST))
    shows = pc.fill_null(shows, False)
    example = pc.index(shows, pa.scalar(True)).as_py()
    return words, f"{note}, such as {words[example].as_py()}", shows


_ZEROS = "has numbers with leading zeros"
_LARGE = "has integers beyond 2**53"
_COMMAS = "has commas that can be decimal marks or separate thousands (set data.decimal)"


def _numbers(words: Any, decimal: str | None) -> tuple[Any, str] | None:
    """Return the numbers in words, and a note; None for the numbers where text is kept; None if one is no number."""
    plain = _without_plus(words)
    values = _cast(plain, pa.int64())
    if values is not None:
        if _any_regex(plain, "0x", "0X", pattern="^-?0[xX]"):
            return None
        if _has_leading_zeros(plain):
            return None, _ZEROS
        beyond = pc.any(pc.or_(pc.greater(values, LARGEST), pc.less(values, -LARGEST))).as_py()
        return (None, _LARGE) if beyond else (values, "")
    note = ""
    values = _cast(plain, pa.float64()) if decimal != "," else _cast_comma(plain)
    if values is None and decimal is None:
        values = _cast_comma(plain)
        if values is not None and pc.all(pc.match_substring_regex(plain, _THOUSANDS["."])).as_py():
            return None, _COMMAS
        note = "has a decimal comma" if values is not None else ""
    if values is None:
        values = _cast_thousands(plain, decimal or ".")
        note = "has separators of thousands" if values is not None else ""
        if values is None:
            return None
    if _has_leading_zeros(plain):
        return None, _ZEROS
    large = pc.filter(plain, pc.greater(pc.abs(values), float(LARGEST)))
    if pc.any(pc.match_substring_regex(large, "^[+-]?[0-9]+$")).as_py():
        return None, _LARGE
    return values, note


def _without_plus(words: Any) -> Any:
    """Return words without a sign plus, which pyarrow does not parse."""
    if not pc.any(pc.starts_with(words, "+")).as_py():
        return words
    return pc.replace_substring_regex(words, r"^\+([0-9.,])", r"\1")


def _cast(words: Any, dtype: Any) -> Any:
    """Return words as numbers; None if one is none."""
    try:
        return pc.cast(words, dtype)
    except pa.ArrowInvalid:
        return None


def _cast_comma(words: Any) -> Any:
    """Return words with a decimal comma as numbers; None if one is none."""
    if pc.any(pc.match_substring(words, ".")).as_py():
        return None
    return _cast(pc.replace_substring(words, ",", "."), pa.float64())


def _cast_thousands(words: Any, decimal: str) -> Any:
    """Return words with separators of thousands, such as ``1,234.5``, as numbers; None if one is none."""
    separator = "," if decimal == "." else "."
    separated = pc.match_substring(words, separator)
    if not pc.any(separated).as_py():
        return None
    if not pc.all(pc.match_substring_regex(pc.filter(words, separated), _THOUSANDS[decimal])).as_py():
        return None
    return _cast(pc.replace_substring(pc.replace_substring(words, separator, ""), ",", "."), pa.float64())


def _has_leading_zeros(words: Any) -> bool:
    return _any_regex(words, "0", "-0", pattern=_LEADING_ZERO)


def _any_regex(words: Any, *starts: str, pattern: str) -> bool:
    """Return whether a word that begins with one of `starts` matches; the beginning is compared faster."""
    return any(
        bool(pc.any(pc.match_substring_regex(pc.filter(words, pc.starts_with(words, start)), pattern)).as_py())
        for start in starts
    )


def _mixture(words: Any) -> tuple[str, Any]:
    """Return a note on text among which there are numbers, and a mask of the rarer of both; nothing for plain text."""
    numeric = pc.match_substring_regex(words, _NUMBER)
    num, num_present = pc.sum(numeric).as_py() or 0, len(words) - words.null_count
    if num == 0 or num == num_present:
        return "", None
    rare = pc.fill_null(numeric if 2 * num < num_present else pc.invert(numeric), False)
    example = words[pc.index(rare, pa.scalar(True)).as_py()].as_py()
    return f"holds numbers and text, such as {shown(example)}", rare
