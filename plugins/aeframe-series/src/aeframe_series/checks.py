"""Check the times and values of a series, and reject or skip rows that cannot be used.

Shapes: N rows (time steps), D columns. `Rows` holds the values, `Rows.label` the times, and `Rows.index` the position
of each row in the file.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from aeframe.data.file_samples import OnError
from aeframe.data.tables import Rows
from aeframe.errors import AeframeError
from aeframe_series.recording import Recording
from aeframe_series.times import after_gaps, describe_disorder, out_of_order, parse_times

Missing = Literal["refuse", "mask"]


@dataclass(slots=True)
class CheckedSeries:
    """A series of N time steps with strictly increasing times."""

    rows: Rows
    """``(N, D)``, without the skipped rows."""
    excluded: NDArray[np.bool_]
    """``(N,)``, True for rows with a bad value, which no window may contain."""
    after_gap: NDArray[np.bool_]
    """``(N,)``, True for rows that no window may contain together with the preceding one: it is of another recording,
    or separated by a gap."""
    anomaly: NDArray[np.bool_] | None
    """``(N,)``, True for known anomalies."""
    skipped: list[str] = field(default_factory=list)
    """A message for each skipped row and each excluded one."""

    def steps(self, file_rows: range) -> range:
        """Return the time steps of this series that come from the given rows of the file, without skipped rows."""
        assert self.rows.index is not None
        first, end = np.searchsorted(self.rows.index, [file_rows.start, file_rows.stop]).tolist()
        return range(first, end)


def check_series(recording: Recording, *, missing: Missing, on_error: OnError, cut_gaps: bool) -> CheckedSeries:
    """Check that times are strictly increasing and values are finite.

    Args:
        recording: The series.
        missing: ``refuse`` treats NaN as a bad value; ``mask`` allows it.
        on_error: ``raise`` an error for the first bad row, or ``skip``: remove rows that are out of order, mark those
            with bad values as excluded, and list both.
        cut_gaps: Whether to mark the rows after a gap in time; the first rows of recordings are always marked.

    Raises:
        AeframeError: A row that is out of order or has a bad value, with ``on_error="raise"``; `cut_gaps` for a series
            without times.
    """
    rows, anomaly = recording.rows, recording.anomaly
    times = parse_times(rows)
    starts = np.zeros(1, np.int64) if recording.starts is None else recording.starts
    number = np.searchsorted(starts, np.arange(len(rows)), side="right") - 1
    skipped: list[str] = []
    if times is not None:
        disordered = np.concatenate([out_of_order(part) for part in np.split(times, starts[1:])])
        for row in np.flatnonzero(disordered).tolist():
            fault = describe_disorder(rows, times, row, int(starts[number[row]]))
            if on_error == "raise":
                raise AeframeError(
                    f"{fault}; correct the file, or skip such rows in training with modality.on_error=skip"
                )
            skipped.append(f"{fault}; the row is skipped")
        if disordered.any():
            kept = np.flatnonzero(~disordered)
            rows, times, number = rows.rows(torch.from_numpy(kept)), times[kept], number[kept]
            anomaly = None if anomaly is None else anomaly[kept]
    values = rows.array
    bad = _bad_values(values, missing)
    excluded: NDArray[np.bool_] = np.any(bad, axis=1)
    for row in np.flatnonzero(excluded).tolist():
        column = int(np.flatnonzero(bad[row])[0])
        infinite = np.isinf(values[row, column])
        fault = f"{rows.where(row, [column])}: the value is {'infinite' if infinite else 'missing (NaN)'}"
        if on_error == "raise":
            mask = "" if infinite else "modality.missing=mask to exclude the value from the loss, or with "
            raise AeframeError(
                f"{fault}; correct it, or train with {mask}modality.on_error=skip to skip the windows that contain it"
            )
        skipped.append(f"{fault}; the windows that contain it are skipped")
    is_first = np.diff(number, prepend=-1) > 0
    after_gap = is_first & (np.arange(len(rows)) > 0)
    if cut_gaps:
        if times is None:
            raise AeframeError(
                f"{rows.origin} has no times, which cut_gaps requires; name the time column with data.time"
            )
        after_gap |= after_gaps(times, is_first)
    return CheckedSeries(rows, excluded, after_gap, anomaly, skipped)


def _bad_values(values: NDArray[Any], missing: Missing) -> NDArray[np.bool_]:
    """Return ``(N, D)``, True for infinite values, and for NaN unless it is masked."""
    if values.dtype.kind != "f":
        return np.zeros(values.shape, bool)
    return np.isinf(values) if missing == "mask" else ~np.isfinite(values)
