"""Known factors of variation of samples, as numbers of categories (`aeframe.types.FACTORS`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aeframe.data.conditions import encode_categories
from aeframe.errors import AeframeError

Array = NDArray[Any]


def encode_factors(who: str, splits: Sequence[Mapping[str, Array]]) -> tuple[list[NDArray[np.int64]], tuple[str, ...]]:
    """Return the factors ``(n, F)`` of each split, and their names.

    Whole numbers of at least 0 keep their values; other values become their positions among the sorted values of all
    splits. A missing value is -1.

    Args:
        who: The file or function, for error messages.
        splits: Columns ``(n,)``, or several of one name ``(n, columns)``, by name; the same names in every split. The
            columns of one name are numbered.

    Raises:
        AeframeError: Most samples have a value of their own, so that it is no category.
    """
    codes: dict[str, NDArray[np.int64]] = {}
    for name in splits[0]:
        values = np.concatenate([split[name] for split in splits])
        columns = {name: values} if values.ndim == 1 else {f"{name} {n}": each for n, each in enumerate(values.T)}
        codes |= {label: encode_categories(column)[0] for label, column in columns.items()}
    for label, column in codes.items():
        num_values = len(np.unique(column[column >= 0]))
        if num_values > len(column) / 2:
            raise AeframeError(
                f"{who}: factor '{label}' has {num_values} values in {len(column)} samples, expected categories that "
                "many samples share; divide it into bins"
            )
    ends = np.cumsum([len(next(iter(split.values()))) for split in splits])
    return np.split(np.stack(list(codes.values()), 1), ends[:-1]), tuple(codes)
