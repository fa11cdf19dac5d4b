"""What a dataset of series hands to the modality."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from aeframe.data.split_record import SPLITS, SplitRecord
from aeframe.data.tables import Rows
from aeframe.errors import AeframeError


@dataclass(slots=True)
class Recording:
    """A long series in memory."""

    rows: Rows
    """``(N, D)``, one row for each moment, with NaN where a value is missing; its label is the column of times."""
    time: str | None = None
    """The name of that column."""
    splits: dict[str, range] | None = None
    """The rows of each of `SPLITS`; None where it is read to be used and not to be trained on."""
    anomaly: NDArray[np.bool_] | None = None
    """``(N,)``: the moments that are known to be none of the ordinary."""


def by_fractions(
    rows: Rows, *, validation: float, test: float, context: int, record: SplitRecord | None = None
) -> dict[str, range]:
    """Cut a series into three, in the order of time: the last rows are for testing, those before for validation."""
    if not (validation > 0 and test > 0 and validation + test < 1):
        raise AeframeError(
            f"{rows.origin}: validation and test are fractions above 0 that leave something to train on, "
            f"found {validation:g} and {test:g}"
        )
    num = len(rows)
    ends = (0, num - round(validation * num) - round(test * num), num - round(test * num), num)
    return by_bounds(rows, ends, context=context, record=record)


def by_bounds(
    rows: Rows, bounds: tuple[int, int, int, int], *, context: int, record: SplitRecord | None = None
) -> dict[str, range]:
    """Cut a series at rows: where training begins and ends, where validation ends, where testing ends.

    Args:
        rows: Of the whole series.
        bounds: Row numbers from 0; each is the first that does not belong.
        context: Rows before the validation and test splits that are lent to them.
        record: `Dataset.split_record`, which stores the split, or returns that of an earlier run.
    """
    if not (0 <= bounds[0] < bounds[1] < bounds[2] < bounds[3] <= len(rows)):
        raise AeframeError(
            f"{rows.origin} has {len(rows)} rows, expected bounds that rise from at least 0 to at most {len(rows)}, "
            f"found {list(bounds)}; correct data.bounds"
        )
    if not 0 <= context <= bounds[1] - bounds[0]:
        raise AeframeError(
            f"{rows.origin}: context lends rows of the training split, of which there are {bounds[1] - bounds[0]}, "
            f"found {context}"
        )
    if record is not None:
        bounds = _recorded(rows, bounds, record)
    lent = (0, context, context)
    return {
        split: range(start - rows_before, end)
        for split, start, end, rows_before in zip(SPLITS, bounds[:-1], bounds[1:], lent, strict=True)
    }


def _recorded(rows: Rows, bounds: tuple[int, int, int, int], record: SplitRecord) -> tuple[int, int, int, int]:
    """Return the bounds of the split that `record` holds of an earlier run, and `bounds` where it holds none."""
    drawn = {split: torch.arange(*ends) for split, ends in zip(SPLITS, itertools.pairwise(bounds), strict=True)}
    places = record.indices(rows.origin, {"train": torch.arange(len(rows))}, lambda: drawn)
    starts = [int(places[split][0]) for split in SPLITS]
    return starts[0], starts[1], starts[2], int(places["test"][-1]) + 1


__all__ = ["SPLITS", "Recording", "by_bounds", "by_fractions"]
