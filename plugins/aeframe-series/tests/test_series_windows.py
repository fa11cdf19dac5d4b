"""Windows: their starts, their contents, what identifies them, and that series are stored once."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from aeframe.data.lazy_rows import LazyRows
from aeframe_series.recording import RowIdentity
from aeframe_series.windows import WindowSource, consecutive_starts, overlapping_starts, window_starts


def series(columns: int = 2, num: int = 20) -> torch.Tensor:
    """Return values ``(num, columns)``."""
    return torch.arange(columns * num, dtype=torch.float32).reshape(columns, num).T.contiguous()


def test_batch_contains_slices_of_the_series() -> None:
    x = series()
    source = WindowSource(x, torch.tensor([0, 4, 8, 15]), 5)
    batch = source.batch(torch.tensor([3, 1, 1]))
    assert len(source) == 4
    assert torch.equal(batch.x, torch.stack([x[15:20].T, x[4:9].T, x[4:9].T]))
    assert batch.index is not None
    assert batch.index.tolist() == [15, 4, 4]
    assert batch.mask is None
    # A batch is a copy, so that changes in place do not affect the series.
    batch.x.zero_()
    assert torch.equal(x, series())


def test_mask_and_anomalies_match_the_windows() -> None:
    observed = torch.rand(20, 2, generator=torch.Generator().manual_seed(0)) < 0.5
    values = series().masked_fill(~observed, float("nan"))
    anomaly = torch.zeros(20, dtype=torch.bool)
    anomaly[7] = True
    identity = RowIdentity(np.arange(100, 120), names=("A", "B"), number=np.repeat([0, 1], [6, 14]))
    starts = torch.tensor([0, 4, 8])
    source = WindowSource(values, starts, 5, masked=True, anomaly=anomaly, identity=identity)
    batch = source.batch(torch.arange(3))
    assert batch.mask is not None
    assert torch.equal(batch.mask[1], observed[4:9].T)
    assert torch.equal(batch.x[1], torch.where(observed, series(), 0.0)[4:9].T)
    assert batch.extras["anomaly"].tolist() == [[False] * 5, [False, False, False, True, False], [False] * 5]
    assert batch.extras["label"].tolist() == [0, 1, 0]
    assert batch.index is not None
    assert batch.index.tolist() == [100, 104, 108]
    columns = {name: column.tolist() for name, column in source.columns(torch.tensor([1, 2])).items()}
    assert columns == {"name": ["A row 104", "B row 108"], "series": ["A", "B"], "row": [104, 108]}


def test_rows_of_a_file_are_stored_once_and_scaled_when_they_are_read() -> None:
    read: list[int] = []

    def halved(rows: np.ndarray) -> np.ndarray:
        read.append(len(rows))
        return (rows / 2).astype(np.float32)

    rows = LazyRows(series(num=10_000).numpy())
    # The windows have 9.5 million values, of which none is copied before it is read.
    source = WindowSource(rows, torch.arange(10_000 - 499), 500, scale=halved)
    assert source.values is rows
    assert read == []
    assert torch.equal(source.batch(torch.tensor([7])).x[0], series(num=10_000)[7:507].T / 2)
    assert read == [500]


def test_the_last_window_is_padded() -> None:
    starts, lengths = consecutive_starts(np.array([[0, 7], [7, 12], [13, 20]]), 5)
    assert starts.tolist() == [0, 5, 7, 13, 18]
    assert lengths.tolist() == [5, 2, 5, 5, 2]
    source = WindowSource(series(), torch.from_numpy(starts), 5, lengths=torch.from_numpy(lengths))
    batch = source.batch(torch.tensor([1, 4]))
    assert batch.mask is not None
    assert batch.mask[:, 0].tolist() == [[True, True, False, False, False]] * 2
    assert torch.equal(batch.x[1, :, :2], series()[18:20].T)
    assert batch.x[:, :, 2:].eq(0).all()
    kept, steps = source.rows_of_windows(torch.tensor([4, 1]))
    # Rows 0, 1 of the second window given, which is earlier in the file, and 0, 1 of the first.
    assert (kept.tolist(), steps.tolist()) == ([5, 6, 0, 1], [5, 6, 18, 19])
    assert overlapping_starts(np.array([[0, 8], [8, 12], [12, 20]]), 5, 2).tolist() == [0, 2, 3, 12, 14, 15]


@settings(deadline=None, max_examples=100)
@given(st.data())
def test_window_starts_match_a_naive_search(data: st.DataObject) -> None:
    num = data.draw(st.integers(2, 40))
    first = data.draw(st.integers(0, num - 1))
    steps = range(first, data.draw(st.integers(first, num)))
    window, stride = data.draw(st.integers(2, 8)), data.draw(st.integers(1, 5))
    excluded = np.array(data.draw(st.lists(st.sampled_from([False] * 6 + [True]), min_size=num, max_size=num)))
    after_gap = np.array(data.draw(st.lists(st.sampled_from([False] * 6 + [True]), min_size=num, max_size=num)))
    segments = np.array([[steps.start, steps.stop]])
    starts = window_starts(segments, window, stride, excluded=excluded, after_gap=after_gap).tolist()
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
    assert len(window_starts(np.array([[3, 7]]), 5, 1, excluded=none, after_gap=none)) == 0
    segments = np.array([[3, 8], [0, 4], [1, 7]])
    assert window_starts(segments, 5, 1, excluded=none, after_gap=none).tolist() == [3, 1, 2]


@pytest.mark.parametrize("order", [[2, 0, 1], [1, 1, 2]])
def test_windows_do_not_depend_on_the_batch(order: list[int]) -> None:
    source = WindowSource(series(), torch.tensor([0, 7, 14]), 6)
    batch = source.batch(torch.tensor(order))
    for position, number in enumerate(order):
        assert torch.equal(source.batch(torch.tensor([number])).x[0], batch.x[position])
