"""Windows: which there are, what they hold, and that the series is kept once."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from aeframe_series.windows import WindowSource, starts_within


def series(columns: int = 2, num: int = 20) -> torch.Tensor:
    return torch.arange(columns * num, dtype=torch.float32).reshape(columns, num)


def test_a_batch_is_slices_of_the_series() -> None:
    x = series()
    source = WindowSource(x, torch.tensor([0, 4, 8, 15]), 5)
    batch = source.batch(torch.tensor([3, 1, 1]))
    assert len(source) == 4
    assert torch.equal(batch.x, torch.stack([x[:, 15:20], x[:, 4:9], x[:, 4:9]]))
    assert batch.index is not None
    assert batch.index.tolist() == [15, 4, 4]
    assert batch.mask is None
    # A batch may be changed in place: it is none of the series itself.
    batch.x.zero_()
    assert torch.equal(x, series())


def test_mask_and_anomalies_come_from_the_same_places() -> None:
    counted = torch.rand(2, 20, generator=torch.Generator().manual_seed(0)) < 0.5
    anomaly = torch.zeros(20, dtype=torch.bool)
    anomaly[7] = True
    rows = torch.arange(100, 120)
    source = WindowSource(series(), torch.tensor([0, 4, 8]), 5, counted=counted, anomaly=anomaly, rows=rows)
    batch = source.batch(torch.arange(3))
    assert batch.mask is not None
    assert torch.equal(batch.mask[1], counted[:, 4:9])
    assert batch.extras["anomaly"].tolist() == [[False] * 5, [False, False, False, True, False], [False] * 5]
    assert batch.extras["label"].tolist() == [0, 1, 0]
    assert batch.index is not None
    assert batch.index.tolist() == [100, 104, 108]


def test_windows_are_views() -> None:
    x = series(num=10_000)
    source = WindowSource(x, torch.arange(10_000 - 499), 500)
    # Ten million numbers as windows; the series itself is what is there.
    assert source._x.data_ptr() == x.data_ptr()
    assert source._x.untyped_storage().nbytes() == x.numel() * 4


@settings(deadline=None, max_examples=100)
@given(st.data())
def test_windows_lie_within_and_hold_nothing_that_is_bad(data: st.DataObject) -> None:
    num = data.draw(st.integers(2, 40))
    first = data.draw(st.integers(0, num - 1))
    places = range(first, data.draw(st.integers(first, num)))
    window, stride = data.draw(st.integers(2, 8)), data.draw(st.integers(1, 5))
    bad = np.array(data.draw(st.lists(st.sampled_from([False] * 6 + [True]), min_size=num, max_size=num)))
    breaks = np.array(data.draw(st.lists(st.sampled_from([False] * 6 + [True]), min_size=num, max_size=num)))
    found = starts_within(places, window, stride, bad=bad, breaks=breaks).tolist()
    # The slow way.
    assert found == [
        start
        for start in places
        if (start - first) % stride == 0
        and start + window <= places.stop
        and not bad[start : start + window].any()
        and not breaks[start + 1 : start + window].any()
    ]


def test_a_split_shorter_than_a_window_has_none() -> None:
    nothing = np.zeros(10, bool)
    assert len(starts_within(range(3, 7), 5, 1, bad=nothing, breaks=nothing)) == 0
    assert starts_within(range(3, 8), 5, 1, bad=nothing, breaks=nothing).tolist() == [3]


@pytest.mark.parametrize("order", [[2, 0, 1], [1, 1, 2]])
def test_a_sample_is_the_same_in_any_batch(order: list[int]) -> None:
    source = WindowSource(series(), torch.tensor([0, 7, 14]), 6)
    together = source.batch(torch.tensor(order))
    for place, row in enumerate(order):
        assert torch.equal(source.batch(torch.tensor([row])).x[0], together.x[place])
