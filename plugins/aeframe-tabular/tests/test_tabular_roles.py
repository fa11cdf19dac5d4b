"""The index of typed frames."""

from __future__ import annotations

import numpy as np
import pandas as pd

from aeframe_tabular.roles import with_index


def test_an_index_copies_no_column() -> None:
    frame = pd.DataFrame({"a": np.arange(3.0), "b": pd.Categorical(["x", "y", "x"])}, index=[5, 6, 7])
    raw = pd.DataFrame({"key": [10, 11, 12]})
    for id, index in ((None, [0, 1, 2]), ("key", ["10", "11", "12"])):
        indexed = with_index(frame, raw, id)
        assert list(indexed.index) == index
        assert np.shares_memory(indexed["a"].to_numpy(), frame["a"].to_numpy())
    assert list(frame.index) == [5, 6, 7]
