"""Which rows of a series can be used, and what is wrong with the others."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

from aeframe.data.tables import Rows
from aeframe.errors import AeframeError
from aeframe_series import times
from aeframe_series.recording import Recording

OnError = Literal["raise", "skip"]
Missing = Literal["refuse", "mask"]


@dataclass(slots=True)
class Examined:
    """A series whose times rise."""

    rows: Rows
    """Those that were kept; `Rows.index` says where each stands in the file."""
    bad: NDArray[np.bool_]
    """``(N,)``, rows that no window may hold."""
    breaks: NDArray[np.bool_]
    """``(N,)``, rows that no window may hold together with the one before."""
    anomaly: NDArray[np.bool_] | None
    skipped: list[str] = field(default_factory=list)
    """A sentence for each row that is left out."""

    def places(self, rows: range) -> range:
        """Return where rows of the file stand among those that were kept."""
        assert self.rows.index is not None
        first, end = np.searchsorted(self.rows.index, [rows.start, rows.stop]).tolist()
        return range(first, end)


def examine(recording: Recording, *, missing: Missing, on_error: OnError, cut_gaps: bool) -> Examined:
    """Check times and values.

    Raises:
        AeframeError: A row that is out of order, a value that is infinite or missing, unless these are skipped or
            masked; gaps that are to be cut in a series without times.
    """
    rows, anomaly = recording.rows, recording.anomaly
    seconds = times.parsed(rows)
    skipped: list[str] = []
    if seconds is not None:
        late = times.late(seconds)
        for row in np.flatnonzero(late).tolist():
            said = times.sentence(rows, seconds, row)
            if on_error == "raise":
                raise AeframeError(
                    f"{said}; mend the file, or leave such rows out of training with modality.on_error=skip"
                )
            skipped.append(f"{said}; the row is left out")
        if late.any():
            kept = np.flatnonzero(~late)
            rows, seconds = rows.rows(torch.from_numpy(kept)), seconds[kept]
            anomaly = None if anomaly is None else anomaly[kept]
    bad = _bad(rows, missing)
    for row in np.flatnonzero(bad).tolist():
        said = _sentence(rows, row, missing)
        if on_error == "raise":
            mask = "modality.missing=mask to leave the value out of the loss, or " if "missing" in said else ""
            raise AeframeError(
                f"{said}; mend it, or train with {mask}modality.on_error=skip to leave out the windows with it"
            )
        skipped.append(f"{said}; the windows that hold it are left out")
    breaks = np.zeros(len(rows), bool)
    if cut_gaps:
        if seconds is None:
            raise AeframeError(f"{rows.origin} has no times to find gaps by; name their column with data.time")
        breaks = times.gaps(seconds)
    return Examined(rows, bad, breaks, anomaly, skipped)


def _bad(rows: Rows, missing: Missing) -> NDArray[np.bool_]:
    if rows.values.dtype.kind != "f":
        return np.zeros(len(rows), bool)
    return (np.isinf(rows.values) if missing == "mask" else ~np.isfinite(rows.values)).any(1)


def _sentence(rows: Rows, row: int, missing: Missing) -> str:
    values = rows.values[row]
    column = int(np.flatnonzero(np.isinf(values) if missing == "mask" else ~np.isfinite(values))[0])
    what = "infinite" if np.isinf(values[column]) else "missing (NaN)"
    return f"{rows.where(row, [column])}: the value is {what}"
