"""The dataset `series_in_memory`: series that a program has in memory.

Shapes: T time steps, D columns.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from aeframe.data.in_memory import MemoryDataset, SampleSplits
from aeframe.data.samples import Samples, is_tensor
from aeframe.data.split_record import SPLITS
from aeframe.data.tables import Rows
from aeframe.errors import AeframeError
from aeframe_series.memory import check_time_column, recording_of
from aeframe_series.recording import Recording
from aeframe_series.splits import split_by_fractions

MIN_WHOLE = 10
"""From this number of recordings on, each recording is in one split only."""


class SeriesInMemory(MemoryDataset):
    """Series in memory: an array ``(T, D)``, a tensor or a data frame is one recording, and a list of them several.

    One recording is split in temporal order, as in the dataset ``series_file``. Of fewer than 10 recordings, each is
    split in temporal order; of 10 or more, each is in one split, which is drawn at random. No window contains rows of
    two recordings. ``y`` flags known anomalies by 0 and 1: an array ``(T,)``, the name of a column, or for several
    recordings a list of arrays.

    Args:
        samples: The series by split, injected.
        time: The column of a data frame with strictly increasing times. Null takes an index of dates of pandas, or a
            column named time, date, datetime or timestamp if there is one.
        validation: Fraction of the time steps, or of 10 or more recordings, for validation, if no validation split was
            passed.
        test: Fraction for testing, if no test split was passed.
        split_seed: Seed of the random split of 10 or more recordings.
    """

    modality: ClassVar[str] = "series"
    noun: ClassVar[str] = "recordings"

    def __init__(
        self,
        samples: SampleSplits,
        *,
        time: str | None = None,
        validation: float = 0.2,
        test: float = 0.2,
        split_seed: int = 0,
    ) -> None:
        self.time = time
        by_split = {split: Samples(_recordings(given)) for split, given in samples.by_split.items()}
        super().__init__(SampleSplits(by_split), validation=validation, test=test, split_seed=split_seed)
        self._check_same_columns()

    @staticmethod
    def accepts(x: Any) -> bool:
        if not isinstance(x, (list, tuple)) or not all(isinstance(item, np.ndarray) or is_tensor(item) for item in x):
            return False
        # Integers of 8 bits are pictures.
        is_table = all(item.ndim == 2 and str(item.dtype).rpartition(".")[2] != "uint8" for item in x)
        return len(x) > 0 and is_table and len({item.shape[1] for item in x}) == 1

    def read(self, x: Any, labels: Tensor | None) -> list[Recording]:
        train = getattr(self, "_raw", {}).get("train")
        columns = None if train is None else train[0].rows.columns
        recordings = []
        for number, item in enumerate(x):
            check_time_column(item.x, self.time)
            origin = "fit: x" if len(x) == 1 else f"fit: x[{number}]"
            resolved = item.resolved("fit")
            recordings.append(recording_of(resolved.x, origin=origin, time=self.time, columns=columns, y=resolved.y))
            columns = recordings[0].rows.columns
        return recordings

    def describe_raw(self, train: list[Recording]) -> Mapping[str, Any]:
        return {"num_columns": train[0].rows.values.shape[1], "anomaly": train[0].anomaly is not None}

    def load(self) -> Recording:
        train = self._raw["train"]
        if len(self._raw) == 1 and len(train) == 1:
            (recording,) = train
            splits = split_by_fractions(recording.rows, **self.split.fractions, context=0, record=self.split_record)
            return replace(recording, splits=splits)
        return self._joined(self._indices())

    def _indices(self) -> dict[str, Tensor]:
        """Return the rows ``(n,)`` of each split, in the recordings that were passed for it or else for ``train``."""
        lengths = {split: [len(recording.rows) for recording in given] for split, given in self._raw.items()}
        if len(lengths["train"]) >= MIN_WHOLE:
            keys = {split: torch.arange(len(given)) for split, given in lengths.items()}
            drawn = self.split.indices(keys, self.split_record)
            return {
                split: _rows_of_recordings(lengths.get(split, lengths["train"]), index)
                for split, index in drawn.items()
            }
        keys = {split: torch.arange(sum(given)) for split, given in lengths.items()}
        return self.split_record.indices("fit", keys, lambda: self._in_temporal_order(lengths["train"]))

    def _in_temporal_order(self, lengths: list[int]) -> dict[str, Tensor]:
        """Return the rows of each missing split and of ``train``; the end of each recording is held out."""
        missing = [split for split in ("validation", "test") if split not in self._raw]
        rows: dict[str, list[Tensor]] = {split: [] for split in ("train", *missing)}
        start = 0
        for length in lengths:
            sizes = [round(self.split.fractions[split] * length) for split in missing]
            parts = torch.arange(start, start + length).split([length - sum(sizes), *sizes])
            for split, part in zip(rows, parts, strict=True):
                rows[split].append(part)
            start += length
        return {split: torch.cat(parts) for split, parts in rows.items()}

    def _joined(self, indices: Mapping[str, Tensor]) -> Recording:
        """Return the rows of all splits one after another, with the starts of consecutive parts."""
        starts, splits, values, times, flags, numbers = [], {}, [], [], [], []
        offset = {"train": 0}
        for split in ("validation", "test"):
            offset[split] = sum(len(recording.rows) for name in offset for recording in self._raw.get(name, []))
        num_rows = 0
        for split in SPLITS:
            origin = split if split in self._raw else "train"
            recordings, index = self._raw[origin], indices[split].numpy()
            number = np.repeat(np.arange(len(recordings)), [len(recording.rows) for recording in recordings])[index]
            is_start = (np.diff(index, prepend=-2) != 1) | (np.diff(number, prepend=-1) != 0)
            starts.append(num_rows + np.flatnonzero(is_start))
            splits[split] = range(num_rows, num_rows + len(index))
            num_rows += len(index)
            values.append(np.concatenate([recording.rows.values for recording in recordings])[index])
            times.append(_joined_column([recording.rows.label for recording in recordings], index))
            flags.append(_joined_flags(recordings)[index])
            numbers.append(offset[origin] + index)
        train = self._raw["train"][0]
        rows = Rows(
            np.concatenate(values),
            "fit: x (all recordings one after another)",
            train.rows.columns,
            label=None
            if any(part is None for part in times)
            else np.concatenate([part for part in times if part is not None]),
            numbers=np.concatenate(numbers),
        )
        anomaly = None if train.anomaly is None else np.concatenate(flags)
        return Recording(rows, train.time, splits, anomaly, np.concatenate(starts))

    def _check_same_columns(self) -> None:
        """Raise an error unless all recordings have the columns of the first one, and all or none have times."""
        first = self._raw["train"][0]
        for recording in (recording for given in self._raw.values() for recording in given):
            if recording.rows.values.shape[1] != first.rows.values.shape[1]:
                raise AeframeError(
                    f"{recording.rows.origin} has {recording.rows.values.shape[1]} columns, expected "
                    f"{first.rows.values.shape[1]} as in the first recording"
                )
            if (recording.rows.label is None) != (first.rows.label is None):
                raise AeframeError("fit: some recordings have times and others have none; add them, or drop them")


def _recordings(given: Samples) -> list[Samples]:
    """Return each recording with its flags."""
    for field in ("condition", "sample_weight", "groups"):
        if getattr(given, field) is not None:
            raise AeframeError(
                f"fit: {field} has a value for each sample, and the samples of modality 'series' are windows that are "
                f"cut from x; leave {field} out"
            )
    if not isinstance(given.x, (list, tuple)):
        return [Samples(given.x, given.y)]
    flags = given.y if isinstance(given.y, (list, tuple)) else [given.y] * len(given.x)
    if given.y is not None and not isinstance(given.y, str) and flags is not given.y:
        raise AeframeError("fit: y of several recordings is a list of arrays, one for each; pass y=[...]")
    if len(flags) != len(given.x):
        raise AeframeError(
            f"fit: y is a list of {len(flags)}, and x of {len(given.x)} recordings; pass one array for each"
        )
    return [Samples(x, y) for x, y in zip(given.x, flags, strict=True)]


def _rows_of_recordings(lengths: list[int], index: Tensor) -> Tensor:
    """Return the rows of whole recordings, of all rows one after another."""
    parts = torch.arange(sum(lengths)).split(lengths)
    return torch.cat([parts[number] for number in index.tolist()])


def _joined_column(columns: list[NDArray[Any] | None], index: NDArray[np.int64]) -> NDArray[Any] | None:
    known = [column for column in columns if column is not None]
    return np.concatenate(known)[index] if known else None


def _joined_flags(recordings: list[Recording]) -> NDArray[np.bool_]:
    """Return the flags of all rows; recordings without flags have no known anomalies."""
    return np.concatenate(
        [
            np.zeros(len(recording.rows), bool) if recording.anomaly is None else recording.anomaly
            for recording in recordings
        ]
    )
