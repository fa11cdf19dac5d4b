"""Split a series into training, validation and test rows in temporal order."""

from __future__ import annotations

import itertools

import torch

from aeframe.data.split_record import SPLITS, SplitRecord
from aeframe.data.tables import Rows
from aeframe.errors import AeframeError


def split_by_fractions(
    rows: Rows, *, validation: float, test: float, context: int, record: SplitRecord | None = None
) -> dict[str, range]:
    """Return the rows of each split: training first, then the fractions for validation and test.

    Args:
        rows: The whole series.
        validation: Fraction of the rows for validation.
        test: Fraction of the rows for testing.
        context: Number of rows before the validation and the test split that are also added to them.
        record: As in `split_by_rows`.

    Raises:
        AeframeError: Fractions that are not positive, or that leave no rows for training.
    """
    if not (validation > 0 and test > 0 and validation + test < 1):
        raise AeframeError(
            f"{rows.origin}: validation and test must be positive fractions with a sum below 1, "
            f"found {validation:g} and {test:g}"
        )
    num = len(rows)
    bounds = (0, num - round(validation * num) - round(test * num), num - round(test * num), num)
    return split_by_rows(rows, bounds, context=context, record=record)


def split_by_rows(
    rows: Rows, bounds: tuple[int, int, int, int], *, context: int, record: SplitRecord | None = None
) -> dict[str, range]:
    """Return the rows of each split from given row numbers.

    Args:
        rows: The whole series.
        bounds: The start of training, and the exclusive ends of training, validation and test.
        context: Number of rows before the validation and the test split that are also added to them.
        record: `Dataset.split_record`, which stores the split. If it holds the split of an earlier run, that replaces
            `bounds`. None stores nothing.

    Raises:
        AeframeError: Bounds that do not increase within the series, or more context than training rows.
    """
    if not (0 <= bounds[0] < bounds[1] < bounds[2] < bounds[3] <= len(rows)):
        raise AeframeError(
            f"{rows.origin} has {len(rows)} rows, expected four increasing bounds from 0 to {len(rows)}, "
            f"found {list(bounds)}; correct data.bounds"
        )
    if not 0 <= context <= bounds[1] - bounds[0]:
        raise AeframeError(
            f"{rows.origin}: context must be between 0 and the {bounds[1] - bounds[0]} rows of the training split, "
            f"found {context}"
        )
    if record is not None:
        bounds = _recorded_bounds(rows, bounds, record)
    context_rows = (0, context, context)
    return {
        split: range(start - num_context, end)
        for split, start, end, num_context in zip(SPLITS, bounds[:-1], bounds[1:], context_rows, strict=True)
    }


def _recorded_bounds(rows: Rows, bounds: tuple[int, int, int, int], record: SplitRecord) -> tuple[int, int, int, int]:
    """Return the bounds of the earlier run in `record`; without one, store `bounds` and return them."""
    new_split = {split: torch.arange(*ends) for split, ends in zip(SPLITS, itertools.pairwise(bounds), strict=True)}
    split_rows = record.indices(rows.origin, {"train": torch.arange(len(rows))}, lambda: new_split)
    starts = [int(split_rows[split][0]) for split in SPLITS]
    return starts[0], starts[1], starts[2], int(split_rows["test"][-1]) + 1
