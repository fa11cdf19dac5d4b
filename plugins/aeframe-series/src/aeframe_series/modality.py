"""The modality `series`: windows of multivariate time series.

Shapes: N time steps (rows of a file), D columns, T time steps of a window, B windows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import pad

from aeframe.data import Dataset, FileSamples, Modality, OnError, Source, Splits
from aeframe.data.scaling import Scale, Scaler
from aeframe.data.split_record import SPLITS
from aeframe.data.tables import Choice, TextOptions, options_like, read_header
from aeframe.errors import AeframeError
from aeframe.types import Batch, DataSpec, Domain
from aeframe_series.checks import CheckedSeries, Missing, check_series
from aeframe_series.file import ColumnRoles, read_series
from aeframe_series.memory import recording_of
from aeframe_series.recording import Recording
from aeframe_series.scores import Reconstruct, Thresholds, score_windows
from aeframe_series.windows import WindowSource, window_starts
from aeframe_series.write import write_series

if TYPE_CHECKING:
    from matplotlib.figure import Figure


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

    defaults: ClassVar[Mapping[str, str]] = {"encoder": "conv", "loss": "mse"}
    metrics: ClassVar[tuple[str, ...]] = (*Modality.metrics, "anomaly_ranking")
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
        self._scaler: Scaler | None = None
        self._thresholds: Thresholds | None = None

    # -- training ------------------------------------------------------------------------------------------------

    def spec(self, dataset: Dataset) -> DataSpec:
        description = dataset.describe()
        extras: dict[str, tuple[int, ...]] = {"anomaly": (self.window,), "label": ()} if description["anomaly"] else {}
        return DataSpec((description["num_columns"], self.window), Domain("real"), extras=extras)

    def learn(self, dataset: Dataset, raw: Any) -> None:
        """Store the columns, and compute the scale from the training rows without bad values."""
        if not isinstance(raw, Recording) or raw.splits is None:
            raise AeframeError(
                f"modality series reads a Recording, and dataset {type(dataset).__name__} loads "
                f"{type(raw).__name__}; choose a dataset of this modality, or modality={type(dataset).modality}"
            )
        series = self._check(raw)
        self._num_columns, self._columns = series.rows.values.shape[1], series.rows.columns
        self._time = raw.time
        steps = series.steps(raw.splits["train"])
        train = slice(steps.start, steps.stop)
        values = series.rows.values[train][~series.excluded[train]]
        if self.scale == "standard":
            self._scaler = Scaler.standard(values)
        elif self.scale == "minmax":
            self._scaler = Scaler.minmax(values, 0.0, 1.0)

    def apply(self, raw: Recording) -> Splits:
        assert raw.splits is not None
        series = self._check(raw)
        self._check_columns(series)
        starts = {split: self._window_starts(series, split, series.steps(raw.splits[split])) for split in SPLITS}
        x, observed = self._scale(series)
        train, validation, test = (self._source(series, x, observed, starts[split]) for split in SPLITS)
        return Splits(train, validation, test, series.skipped)

    def calibrate(self, reconstruct: Reconstruct, validation: Source) -> None:
        """Store the distribution of the errors on the validation split, for thresholds at any quantile."""
        if isinstance(validation, WindowSource):
            self._thresholds = Thresholds.from_scores(score_windows(reconstruct, validation))

    def state(self) -> dict[str, Any]:
        return {
            "num_columns": self._known_num_columns(),
            "columns": None if self._columns is None else list(self._columns),
            "time": self._time,
            **(self._scaler.state() if self._scaler else {}),
            **(self._thresholds.state() if self._thresholds else {}),
        }

    def load_state(self, state: Mapping[str, Any]) -> None:
        self._num_columns = int(state["num_columns"])
        self._columns = None if state["columns"] is None else tuple(state["columns"])
        self._time = state["time"]
        self._scaler = Scaler.from_state(state) if "offset" in state else None
        self._thresholds = Thresholds.from_state(state)

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of the columns, or their numbers for a file without names."""
        return self._columns or tuple(str(number) for number in range(self._known_num_columns()))

    @property
    def time(self) -> str | None:
        """The name of the time column."""
        return self._time

    @property
    def thresholds(self) -> Thresholds | None:
        """The distribution of the errors on the validation split; None before `calibrate`."""
        return self._thresholds

    def unscale(self, values: NDArray[Any]) -> NDArray[np.float64]:
        """Return scaled values ``(N, D)`` in the unit of the file."""
        return values.astype(np.float64) if self._scaler is None else self._scaler.undo(values)

    # -- files and plots -----------------------------------------------------------------------------------------

    def open(self, path: Path, on_error: OnError) -> FileSamples:
        """Read a series as consecutive windows without overlap, scaled as in training.

        The last window is padded to T time steps, which the mask excludes. See `read_series`.
        """
        return FileSamples(self._consecutive_windows([self.read_series(path)]))

    def read_series(self, path: Path) -> CheckedSeries:
        """Read and check a series of at least one window.

        Columns are selected by their names in training, and others are ignored. Times are checked if the file has the
        time column of training.

        Raises:
            AeframeError: A missing column, fewer rows than a window, or a bad row, whatever `on_error` is.
        """
        text = options_like(path, self._columns, TextOptions())
        names = read_header(path, Choice(text=text)).columns or ()
        time = self._time if self._time in names else None
        roles = ColumnRoles(self._columns if names else None, time, header=text.header)
        series = check_series(read_series(path, roles), missing=self.missing, on_error="raise", cut_gaps=False)
        self._check_columns(series)
        self._check_length(series, path.name)
        return series

    def overlapping_windows(self, series: CheckedSeries) -> WindowSource:
        """Return windows of a whole series at the stride of training, and the one that ends at the last time step."""
        num_steps = len(series.rows)
        starts = np.unique([*range(0, num_steps - self.window + 1, self.stride), num_steps - self.window])
        return self._source(series, *self._scale(series), starts)

    def write(self, x: Tensor, path: Path, *, names: Sequence[str] | None = None) -> list[Path]:
        """Write windows ``(N, D, T)`` one after another in the unit of the training file: CSV, NPY, NPZ or Parquet.

        Row ``n * T + t`` is time step t of window n.

        Raises:
            AeframeError: An unknown suffix, or a file that exists.
        """
        rows = x.detach().cpu().transpose(1, 2).flatten(0, 1).numpy()
        return write_series(path, self.unscale(rows), self._columns)

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
        recordings = x if isinstance(x, (list, tuple)) else [x]
        checked = []
        for number, recording in enumerate(recordings):
            origin = f"x[{number}]" if len(recordings) > 1 else "x"
            read = recording_of(recording, origin=origin, time=self._time, columns=self._columns)
            series = check_series(read, missing=self.missing, on_error="raise", cut_gaps=False)
            self._check_columns(series)
            self._check_length(series, origin)
            checked.append(series)
        source = self._consecutive_windows(checked)
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

    # -- shared by training and reading --------------------------------------------------------------------------

    def _known_num_columns(self) -> int:
        if self._num_columns is None:
            raise RuntimeError("modality series has no state yet; call prepare or load_state first")
        return self._num_columns

    def _check(self, recording: Recording) -> CheckedSeries:
        """Check a series for training."""
        return check_series(recording, missing=self.missing, on_error=self.on_error, cut_gaps=self.cut_gaps)

    def _check_columns(self, series: CheckedSeries) -> None:
        """Raise an error unless the series has the columns of training."""
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
        """Raise an error unless the series has at least one window."""
        if len(series.rows) < self.window:
            raise AeframeError(
                f"'{name}' has {len(series.rows)} rows, expected at least one window of {self.window}; "
                "use a longer series"
            )

    def _consecutive_windows(self, recordings: list[CheckedSeries]) -> WindowSource:
        """Return windows without overlap; the last one of each recording is padded, which the mask excludes."""
        scaled = [self._scale(series) for series in recordings]
        paddings = [-x.shape[1] % self.window for x, _ in scaled]
        x = torch.cat([pad(x, (0, padding)) for (x, _), padding in zip(scaled, paddings, strict=True)], 1)
        mask = None
        if self.missing == "mask" or any(paddings):
            masks = [torch.ones_like(x, dtype=torch.bool) if observed is None else observed for x, observed in scaled]
            mask = torch.cat([pad(known, (0, size)) for known, size in zip(masks, paddings, strict=True)], 1)
        return WindowSource(x, torch.arange(0, x.shape[1], self.window), self.window, observed=mask)

    def _window_starts(self, series: CheckedSeries, split: str, steps: range) -> NDArray[np.int64]:
        """Return the first time step of each window of a split."""
        origin = series.rows.origin
        if len(steps) < self.window:
            raise AeframeError(
                f"{origin}: the {split} split has {len(steps)} rows, expected at least one window of {self.window}; "
                "lower modality.window, or enlarge the split"
            )
        starts = window_starts(steps, self.window, self.stride, excluded=series.excluded, after_gap=series.after_gap)
        if not len(starts):
            raise AeframeError(
                f"{origin}: every window of {self.window} rows in the {split} split contains a gap, a bad row or the "
                "end of a recording; lower modality.window, or set modality.missing=mask"
            )
        return starts

    def _scale(self, series: CheckedSeries) -> tuple[Tensor, Tensor | None]:
        """Return scaled x ``(D, N)``, 0 where a value is missing, and the mask ``(D, N)`` of observed values.

        The mask is None unless ``missing=mask``.
        """
        values = series.rows.array
        with np.errstate(over="ignore"):  # Overflow raises an error below.
            scaled = values.astype(np.float32) if self._scaler is None else self._scaler.apply(values)
        observed = np.isfinite(values)
        overflow = observed & ~np.isfinite(scaled)
        if overflow.any():
            row, column = (int(i) for i in np.argwhere(overflow)[0])
            raise AeframeError(
                f"{series.rows.where(row, [column])}: {values[row, column]:g} is too large for single precision; "
                "set modality.scale=standard, or correct it"
            )
        x = torch.from_numpy(np.ascontiguousarray(np.where(observed, scaled, np.float32(0)).T))
        return x, torch.from_numpy(np.ascontiguousarray(observed.T)) if self.missing == "mask" else None

    def _source(
        self, series: CheckedSeries, x: Tensor, observed: Tensor | None, starts: NDArray[np.int64]
    ) -> WindowSource:
        assert series.rows.index is not None
        return WindowSource(
            x,
            torch.from_numpy(starts),
            self.window,
            observed=observed,
            anomaly=None if series.anomaly is None else torch.from_numpy(series.anomaly),
            rows=torch.from_numpy(series.rows.index),
        )
