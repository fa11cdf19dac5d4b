"""Whether numbers identify rows, such as a column ``customer_id``."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pandas as pd

from aeframe_tabular.distinct import Distinct, numbers_in

_WORDS = frozenset({"id", "ids", "uuid", "guid", "uid", "key", "index", "idx"})
_COUNTERS = frozenset({"row", "nr", "no", "num", "number", "rownum", "rowid", "record", "unnamed"})
"""Words that name a counter where the numbers count up."""


def is_named_as_identifier(name: str) -> bool:
    """Return whether a name ends or begins in a word such as ``id``: ``id``, ``customer_id``, ``PassengerId``."""
    words = _words(name)
    return bool(words) and (words[-1] in _WORDS or words[0] in _WORDS)


def identifier_reason(name: str, column: pd.Series[Any], distinct: Distinct) -> str:
    """Return why whole numbers identify the rows; empty if they do not.

    They do if all are different and the name is that of an identifier, or if they also count up and the name is that of
    a counter.
    """
    if distinct.num < len(column):
        return ""
    if is_named_as_identifier(name):
        return "all different, and named as an identifier"
    numbers = numbers_in(distinct.values)
    if set(_words(name)) & _COUNTERS and (np.diff(numbers) == 1).all():
        return "counts the rows"
    return ""


def _words(name: str) -> list[str]:
    """Return the words of a name in lower case: ``PassengerId`` and ``passenger_id`` are two words."""
    return [word.lower() for word in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+", name)]
