"""Checks of a whole table after it was read: `checked`."""

from __future__ import annotations

from typing import Any

import numpy as np

from aeframe.data.file_samples import OnError
from aeframe.errors import AeframeError
from aeframe_tabular.reading.table import RawTable


def checked(raw: RawTable, on_error: OnError, missing: tuple[str | float, ...] = ()) -> RawTable:
    """Return a table that has rows, and no infinite numbers.

    Args:
        raw: The table.
        on_error: ``skip`` leaves out rows with infinite numbers.
        missing: Numbers among these marks are missing cells, also infinite ones.

    Raises:
        AeframeError: There is no row, or an infinite number.
    """
    if not len(raw.frame):
        raise AeframeError(
            f"{raw.origin} has no rows{' that can be used' if raw.bad else ''}, expected rows of a table"
        )
    kept = np.ones(len(raw.frame), bool)
    for name, column in raw.frame.items():
        if column.dtype.kind != "f":
            continue
        values: Any = column.to_numpy()
        # The sum is finite for nearly all columns, and needs no array of its own.
        if np.isfinite(np.add.reduce(values, dtype=np.float64)):
            continue
        infinite = np.isinf(values)
        if not infinite.any():
            continue
        rows = np.flatnonzero(infinite & kept)
        if on_error == "raise":
            raise AeframeError(
                f"{raw.where(int(rows[0]), str(name))} is infinite, expected a finite number; correct it, set "
                "data.missing=[inf,-inf] to take it for a missing cell, or leave such rows out with "
                "data.on_error=skip"
            )
        for row in rows.tolist():
            place = raw.number_of(row if raw.positions is None else int(raw.positions[row]))
            raw.bad[place] = f"{raw.where(row, str(name))} is infinite"
        kept &= ~infinite
    if kept.all():
        return raw
    return checked(raw.kept(kept), "raise")
