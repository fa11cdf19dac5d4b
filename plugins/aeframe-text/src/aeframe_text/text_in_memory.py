"""The dataset ``text_in_memory``: strings that a program has in memory."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
from torch import Tensor

from aeframe.data.in_memory import MemoryDataset
from aeframe.data.samples import as_array, described, is_frame
from aeframe.errors import AeframeError
from aeframe_text.reading import ReadOptions
from aeframe_text.texts import Line, Lines, Origin, TextSplits, problem_of

_COLUMN = "text"
_ORIGIN = Origin("text")


class TextInMemory(MemoryDataset):
    """Strings: a list, an array ``(N,)``, a series of pandas or polars, or a data frame with one column of strings.

    ``extras["label"]`` is the code of `y`: its position among the sorted names, or the number itself.

    Args:
        samples: The samples by split, injected.
        validation: Fraction of the texts for validation, if no validation split was passed.
        test: Fraction of the texts for testing, if no test split was passed.
        split_seed: Seed of the random split.
    """

    modality: ClassVar[str] = "text"
    noun: ClassVar[str] = "texts"

    @staticmethod
    def accepts(x: Any) -> bool:
        """Return whether x is a list, an array or a series of strings, of which some may be missing."""
        if not isinstance(x, list) and (not _is_column(x) or as_array(x).dtype.kind not in "UOT"):
            return False
        has_text = False
        for value in x if isinstance(x, list) else as_array(x).tolist():
            if isinstance(value, str):
                has_text = True
            elif not _is_missing(value):
                return False
        return has_text

    def read(self, x: Any, labels: Tensor | None) -> Lines:
        return lines_of(x, None if labels is None else labels.tolist())

    def describe_raw(self, train: Lines) -> Mapping[str, Any]:
        # The modality learns shape and vocabulary from the texts.
        return {}

    def raw_splits(self, splits: Mapping[str, Any]) -> TextSplits:
        reading = ReadOptions(_column_name(self.samples["train"].x))
        return TextSplits(**splits, reading=reading, label_names=self.label_names or ())


def lines_of(x: Any, labels: Sequence[int] | None = None) -> Lines:
    """Return the strings of x, and as unusable lines what is empty, missing or no string.

    Args:
        x: The strings, as `TextInMemory` takes them.
        labels: The code of the label of each string; None without labels.

    Raises:
        AeframeError: x has no strings, or is an object of another kind.
    """
    values = _values(x)
    codes: Iterable[int | None] = [None] * len(values) if labels is None else labels
    return Lines([_line(number, value, code) for number, (value, code) in enumerate(zip(values, codes, strict=True))])


def _line(number: int, value: Any, code: int | None) -> Line:
    if isinstance(value, str):
        return Line(str(value), _ORIGIN, number, problem_of(value), code)
    problem = "is missing" if _is_missing(value) else f"is of type {type(value).__name__}, expected a string"
    return Line("", _ORIGIN, number, problem, code)


def _values(x: Any) -> Sequence[Any]:
    """Return the items of a list, array, series or data frame of one column."""
    if is_frame(x):
        names = [str(name) for name in x.columns]
        if len(names) != 1:
            raise AeframeError(
                f"modality 'text' takes one column of strings, found a data frame with the columns {', '.join(names)}; "
                f"pass one of them: frame['{names[0] if names else _COLUMN}']"
            )
        x = x[x.columns[0]]
    values: Sequence[Any] = []
    if isinstance(x, (list, tuple)):
        values = x
    elif _is_column(x):
        values = as_array(x).tolist()
    if not values:
        raise AeframeError(
            f"modality 'text' takes a list, an array (N,) or a series of at least one string, found {_found(x)}; pass "
            "each text as one string"
        )
    return values


def _column_name(x: Any) -> str:
    """Return the name of a series or of the column of a data frame, by which files of such texts are read."""
    name = str(x.columns[0]) if is_frame(x) else getattr(x, "name", None)
    return name if isinstance(name, str) and name else _COLUMN


def _is_column(x: Any) -> bool:
    """Return whether x is an array ``(N,)``, or a series."""
    is_array = isinstance(x, np.ndarray) or hasattr(x, "to_numpy")
    return is_array and not is_frame(x) and len(x.shape) == 1


def _is_missing(value: Any) -> bool:
    """Return whether a value is None, NaN, or the missing value of pandas."""
    return value is None or (isinstance(value, float) and value != value) or type(value).__name__ == "NAType"


def _found(x: Any) -> str:
    return "a single string" if isinstance(x, str) else described(x)
