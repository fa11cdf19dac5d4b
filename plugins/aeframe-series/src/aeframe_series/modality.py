"""The modality `series`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from aeframe.data import Dataset, Modality, Source, Splits
from aeframe.data.scaling import Scale, Scaler
from aeframe.data.tables import Choice, read_header
from aeframe.errors import AeframeError
from aeframe.types import Batch, DataSpec, Domain
from aeframe_series.examine import Examined, Missing, OnError, examine
from aeframe_series.file import Roles, read
from aeframe_series.recording import SPLITS, Recording
from aeframe_series.scores import Reconstruct, Thresholds, score
from aeframe_series.windows import WindowSource, starts_within
from aeframe_series.write import write_series

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class Series(Modality):
    """Windows ``(B, D, T)`` over long series of D columns, channels first: T moments that follow each other.

    The series is kept once, and a batch is gathered from it. A value that is missing (NaN) is one that
    `Batch.mask` does not count: the encoder sees a 0 there, which is the mean, and the loss leaves it out. What a
    corruption hides is another thing: the loss does count that.

    Args:
        window: T.
        stride: Moments from one window to the next, in every split.
        scale: ``standard`` gives each column mean 0 and standard deviation 1 over the training rows, ``minmax`` maps
            its lowest and highest value there to 0 and 1; ``none``.
        missing: What to do with NaN and empty cells: ``refuse`` names the first, ``mask`` leaves them out of the loss.
        on_error: A value that is infinite, one that is missing and refused, a row whose time does not come after the
            others: ``raise``, or ``skip`` the row (the windows that hold the value) and list it.
        cut_gaps: No window reaches over a gap: more time between two rows than one and a half of the usual steps.
    """

    defaults: ClassVar[Mapping[str, str]] = {"encoder": "conv", "loss": "mse"}
    metrics: ClassVar[tuple[str, ...]] = (*Modality.metrics, "anomaly_ranking")
    dataset: ClassVar[str | None] = "series_simulated"

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
                f"modality series needs a window of at least 2 and a stride of at least 1, found {window} and {stride}"
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
        found = dataset.describe()
        extras: dict[str, tuple[int, ...]] = {"anomaly": (self.window,), "label": ()} if found["anomaly"] else {}
        return DataSpec((found["num_columns"], self.window), Domain("real"), extras=extras)

    def learn(self, dataset: Dataset, raw: Any) -> None:
        if not isinstance(raw, Recording) or raw.splits is None:
            raise AeframeError(
                f"modality series reads a Recording, and dataset {type(dataset).__name__} loads "
                f"{type(raw).__name__}; choose a dataset of this modality, or modality={type(dataset).modality}"
            )
        found = self._examined(raw)
        self._num_columns, self._columns = found.rows.values.shape[1], found.rows.columns
        self._time = raw.time
        places = found.places(raw.splits["train"])
        seen = slice(places.start, places.stop)
        values = found.rows.values[seen][~found.bad[seen]]
        if self.scale == "standard":
            self._scaler = Scaler.standard(values)
        elif self.scale == "minmax":
            self._scaler = Scaler.minmax(values, 0.0, 1.0)

    def apply(self, raw: Recording) -> Splits:
        assert raw.splits is not None
        found = self._examined(raw)
        self._check_columns(found)
        starts = {split: self._starts(found, split, found.places(raw.splits[split])) for split in SPLITS}
        x, counted = self._scaled(found)
        train, validation, test = (self._source(found, x, counted, starts[split]) for split in SPLITS)
        return Splits(train, validation, test, found.skipped)

    def calibrate(self, reconstruct: Reconstruct, validation: Source) -> None:
        """Keep how large errors are on the validation split, for thresholds of any quantile."""
        if isinstance(validation, WindowSource):
            self._thresholds = Thresholds.learn(score(reconstruct, validation))

    def state(self) -> dict[str, Any]:
        return {
            "num_columns": self._learned(),
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
        """The names of the columns, or their numbers where the file has none."""
        return self._columns or tuple(str(number) for number in range(self._learned()))

    @property
    def time(self) -> str | None:
        """The name of the column of times."""
        return self._time

    @property
    def thresholds(self) -> Thresholds | None:
        """How large errors are on the validation split, once a model was trained."""
        return self._thresholds

    def in_unit(self, values: NDArray[Any]) -> NDArray[np.float64]:
        """Return scaled values ``(N, D)`` in the unit of the file."""
        return values.astype(np.float64) if self._scaler is None else self._scaler.undo(values)

    # -- files and pictures --------------------------------------------------------------------------------------

    def read(self, path: Path) -> Batch:
        """Read a series as windows that follow each other, scaled as in training.

        Columns are found by the names they had in training, and others are passed over; times are checked where the
        file has them. What is left at the end makes a last window whose rest the mask does not count.

        Raises:
            AeframeError: A column that is missing, fewer rows than a window, and what training would refuse.
        """
        found = self.examined(path)
        x, counted = self._scaled(found)
        rest = -x.shape[1] % self.window
        if rest:
            counted = torch.ones_like(x, dtype=torch.bool) if counted is None else counted
            x, counted = torch.nn.functional.pad(x, (0, rest)), torch.nn.functional.pad(counted, (0, rest))
        source = WindowSource(x, torch.arange(0, x.shape[1], self.window), self.window, counted=counted)
        return source.batch(torch.arange(len(source)))

    def examined(self, path: Path) -> Examined:
        """Read and check a series."""
        names = read_header(path, Choice()).columns or ()
        roles = Roles(self._columns if names else None, self._time if self._time in names else None)
        found = examine(read(path, roles), missing=self.missing, on_error="raise", cut_gaps=False)
        self._check_columns(found)
        if len(found.rows) < self.window:
            raise AeframeError(
                f"'{path.name}' has {len(found.rows)} rows, expected at least one window of {self.window}; "
                "give a longer series"
            )
        return found

    def overlapping(self, found: Examined) -> WindowSource:
        """Return the windows of a whole series at the stride of training, and one more that ends where it ends."""
        num = len(found.rows)
        starts = np.unique([*range(0, num - self.window + 1, self.stride), num - self.window])
        return self._source(found, *self._scaled(found), starts)

    def write(self, x: Tensor, path: Path) -> list[Path]:
        """Write windows ``(N, D, T)`` one after another in the unit of the training file: CSV, NPY, NPZ or Parquet.

        Row ``n * T + t`` is moment t of window n.

        Raises:
            AeframeError: A suffix that is not known, or a file that exists.
        """
        rows = x.detach().cpu().transpose(1, 2).flatten(0, 1).numpy()
        return write_series(path, self.in_unit(rows), self._columns)

    def render(self, panels: Mapping[str, Tensor]) -> Figure:
        """Return line plots.

        An original is drawn together with its reconstructions: a column for each of four samples, a row for each of the
        first columns of the series, in the unit of the file. Other panels are rows of small plots in the scaled unit.
        """
        from aeframe_series.render import draw_over_each_other, draw_rows

        arrays = {title: x.detach().float().cpu().numpy() for title, x in panels.items()}
        if "original" not in arrays:
            return draw_rows(arrays, self.columns)
        unit = {title: self.in_unit(x.transpose(0, 2, 1)).transpose(0, 2, 1) for title, x in arrays.items()}
        return draw_over_each_other(unit, self.columns)

    # -- the same for training and reading -----------------------------------------------------------------------

    def _learned(self) -> int:
        if self._num_columns is None:
            raise RuntimeError("modality series has learned nothing yet; call prepare or load_state first")
        return self._num_columns

    def _examined(self, recording: Recording) -> Examined:
        """Check a series to train on."""
        return examine(recording, missing=self.missing, on_error=self.on_error, cut_gaps=self.cut_gaps)

    def _check_columns(self, found: Examined) -> None:
        columns = found.rows.columns
        if self._columns is not None and columns is not None and columns != self._columns:
            raise AeframeError(
                f"'{found.rows.origin}' has the columns {', '.join(columns)}, expected {', '.join(self._columns)} as "
                "in training; name them in that order with data.columns"
            )
        if found.rows.values.shape[1] != self._learned():
            raise AeframeError(
                f"'{found.rows.origin}' has {found.rows.values.shape[1]} columns, expected {self._learned()} as in "
                "training"
            )

    def _starts(self, found: Examined, split: str, places: range) -> NDArray[np.int64]:
        origin = found.rows.origin
        if len(places) < self.window:
            raise AeframeError(
                f"{origin}: the {split} split has {len(places)} rows, expected at least one window of {self.window}; "
                "lower modality.window, or give the split more rows"
            )
        starts = starts_within(places, self.window, self.stride, bad=found.bad, breaks=found.breaks)
        if not len(starts):
            raise AeframeError(
                f"{origin}: no window of {self.window} rows in the {split} split is without a gap or a row that is "
                "left out; lower modality.window, or set modality.missing=mask"
            )
        return starts

    def _scaled(self, found: Examined) -> tuple[Tensor, Tensor | None]:
        """Return x ``(D, N)``, 0 where nothing is known, and which of its values are there."""
        values = found.rows.values
        with np.errstate(over="ignore"):
            scaled = values.astype(np.float32) if self._scaler is None else self._scaler.apply(values)
        there = np.isfinite(values)
        large = there & ~np.isfinite(scaled)
        if large.any():
            row, column = (int(i) for i in np.argwhere(large)[0])
            raise AeframeError(
                f"{found.rows.where(row, [column])}: {values[row, column]:g} is too large for single precision; "
                "set modality.scale=standard, or mend it"
            )
        x = torch.from_numpy(np.ascontiguousarray(np.where(there, scaled, np.float32(0)).T))
        return x, torch.from_numpy(np.ascontiguousarray(there.T)) if self.missing == "mask" else None

    def _source(self, found: Examined, x: Tensor, counted: Tensor | None, starts: NDArray[np.int64]) -> WindowSource:
        assert found.rows.index is not None
        return WindowSource(
            x,
            torch.from_numpy(starts),
            self.window,
            counted=counted,
            anomaly=None if found.anomaly is None else torch.from_numpy(found.anomaly),
            rows=torch.from_numpy(found.rows.index),
        )
