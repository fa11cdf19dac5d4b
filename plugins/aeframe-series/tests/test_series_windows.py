"""Windows: their starts, their contents, and that they are views of one series."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from aeframe_series.windows import WindowSource, window_starts


def series(columns: int = 2, num: int = 20) -> torch.Tensor:
    return torch.arange(columns * num, dtype=torch.float32).reshape(columns, num)


def test_batch_contains_slices_of_the_series() -> None:
    x = series()
    source = WindowSource(x, torch.tensor([0, 4, 8, 15]), 5)
    batch = source.batch(torch.tensor([3, 1, 1]))
    assert len(source) == 4
    assert torch.equal(batch.x, torch.stack([x[:, 15:20], x[:, 4:9], x[:, 4:9]]))
    assert batch.index is not None
    assert batch.index.tolist() == [15, 4, 4]
    assert batch.mask is None
    # A batch is a copy, so that changes in place do not affect the series.
    batch.x.zero_()
    assert torch.equal(x, series())


def test_mask_and_anomalies_match_the_windows() -> None:
    observed = torch.rand(2, 20, generator=torch.Generator().manual_seed(0)) < 0.5
    anomaly = torch.zeros(20, dtype=torch.bool)
    anomaly[7] = True
    rows = torch.arange(100, 120)
    source = WindowSource(series(), torch.tensor([0, 4, 8]), 5, observed=observed, anomaly=anomaly, rows=rows)
    batch = source.batch(torch.arange(3))
    assert batch.mask is not None
    assert torch.equal(batch.mask[1], observed[:, 4:9])
    assert batch.extras["anomaly"].tolist() == [[False] * 5, [False, False, False, True, False], [False] * 5]
    assert batch.extras["label"].tolist() == [0, 1, 0]
    assert batch.index is not None
    assert batch.index.tolist() == [100, 104, 108]


def test_windows_are_views() -> None:
    x = series(num=10_000)
    source = WindowSource(x, torch.arange(10_000 - 499), 500)
    # The windows have 9.5 million values, but share the memory of the series.
    assert source._x.data_ptr() == x.data_ptr()
    assert source._x.untyped_storage().nbytes() == x.numel() * 4


@settings(deadline=None, max_examples=100)
@given(st.data())
def test_window_starts_match_a_naive_search(data: st.DataObject) -> None:
    num = data.draw(st.integers(2, 40))
    first = data.draw(st.integers(0, num - 1))
    steps = range(first, data.draw(st.integers(first, num)))
    window, stride = data.draw(st.integers(2, 8)), data.draw(st.integers(1, 5))
    excluded = np.array(data.draw(st.lists(st.sampled_from([False] * 6 + [True]), min_size=num, max_size=num)))
    after_gap = np.array(data.draw(st.lists(st.sampled_from([False] * 6 + [True]), min_size=num, max_size=num)))
    starts = window_starts(steps, window, stride, excluded=excluded, after_gap=after_gap).tolist()
    assert starts == [
        start
        for start in steps
        if (start - first) % stride == 0
        and start + window <= steps.stop
        and not excluded[start : start + window].any()
        and not after_gap[start + 1 : start + window].any()
    ]


def test_no_window_in_a_split_that_is_too_short() -> None:
    none = np.zeros(10, bool)
    assert len(window_starts(range(3, 7), 5, 1, excluded=none, after_gap=none)) == 0
    assert window_starts(range(3, 8), 5, 1, excluded=none, after_gap=none).tolist() == [3]


@pytest.mark.parametrize("order", [[2, 0, 1], [1, 1, 2]])
def test_windows_do_not_depend_on_the_batch(order: list[int]) -> None:
    source = WindowSource(series(), torch.tensor([0, 7, 14]), 6)
    batch = source.batch(torch.tensor(order))
    for position, number in enumerate(order):
        assert torch.equal(source.batch(torch.tensor([number])).x[0], batch.x[position])
