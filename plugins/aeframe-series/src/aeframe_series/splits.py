"""Split series into training, validation and test rows: in temporal order within each, or whole series."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from aeframe.data.random_split import RandomSplit
from aeframe.data.split_record import SPLITS, SplitRecord
from aeframe.errors import AeframeError
from aeframe_series.recording import Recording, Segments

SplitBy = Literal["time", "series"]
"""``time`` holds out the last rows of each series, ``series`` whole series."""
MIN_WHOLE = 10
"""From this number of series on, whole ones are held out unless the user chooses."""


def holds_out_whole(split_by: SplitBy | None, num_series: int) -> bool:
    """Return whether whole series are held out; `split_by` is None where the user did not choose."""
    return split_by == "series" or (split_by is None and num_series >= MIN_WHOLE)


def describe_split(origin: str, *, whole: bool) -> str:
    """Return a sentence about how several series are split."""
    return f"'{origin}': " + (
        "whole series, drawn at random, are held out (data.split_by=time holds out the last rows of each)"
        if whole
        else "the last rows of each series are held out (data.split_by=series holds out whole ones)"
    )


def split_by_fractions(
    recording: Recording, *, validation: float, test: float, context: int = 0, record: SplitRecord | None = None
) -> dict[str, Segments]:
    """Return the rows of each split: in each series training first, then the fractions for validation and test.

    Args:
        recording: All series.
        validation: Fraction of the rows of each series for validation.
        test: Fraction of the rows of each series for testing.
        context: Number of rows before the validation and the test split that are also added to them.
        record: `Dataset.split_record`, which stores the split. If it holds the split of an earlier run, that is used
            instead. None stores nothing.

    Raises:
        AeframeError: Fractions that are not positive, or that leave no rows for training.
    """
    if not (validation > 0 and test > 0 and validation + test < 1):
        raise AeframeError(
            f"{recording.rows.origin}: validation and test must be positive fractions with a sum below 1, "
            f"found {validation:g} and {test:g}"
        )
    parts = parts_in_time(recording.whole, {"validation": validation, "test": test})
    return _recorded(recording, parts, context, record)


def parts_in_time(whole: Segments, fractions: Mapping[str, float]) -> dict[str, Segments]:
    """Return ``train`` and the fractions that are held out of each segment, in this order."""
    lengths = whole[:, 1] - whole[:, 0]
    sizes = {split: np.round(fraction * lengths).astype(np.int64) for split, fraction in fractions.items()}
    end = whole[:, 1] - sum(sizes.values())
    parts = {"train": np.stack([whole[:, 0], end], axis=1)}
    for split, size in sizes.items():
        parts[split] = np.stack([end, end + size], axis=1)
        end = end + size
    return {split: part[part[:, 1] > part[:, 0]] for split, part in parts.items()}


def split_by_rows(
    recording: Recording, bounds: tuple[int, int, int, int], *, context: int, record: SplitRecord | None = None
) -> dict[str, Segments]:
    """Return the rows of each split of one series from given row numbers.

    Args:
        recording: One series.
        bounds: The start of training, and the exclusive ends of training, validation and test.
        context: Number of rows before the validation and the test split that are also added to them.
        record: As in `split_by_fractions`.

    Raises:
        AeframeError: Bounds that do not increase within the series, more context than training rows, or several series.
    """
    rows = recording.rows
    if len(recording.starts) > 1:
        raise AeframeError(
            f"{rows.origin} has {len(recording.starts)} series, and bounds are row numbers of one; use data.validation "
            "and data.test, the fractions of each series"
        )
    if not (0 <= bounds[0] < bounds[1] < bounds[2] < bounds[3] <= len(rows)):
        raise AeframeError(
            f"{rows.origin} has {len(rows)} rows, expected four increasing bounds from 0 to {len(rows)}, "
            f"found {list(bounds)}; correct data.bounds"
        )
    parts = {split: np.array([ends], np.int64) for split, ends in zip(SPLITS, itertools.pairwise(bounds), strict=True)}
    return _recorded(recording, parts, context, record)


def split_whole(recording: Recording, split: RandomSplit, *, record: SplitRecord | None = None) -> dict[str, Segments]:
    """Return the rows of each split, with all rows of a series in the same one, which is drawn at random.

    Raises:
        AeframeError: Fewer than two series are left for training.
    """
    record = SplitRecord() if record is None else record

    def draw() -> dict[str, Segments]:
        drawn = split.indices({"train": torch.arange(len(recording.starts))})
        return {name: recording.whole[numbers.numpy()] for name, numbers in drawn.items()}

    return _recorded_parts(recording, draw, record)


def _recorded(
    recording: Recording, parts: dict[str, Segments], context: int, record: SplitRecord | None
) -> dict[str, Segments]:
    """Return the parts of `record`, or store `parts`; with the rows before them that are their context."""
    shortest = int(np.diff(parts["train"], axis=1).min()) if len(parts["train"]) else 0
    if not 0 <= context <= shortest and len(recording.starts) == 1:
        raise AeframeError(
            f"{recording.rows.origin}: context must be between 0 and the {shortest} rows of the training split, "
            f"found {context}"
        )
    if record is not None:
        parts = _recorded_parts(recording, lambda: parts, record)
    if not context:
        return parts
    number = recording.number
    return {
        split: part
        if split == "train"
        else np.stack([np.maximum(part[:, 0] - context, recording.starts[number[part[:, 0]]]), part[:, 1]], axis=1)
        for split, part in parts.items()
    }


def _recorded_parts(
    recording: Recording, draw: Callable[[], dict[str, Segments]], record: SplitRecord
) -> dict[str, Segments]:
    """Return the parts of an earlier run in `record`; without one, store those that `draw` returns."""
    rows = recording.rows
    assert rows.index is not None
    # A row is identified by its number in the file, so that rows may be added to each series.
    keys = {"train": torch.from_numpy(rows.index)}
    indices = record.indices(
        rows.origin, keys, lambda: {split: torch.from_numpy(rows_of(part)) for split, part in draw().items()}
    )
    return {split: segments_of(index, recording.number) for split, index in indices.items()}


def rows_of(segments: Segments) -> NDArray[np.int64]:
    """Return the rows of all segments, one segment after another."""
    lengths = segments[:, 1] - segments[:, 0]
    before = np.concatenate([[0], np.cumsum(lengths)[:-1]]).astype(np.int64)
    return np.arange(lengths.sum(), dtype=np.int64) + np.repeat(segments[:, 0] - before, lengths)


def segments_of(index: Tensor, number: NDArray[np.int64]) -> Segments:
    """Return the segments of consecutive rows among the rows `index` ``(n,)``; each is in one series."""
    rows = index.numpy()
    is_start = (np.diff(rows, prepend=-2) != 1) | (np.diff(number[rows], prepend=-1) != 0)
    first = np.flatnonzero(is_start)
    last = np.append(first[1:], len(rows)) - 1
    return np.stack([rows[first], rows[last] + 1], axis=1).astype(np.int64) if len(rows) else np.zeros((0, 2), np.int64)
