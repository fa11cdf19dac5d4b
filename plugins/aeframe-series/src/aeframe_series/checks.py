"""Check the times and values of a series, and reject or skip rows that cannot be used.

Shapes: N rows (time steps), D columns, S series. `Rows` holds the values, `Rows.label` the times, and `Rows.index` the
position of each row in the file.
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
from aeframe_series.order import check_few, describe_disorder, out_of_order
from aeframe_series.recording import Recording, RowIdentity, Segments
from aeframe_series.steps import step_of
from aeframe_series.times import Times

Missing = Literal["refuse", "mask"]


@dataclass(frozen=True, slots=True)
class Checks:
    """Which rows are bad, and what happens to them."""

    missing: Missing
    """``refuse`` treats NaN as a bad value; ``mask`` allows it."""
    on_error: OnError
    """``raise`` an error for the first bad row, or ``skip``: remove rows that are out of order, mark those with bad
    values as excluded, and list both."""
    cut_gaps: bool
    """Whether to mark the rows after a gap in time."""
    training: bool = True
    """Whether messages may name options of training."""

    @property
    def skip_hint(self) -> str:
        """How bad rows are left out."""
        return "in training with modality.on_error=skip" if self.training else "with on_error=skip"


@dataclass(slots=True)
class CheckedSeries:
    """Series of N time steps in all with strictly increasing times."""

    recording: Recording
    """The series with all rows of the file."""
    kept: NDArray[np.int64]
    """``(N,)`` the rows of `recording` that are time steps of this series, ascending; the others are skipped."""
    rows: Rows
    """``(N, D)``, without the skipped rows."""
    excluded: NDArray[np.bool_]
    """``(N,)``, True for rows with a bad value, which no window may contain."""
    after_gap: NDArray[np.bool_]
    """``(N,)``, True for rows that no window may contain together with the preceding one: it is of another series, or
    separated by a gap."""
    anomaly: NDArray[np.bool_] | None
    """``(N,)``, True for known anomalies."""
    skipped: list[str] = field(default_factory=list)
    """A message for each skipped row and each excluded one."""
    notes: list[str] = field(default_factory=list)
    """One sentence for everything that was guessed."""

    def segments(self, recorded: Segments) -> Segments:
        """Return parts of the recording as parts of this series, without skipped rows."""
        return np.searchsorted(self.kept, recorded).astype(np.int64)

    @property
    def identity(self) -> RowIdentity:
        """What identifies each time step in outputs."""
        return self.recording.identity.kept(self.kept)

    @property
    def runs(self) -> Segments:
        """The longest parts of series without an excluded row or a gap."""
        usable = ~self.excluded
        continues = usable[1:] & usable[:-1] & ~self.after_gap[1:]
        first = np.flatnonzero(usable & ~np.concatenate([[False], continues]))
        last = np.flatnonzero(usable & ~np.concatenate([continues, [False]]))
        return np.stack([first, last + 1], axis=1).astype(np.int64)


def check_series(recording: Recording, checks: Checks) -> CheckedSeries:
    """Check that times are strictly increasing in each series, and that values are finite.

    Raises:
        AeframeError: A row that is out of order or has a bad value, with ``on_error="raise"``; times that start anew in
            the middle of the rows; gaps that are to be cut in a series without times.
    """
    rows, times, number = recording.rows, recording.times, recording.number
    kept = np.arange(len(rows))
    skipped: list[str] = []
    if times is not None:
        disordered = out_of_order(times, recording.starts)
        if disordered.any():
            check_few(recording, times, disordered, training=checks.training)
        for row in np.flatnonzero(disordered).tolist():
            fault = describe_disorder(recording, times, row, int(recording.starts[number[row]]))
            if checks.on_error == "raise":
                raise AeframeError(f"{fault}; correct the file, or skip such rows {checks.skip_hint}")
            skipped.append(f"{fault}; the row is skipped")
        if disordered.any():
            kept = np.flatnonzero(~disordered)
            rows, times, number = rows.rows(torch.from_numpy(kept)), times.rows(kept), number[kept]
    excluded, faults = _excluded(rows, checks)
    is_first = np.diff(number, prepend=-1) > 0
    after_gap = is_first & (np.arange(len(rows)) > 0)
    notes: list[str] = []
    if times is not None and len(rows):
        step = step_of(times, is_first)
        notes.append(_time_note(recording, times, step.text, step.num_gaps, cut=checks.cut_gaps))
        if checks.cut_gaps:
            after_gap = after_gap | step.after_gap
    elif checks.cut_gaps and checks.training:
        raise AeframeError(f"{rows.origin} has no times, which cut_gaps requires; name the time column with data.time")
    elif checks.cut_gaps:
        notes.append(f"'{rows.origin}' has no times, so that gaps cannot be cut as in training")
    anomaly = None if recording.anomaly is None else recording.anomaly[kept]
    return CheckedSeries(recording, kept, rows, excluded, after_gap, anomaly, [*skipped, *faults], notes)


def _excluded(rows: Rows, checks: Checks) -> tuple[NDArray[np.bool_], list[str]]:
    """Return ``(N,)``, True for rows with a bad value, and a message for each."""
    excluded = np.zeros(len(rows), bool)
    faults = []
    for row, fault in rows.bad.items():
        excluded[row] = True
        if checks.on_error == "raise":
            raise AeframeError(
                f"{fault}; correct the cells, choose other columns, or skip the windows that contain them "
                f"{checks.skip_hint}"
            )
        faults.append(f"{fault}; the windows that contain it are skipped")
    for start, values in rows.chunks():
        bad = _bad_values(values, checks.missing)
        # These have a message.
        bad[excluded[start : start + len(values)]] = False
        excluded[start : start + len(values)] |= bad.any(axis=1)
        for row in np.flatnonzero(bad.any(axis=1)).tolist():
            column = int(np.flatnonzero(bad[row])[0])
            infinite = np.isinf(values[row, column])
            fault = f"{rows.where(start + row, [column])}: the value is {'infinite' if infinite else 'missing (NaN)'}"
            if checks.on_error == "raise":
                mask = "modality.missing=mask to exclude the value from the loss, or with "
                train = f"train with {'' if infinite else mask}modality.on_error=skip" if checks.training else ""
                raise AeframeError(
                    f"{fault}; correct it, or {train or 'read it with on_error=skip'} to skip the windows that "
                    "contain it"
                )
            faults.append(f"{fault}; the windows that contain it are skipped")
    return excluded, faults


def _bad_values(values: NDArray[Any], missing: Missing) -> NDArray[np.bool_]:
    """Return ``(N, D)``, True for infinite values, and for NaN unless it is masked."""
    if values.dtype.kind != "f":
        return np.zeros(values.shape, bool)
    return np.isinf(values) if missing == "mask" else ~np.isfinite(values)


def _time_note(recording: Recording, times: Times, step: str, num_gaps: int, *, cut: bool) -> str:
    """Return a sentence about what was taken for the time."""
    name = f"column '{recording.time}'" if recording.time else "the index"
    earliest, latest = times.values[int(np.argmin(times.ticks))], times.values[int(np.argmax(times.ticks))]
    gaps = f"{num_gaps} gaps" if num_gaps != 1 else "1 gap"
    if num_gaps:
        gaps += ", which no window contains" if cut else " inside of windows (modality.cut_gaps=true leaves them out)"
    return (
        f"'{recording.rows.origin}': the times are {name} ({times.form}), from {_shown(earliest)} to "
        f"{_shown(latest)}, step {step}, {gaps}"
    )


def _shown(value: Any) -> str:
    """Return a time: dates without a fraction of zero."""
    if isinstance(value, np.datetime64):
        text = str(value).replace("T", " ")
        return text.rstrip("0").rstrip(".").removesuffix(" 00:00:00") if "." in text else text
    if isinstance(value, np.timedelta64):
        return f"{value / np.timedelta64(1, 's'):.10g} s"
    return f"{value:.10g}"
