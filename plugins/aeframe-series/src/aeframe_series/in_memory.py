"""The dataset `series_in_memory`: series that a program has in memory.

Shapes: T time steps, D columns.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from aeframe.data.in_memory import MemoryDataset, SampleSplits
from aeframe.data.samples import Samples, is_tensor
from aeframe.data.split_record import SPLITS
from aeframe.errors import AeframeError
from aeframe_series.memory import check_column, join, recordings_of
from aeframe_series.recording import Recording, Segments
from aeframe_series.splits import (
    SplitBy,
    describe_split,
    holds_out_whole,
    parts_in_time,
    rows_of,
    segments_of,
    split_by_fractions,
)
from aeframe_series.times import TimeOptions


class SeriesInMemory(MemoryDataset):
    """Series in memory: an array ``(T, D)``, a tensor or a data frame is one recording, and a list of them several.

    A data frame has several series if `series` names the column of their ids, or if its index has several levels; an
    array ``(S, T, D)`` is S series. Each is split in temporal order if there are fewer than 10; of 10 or more, whole
    ones are held out, drawn at random. No window contains rows of two series. ``y`` flags known anomalies by 0 and 1:
    an array ``(T,)``, the name of a column, or for several recordings a list of arrays.

    Args:
        samples: The series by split, injected.
        series: The column of a data frame, or columns, that name the series of each row, which are then sorted by time.
        time: The column of a data frame with the times. Null takes an index of dates of pandas, or a column named time,
            date, datetime, timestamp or ds if there is one.
        time_format: The format of times that are text, such as ``%d/%m/%Y``; null finds it.
        day_first: Whether 01/02/2021 is the first of February; null finds it from all times.
        sort: Whether rows are sorted by time; null sorts only the rows of named series.
        split_by: ``time`` holds out the last rows of each series, ``series`` holds out whole series; null holds out
            whole ones if there are at least 10.
        validation: Fraction of the time steps, or of the series if whole ones are held out, for validation, if no
            validation split was passed.
        test: Fraction for testing, if no test split was passed.
        split_seed: Seed of the draw of whole series.
    """

    modality: ClassVar[str] = "series"
    noun: ClassVar[str] = "recordings"

    def __init__(
        self,
        samples: SampleSplits,
        *,
        series: str | tuple[str, ...] | None = None,
        time: str | None = None,
        time_format: str | None = None,
        day_first: bool | None = None,
        sort: bool | None = None,
        split_by: SplitBy | None = None,
        validation: float = 0.2,
        test: float = 0.2,
        split_seed: int = 0,
    ) -> None:
        self.time, self.split_by = time, split_by
        self.series = (series,) if isinstance(series, str) else tuple(series) if series else None
        self.times = TimeOptions(time_format, day_first, sort)
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
        resolved = [item.resolved("fit") for item in x]
        for item in x:
            for role, names in (("time", (self.time,)), ("series", self.series or ())):
                for name in names:
                    check_column(item.x, name, role)
        return recordings_of(
            [item.x for item in resolved],
            origin="fit: x",
            time=self.time,
            columns=None if train is None else train[0].rows.columns,
            series=self.series,
            options=self.times,
            y=[item.y for item in resolved],
        )

    def describe_raw(self, train: list[Recording]) -> Mapping[str, Any]:
        return {"num_columns": train[0].rows.values.shape[1], "anomaly": train[0].anomaly is not None}

    def load(self) -> Recording:
        recording = join([part for split in SPLITS for part in self._raw.get(split, [])])
        recording = replace(recording, notes=list(recording.notes))
        num_rows = {split: sum(len(part.rows) for part in self._raw.get(split, [])) for split in SPLITS}
        num_series = sum(len(part.starts) for part in self._raw["train"])
        missing = [split for split in ("validation", "test") if split not in self._raw]
        whole = holds_out_whole(self.split_by, num_series)
        if len(recording.starts) == 1 and len(missing) == 2 and not whole:
            splits = split_by_fractions(recording, **self.split.fractions, context=0, record=self.split_record)
            return replace(recording, splits=splits)
        if missing and num_series > 1:
            recording.notes.append(describe_split("fit: x", whole=whole))
        train = recording.whole[:num_series]

        def draw() -> dict[str, Tensor]:
            parts = self._drawn(train) if whole else parts_in_time(train, {s: self.split.fractions[s] for s in missing})
            return {split: torch.from_numpy(rows_of(part)) for split, part in parts.items()}

        keys = {split: torch.arange(num) for split, num in num_rows.items() if split in self._raw}
        indices = self.split_record.indices("fit", keys, draw if missing else dict)
        number, offset, splits = recording.number, 0, {}
        for split in SPLITS:
            splits[split] = segments_of(indices[split] + (offset if split in self._raw else 0), number)
            offset += num_rows[split]
        return replace(recording, splits=splits)

    def _drawn(self, train: Segments) -> dict[str, Segments]:
        """Return the series of ``train`` and of each missing split, which are drawn at random."""
        keys = {split: torch.arange(len(raw)) for split, raw in self._raw.items()} | {"train": torch.arange(len(train))}
        drawn = self.split.indices(keys)
        return {
            split: train[index.numpy()] for split, index in drawn.items() if split == "train" or split not in self._raw
        }

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
