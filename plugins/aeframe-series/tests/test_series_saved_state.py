"""Series prepared with the saved scale and split of an earlier run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from series_files import csv, dataset, values

from aeframe import AeframeError
from aeframe.testing.saved_state import assert_state_restores_data
from aeframe_series.modality import Series
from aeframe_series.simulated import SeriesSimulated


@pytest.mark.parametrize("options", [{}, {"scale": "minmax", "missing": "mask"}])
def test_simulated_series(options: dict[str, Any]) -> None:
    assert_state_restores_data(lambda: Series(window=16, **options), lambda: SeriesSimulated(rows=300))


@pytest.mark.parametrize("context", [0, 4])
def test_appended_rows_change_neither_scale_nor_split(tmp_path: Path, context: int) -> None:
    path = csv(tmp_path)
    longer = np.concatenate([values(), 50 + 20 * values(60)])
    assert_state_restores_data(
        lambda: Series(window=8), lambda: dataset(path, context=context), change=lambda: csv(tmp_path, longer)
    )


def test_shorter_series_is_an_error(tmp_path: Path) -> None:
    path = csv(tmp_path)
    with pytest.raises(AeframeError, match=r"a.csv lacks 10 of the 20 samples of the test split .* pass the data of"):
        assert_state_restores_data(
            lambda: Series(window=8), lambda: dataset(path), change=lambda: csv(tmp_path, values(90))
        )


def test_other_columns_are_an_error(tmp_path: Path) -> None:
    path = csv(tmp_path)
    with pytest.raises(AeframeError, match=r"'a.csv' has the columns b, a, c, expected a, b, c as in training"):
        assert_state_restores_data(
            lambda: Series(window=8),
            lambda: dataset(path),
            change=lambda: path.write_text(path.read_text().replace("date,a,b,c", "date,b,a,c")),
        )
