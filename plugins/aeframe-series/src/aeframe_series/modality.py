"""The modality `series`: windows of multivariate time series.

Shapes: N time steps (rows of a file), D columns, T time steps of a window, B windows.
"""

from __future__ import annotations

import weakref
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from aeframe.data import Dataset, FileSamples, Modality, OnError, Source, Splits
from aeframe.data.lazy_rows import LazyRows
from aeframe.data.notes import Notes
from aeframe.data.sample_batches import SampleBatches
from aeframe.data.scaling import Scale, Scaler
from aeframe.data.score_quantiles import ScoreQuantiles
from aeframe.data.split_record import SPLITS
from aeframe.data.tables import Choice, Rows, TextOptions, column_names, options_like
from aeframe.errors import AeframeError
from aeframe.types import Batch, DataSpec, Domain, Shape
from aeframe_series.checks import CheckedSeries, Checks, Missing, check_series
from aeframe_series.file import ColumnRoles, read_series
from aeframe_series.memory import join, recordings_of
from aeframe_series.recording import Recording, Segments, named_identity
from aeframe_series.scores import Reconstruct, score_windows
from aeframe_series.splits import rows_of
from aeframe_series.times import TimeOptions
from aeframe_series.windows import WindowSource, consecutive_starts, overlapping_starts, window_starts
from aeframe_series.write import window_rows, write_series

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from aeframe.data.scored_parts import ScoredParts


_TEXT = "text_"
"""Prefix of the state of `TextOptions`, whose fields must be plain values."""
_QUANTILES = "point_quantiles"
"""Name in the state of the quantiles of the errors of held-out time steps ("points")."""
_MAX_LEVELS = 10_001
"""Largest number of stored quantiles: a threshold is exact to 1/10,000 of the time steps."""


class Series(Modality):
    """Windows ``(B, D, T)`` of T consecutive time steps of a series with D columns (channels first).

    The series is stored once, and batches are gathered from it. `Batch.mask` is False for missing values (NaN): the
    encoder receives 0 there, the mean after standardisation, and the loss ignores them. A corruption hides values from
    the encoder only; the loss includes them.

    Args:
        window: Number of time steps of a window, T.
        stride: Time steps from the start of one window to that of the next, in every split.
        scale: ``standard`` scales each column to mean 0 and standard deviation 1 over the training rows, ``minmax`` to
            [0, 1]; ``none`` keeps the values.
        missing: ``refuse`` treats NaN and empty cells as errors; ``mask`` excludes them from the loss.
        on_error: What to do with infinite values, missing values with ``missing=refuse``, and rows out of temporal
            order: ``raise`` an error, or ``skip`` the rows out of order and the windows with bad values, and list them.
        cut_gaps: Whether to exclude windows across a gap: a difference of consecutive times above 1.5 times the median.
    """

    defaults: ClassVar[Mapping[str, str]] = {"encoder": "shortcut_conv", "loss": "mse"}
    metrics: ClassVar[tuple[str, ...]] = (*Modality.metrics, "anomaly_ranking", "neighbour_ranking")
    dataset: ClassVar[str | None] = "series_simulated"
    in_memory: ClassVar[str | None] = "series_in_memory"

    def __init__(
        self,
        *,
        window: int = 64,
        stride: int = 1,
        scale: Scale = "standard",
        missing: Missing = "refuse",
        on_error: OnError = "raise",
        cut_gaps: bool = False,
    ) -> None:
        if window < 2 or stride < 1:
            raise AeframeError(
                "modality series requires a window of at least 2 and a stride of at least 1, "
                f"found {window} and {stride}"
            )
        self.window, self.stride, self.scale = window, stride, scale
        self.missing, self.on_error, self.cut_gaps = missing, on_error, cut_gaps
        self._num_columns: int | None = None
        self._columns: tuple[str, ...] | None = None
        self._time: str | None = None
        self._series: tuple[str, ...] | None = None
        self._times, self._text = TimeOptions(training=False), TextOptions()
        self._checked: tuple[Recording, CheckedSeries] | None = None
        self._sources: list[weakref.ref[WindowSource]] = []
        self._scaler: Scaler | None = None
        self._quantiles: ScoreQuantiles | None = None

    # -- training ------------------------------------------------------------------------------------------------

    def spec(self, dataset: Dataset) -> DataSpec:
        description = dataset.describe()
        extras: dict[str, tuple[int, ...]] = {"anomaly": (self.window,), "label": ()} if description["anomaly"] else {}
        return DataSpec((description["num_columns"], self.window), Domain("real"), extras=extras)

    def mask_shape(self, spec: DataSpec) -> Shape | None:
        # The last window of a series is padded.
        return spec.shape

    def learn(self, dataset: Dataset, raw: Any) -> None:
        """Store the columns, and compute the scale from the training rows without bad values."""
        if not isinstance(raw, Recording) or raw.splits is None:
            raise AeframeError(
                f"modality series reads a Recording, and dataset {type(dataset).__name__} loads "
                f"{type(raw).__name__}; choose a dataset of this modality, or modality={type(dataset).modality}"
            )
        series = self._check(raw)
        self._num_columns, self._columns = series.rows.values.shape[1], series.rows.columns
        self._time, self._series = raw.time, raw.series
        day_first = raw.options.day_first
        if day_first is None and raw.times is not None:
            day_first = raw.times.day_first
        self._text = raw.text
        self._times = replace(raw.options, day_first=day_first, training=False)
        train = rows_of(series.segments(raw.splits["train"]))
        values = series.rows.values
        values = (values if isinstance(values, LazyRows) else LazyRows(values)).rows(train[~series.excluded[train]])
        if self.scale == "standard":
            self._scaler = Scaler.standard(values)
        elif self.scale == "minmax":
            self._scaler = Scaler.minmax(values, 0.0, 1.0)

    def apply(self, raw: Recording) -> Splits:
        assert raw.splits is not None
        series = self._check(raw)
        self._check_columns(series)
        values = self._prepared(series)
        notes = Notes([*raw.notes, *series.notes])
        starts = {split: self._window_starts(series, split, raw.splits[split], notes) for split in SPLITS}
        train, validation, test = (self._source(series, values, starts[split]) for split in SPLITS)
        return Splits(train, validation, test, series.skipped, notes=notes)

    def calibrate(self, reconstruct: Reconstruct, validation: Source) -> None:
        """Store the distribution of the errors on the validation split, for thresholds at any quantile."""
        if isinstance(validation, WindowSource):
            self._quantiles = ScoreQuantiles.of(score_windows(reconstruct, validation).time_steps, _MAX_LEVELS)

    def locate_errors(self, errors: Tensor, batch: Batch) -> list[str]:
        """Return the column and the time step in the window (from 0) with the largest error."""
        places = errors.flatten(1).argmax(1).tolist()
        length = errors.shape[2]
        return [f"{self.columns[place // length]}, step {place % length}" for place in places]

    def score_parts(self, reconstruct: Reconstruct, path: Path, on_error: OnError) -> ScoredParts:
        """Return the scores of all time steps of a file, see `aeframe_series.anomaly_report.scored_time_steps`."""
        from aeframe_series.anomaly_report import scored_time_steps

        if self._quantiles is None:
            raise AeframeError(
                "modality 'series' knows no errors of held-out time steps, because the validation split had no "
                "observed values; train with more rows, or score windows with --samples"
            )
        series = self.read_series(path, on_error=on_error)
        scores = score_windows(reconstruct, self.overlapping_windows(series))
        return scored_time_steps(self, series, scores, self._quantiles)

    def state(self) -> dict[str, Any]:
        return {
            "num_columns": self._known_num_columns(),
            "columns": None if self._columns is None else list(self._columns),
            "time": self._time,
            "series": None if self._series is None else list(self._series),
            "time_format": self._times.time_format,
            "day_first": self._times.day_first,
            "sort": self._times.sort,
            **{
                f"{_TEXT}{name}": list(value) if isinstance(value, tuple) else value
                for name, value in asdict(self._text).items()
            },
            **(self._scaler.state() if self._scaler else {}),
            **({} if self._quantiles is None else {_QUANTILES: torch.from_numpy(self._quantiles.values)}),
        }

    def load_state(self, state: Mapping[str, Any]) -> None:
        self._num_columns = int(state["num_columns"])
        self._columns = None if state["columns"] is None else tuple(state["columns"])
        self._time = state["time"]
        self._series = None if state["series"] is None else tuple(state["series"])
        self._times = TimeOptions(state["time_format"], state["day_first"], state["sort"], training=False)
        text = {name.removeprefix(_TEXT): value for name, value in state.items() if name.startswith(_TEXT)}
        self._text = TextOptions(**{**text, "missing": tuple(text["missing"])})
        self._scaler = Scaler.from_state(state) if "offset" in state else None
        quantiles = state.get(_QUANTILES)
        self._quantiles = None if quantiles is None else ScoreQuantiles(np.asarray(quantiles, np.float64))

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of the columns, or their numbers for a file without names."""
        return self._columns or tuple(str(number) for number in range(self._known_num_columns()))

    @property
    def time(self) -> str | None:
        """The name of the time column."""
        return self._time

    @property
    def series(self) -> tuple[str, ...] | None:
        """The columns that name the series of a file."""
        return self._series

    def unscale(self, values: NDArray[Any]) -> NDArray[np.float64]:
        """Return scaled values ``(N, D)`` in the unit of the file."""
        return values.astype(np.float64) if self._scaler is None else self._scaler.undo(values)

    # -- files and plots -----------------------------------------------------------------------------------------

    def open(self, path: Path, on_error: OnError) -> FileSamples:
        """Open series as consecutive windows without overlap, scaled as in training when they are read.

        The last window of a series is padded to T time steps, which the mask excludes. See `read_series`.
        """
        series = self.read_series(path, on_error=on_error)
        return FileSamples(self.consecutive_windows(series), series.skipped)

    def read_series(self, path: Path, *, on_error: OnError | None = None) -> CheckedSeries:
        """Read and check the series of a file, of which at least one has a window.

        Columns are selected by their names in training, and others are ignored. The time column and the columns that
        name the series are those of training, if the file has them. The values of an NPY file are read when they are
        used.

        Args:
            path: The file.
            on_error: What happens to bad rows, as in `aeframe_series.checks.Checks`; None for the option of training.

        Raises:
            AeframeError: A missing column, fewer rows than a window, or a bad row with ``on_error="raise"``.
        """
        series = self._check_new(self._read(path), on_error)
        self._check_length(series, f"'{path.name}'")
        for note in (*series.recording.notes, *series.notes):
            self.notes.add(note)
        return series

    def overlapping_windows(self, series: CheckedSeries) -> WindowSource:
        """Return windows at the stride of training, and for each part of a series without a gap or a bad row the one
        that ends at its last time step.
        """
        return self._source(series, None, overlapping_starts(series.runs, self.window, self.stride))

    def consecutive_windows(self, series: CheckedSeries) -> WindowSource:
        """Return windows without overlap, of each part of a series without a gap or a bad row.

        The last window of each part is padded, and parts shorter than a window are left out.
        """
        runs = series.runs
        starts, lengths = consecutive_starts(runs[runs[:, 1] - runs[:, 0] >= self.window], self.window)
        return self._source(series, None, starts, lengths=torch.from_numpy(lengths))

    def write_batches(self, samples: SampleBatches, path: Path) -> list[Path]:
        """Write windows ``(N, D, T)`` one after another in the unit of the training file: CSV, NPY, NPZ or Parquet.

        Row ``n * T + t`` is time step t of window n. With the names of windows that this modality opened or prepared,
        and that are still in memory, the rows are those of the file: in its order, with the names of their series and
        their times, and without padding. All windows are held in memory if the rows of several series alternate in the
        file.

        Raises:
            AeframeError: An unknown suffix.
        """
        names, num, kept, identity = samples.names, len(samples) * self.window, None, None
        for source in (reference() for reference in reversed(self._sources) if names is not None):
            if source is not None and names is not None and (found := source.find(names)) is not None:
                kept, steps = source.rows_of_windows(found)
                identity = named_identity(source.identity.at(steps), time=self._time, series=self._series)
                num = len(kept)
                break
        write_series(path, map(self.unscale, window_rows(samples, kept)), num, self._columns, identity)
        return [path]

    def render(self, panels: Mapping[str, Tensor]) -> Figure:
        """Return line plots.

        With a panel named ``original`` all panels are plotted over each other in the unit of the file: four samples
        from left to right, one row of axes per column of the series. Otherwise each panel is a row of windows in the
        scaled unit.
        """
        from aeframe_series.render import plot_overlaid, plot_rows

        arrays = {title: x.detach().float().cpu().numpy() for title, x in panels.items()}
        if "original" not in arrays:
            return plot_rows(arrays, self.columns)
        unscaled = {title: self.unscale(x.transpose(0, 2, 1)).transpose(0, 2, 1) for title, x in arrays.items()}
        return plot_overlaid(unscaled, self.columns)

    # -- samples in memory ---------------------------------------------------------------------------------------

    def prepare_samples(self, x: Any) -> Batch:
        """Prepare an array ``(T, D)``, a tensor or a data frame, or a list of them, as consecutive windows like `read`.

        Columns are matched by name, and others are ignored. Times are checked if x has the time column of training, or
        an index of dates.

        Raises:
            AeframeError: A missing column, fewer rows than a window, or a bad row, whatever `on_error` is.
        """
        self._known_num_columns()
        recordings = join(
            recordings_of(
                x, origin="x", time=self._time, columns=self._columns, series=self._series, options=self._times
            )
        )
        series = self._check_new(recordings, "raise")
        self._check_length(series, "x")
        source = self.consecutive_windows(series)
        return source.batch(torch.arange(len(source)))

    def restore_samples(self, x: Tensor) -> Any:
        """Return windows ``(N, D, T)`` one after another as rows ``(N * T, D)`` in the unit of the training data.

        A data frame if the columns have names, otherwise an array. Row ``n * T + t`` is time step t of window n.
        """
        values = self.unscale(x.detach().cpu().transpose(1, 2).flatten(0, 1).numpy())
        if self._columns is None:
            return values
        import pandas as pd

        return pd.DataFrame(values, columns=list(self._columns))

    def __getstate__(self) -> dict[str, Any]:
        """Return the state without the data that were read last, so that copies can be pickled."""
        return {**self.__dict__, "_sources": [], "_checked": None}

    # -- shared by training and reading --------------------------------------------------------------------------

    def _known_num_columns(self) -> int:
        if self._num_columns is None:
            raise RuntimeError("modality series has no state yet; call prepare or load_state first")
        return self._num_columns

    def _check(self, recording: Recording) -> CheckedSeries:
        """Check series for training; those that were checked last are not checked again."""
        if self._checked is None or self._checked[0] is not recording:
            checks = Checks(self.missing, self.on_error, self.cut_gaps)
            self._checked = recording, check_series(recording, checks)
            return self._checked[1]
        series = self._checked[1]
        self._checked = None
        return series

    def _check_new(self, recording: Recording, on_error: OnError | None) -> CheckedSeries:
        """Check series that are read after training."""
        checks = Checks(self.missing, on_error or self.on_error, self.cut_gaps, training=False)
        series = check_series(recording, checks)
        self._check_columns(series)
        return series

    def _read(self, path: Path) -> Recording:
        """Read a file after training."""
        text = options_like(path, self._columns, self._text)
        names = column_names(path, Choice(text=text)) or ()
        # The index of a data frame without a name is found by its dates.
        time = self._time if self._time and self._time in names else None
        series = self._series if self._series is not None and {*self._series} <= {*names} else ()
        columns = self._columns if names else None
        roles = ColumnRoles(columns, time, text=text, series=series, times=self._times)
        return read_series(path, roles, mapped=True)

    def _check_columns(self, series: CheckedSeries) -> None:
        """Raise an error unless the series have the columns of training."""
        columns = series.rows.columns
        if self._columns is not None and columns is not None and columns != self._columns:
            raise AeframeError(
                f"'{series.rows.origin}' has the columns {', '.join(columns)}, expected {', '.join(self._columns)} as "
                "in training; list them in that order with data.columns"
            )
        if series.rows.values.shape[1] != self._known_num_columns():
            raise AeframeError(
                f"'{series.rows.origin}' has {series.rows.values.shape[1]} columns, expected "
                f"{self._known_num_columns()} as in training"
            )

    def _check_length(self, series: CheckedSeries, name: str) -> None:
        """Raise an error unless there is a window, and note the series and parts of them that are too short for one."""
        lengths = np.diff(series.recording.whole, axis=1)[:, 0]
        if lengths.max() < self.window:
            which = "" if len(lengths) == 1 else f" in the longest of {len(lengths)} series"
            raise AeframeError(
                f"{name} has {lengths.max()} rows{which}, expected at least one window of {self.window}; "
                "use a longer series"
            )
        runs = np.diff(series.runs, axis=1)[:, 0]
        short = runs < self.window
        if short.all():
            raise AeframeError(
                f"{name}: every window of {self.window} rows contains a gap or a bad row, and the longest part without "
                f"one has {runs.max() if len(runs) else 0} rows; correct the file"
            )
        if short.any():
            self.notes.add(
                f"{name}: {short.sum()} of {len(runs)} series, or parts of them between bad rows or gaps, have fewer "
                f"rows than a window of {self.window}; their {runs[short].sum()} rows are in no window"
            )

    def _window_starts(self, series: CheckedSeries, split: str, recorded: Segments, notes: Notes) -> NDArray[np.int64]:
        """Return the first time step of each window of a split."""
        origin, segments = series.rows.origin, series.segments(recorded)
        lengths = segments[:, 1] - segments[:, 0]
        longest = int(lengths.max()) if len(lengths) else 0
        if longest < self.window:
            several = len(series.recording.starts) > 1
            where = " in its longest series" if several else ""
            remedy = "enlarge the split" + (", or hold out whole series with data.split_by=series" if several else "")
            raise AeframeError(
                f"{origin}: the {split} split has {longest} rows{where}, expected at least one window of "
                f"{self.window}; lower modality.window, or {remedy}"
            )
        if num_short := int((lengths < self.window).sum()):
            notes.add(
                f"'{origin}': {num_short} of {len(lengths)} series have fewer than {self.window} rows in the {split} "
                f"split, and give no window ({lengths[lengths < self.window].sum()} rows)"
            )
        starts = window_starts(segments, self.window, self.stride, excluded=series.excluded, after_gap=series.after_gap)
        if not len(starts):
            raise AeframeError(
                f"{origin}: every window of {self.window} rows in the {split} split contains a gap, a bad row or the "
                "end of a recording; lower modality.window, or set modality.missing=mask"
            )
        return starts

    def _scaled(self, values: NDArray[Any]) -> NDArray[np.float32]:
        """Return scaled values ``(n, D)`` in single precision, NaN where a value is missing."""
        with np.errstate(over="ignore"):  # Overflow raises an error in `_prepared`.
            return values.astype(np.float32) if self._scaler is None else self._scaler.apply(values)

    def _prepared(self, series: CheckedSeries) -> Tensor:
        """Return all values ``(N, D)`` scaled, NaN where one is missing."""
        rows = series.rows
        scaled = np.empty(rows.values.shape, np.float32)
        for start, values in rows.chunks():
            scaled[start : start + len(values)] = part = self._scaled(values)
            self._check_overflow(rows, start, values, part)
        return torch.from_numpy(scaled)

    def _check_overflow(self, rows: Rows, start: int, values: NDArray[Any], scaled: NDArray[np.float32]) -> None:
        overflow = np.isfinite(values) & ~np.isfinite(scaled)
        if overflow.any():
            row, column = (int(i) for i in np.argwhere(overflow)[0])
            raise AeframeError(
                f"{rows.where(start + row, [column])}: {values[row, column]:g} is too large for single precision; "
                "set modality.scale=standard, or correct it"
            )

    def _source(
        self,
        series: CheckedSeries,
        scaled: Tensor | None,
        starts: NDArray[np.int64],
        *,
        lengths: Tensor | None = None,
    ) -> WindowSource:
        """Return windows of scaled values, or without them of the rows, which are scaled by batch."""
        if scaled is None:
            for start, values in series.rows.chunks():
                self._check_overflow(series.rows, start, values, self._scaled(values))
        source = WindowSource(
            series.rows.values if scaled is None else scaled,
            torch.from_numpy(starts),
            self.window,
            scale=None if scaled is not None else self._scaled,
            masked=self.missing == "mask",
            lengths=lengths,
            anomaly=None if series.anomaly is None else torch.from_numpy(series.anomaly),
            identity=series.identity,
        )
        self._sources = [*(reference for reference in self._sources if reference() is not None), weakref.ref(source)]
        return source
