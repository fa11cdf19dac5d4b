"""`WindowSource`: fixed-length windows of series, gathered into batches.

Shapes: N time steps of all series, D columns, W windows of T time steps, B windows of a batch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from aeframe.data.lazy_rows import LazyRows
from aeframe.types import Batch
from aeframe_series.recording import RowIdentity, Segments, as_text


class WindowSource:
    """Windows ``(D, T)`` of series. The rows are stored once, and only the windows of a batch are copied.

    `Batch.index` is the row of the file at which a window starts. With known anomalies, ``extras["anomaly"] (B, T)``
    flags the anomalous time steps, and ``extras["label"] (B,)`` is 1 for windows that contain one.

    Args:
        values: ``(N, D)``, NaN where a value is missing: scaled, or as in the file, also memory-mapped.
        starts: ``(W,)`` the index of the first time step of each window.
        window: Number of time steps of a window, T.
        scale: Maps rows ``(n, D)`` of `values` to scaled ones in single precision; None for scaled `values`.
        masked: Whether batches have a mask, False where a value is missing; there is a mask too if windows are padded.
        lengths: ``(W,)`` the time steps of each window before its padding; None for windows without padding.
        anomaly: ``(N,)``, True for anomalous time steps; None if unknown.
        identity: What identifies the time steps; by default the rows 0 to N - 1.
    """

    in_memory = True

    def __init__(
        self,
        values: Tensor | NDArray[Any] | LazyRows,
        starts: Tensor,
        window: int,
        *,
        scale: Callable[[NDArray[Any]], NDArray[np.float32]] | None = None,
        masked: bool = False,
        lengths: Tensor | None = None,
        anomaly: Tensor | None = None,
        identity: RowIdentity | None = None,
    ) -> None:
        self.values, self.starts, self.window, self.num_steps = values, starts, window, len(values)
        self.lengths = lengths
        self.identity = RowIdentity(np.arange(len(values))) if identity is None else identity
        self._scale, self._anomaly = scale, anomaly
        self._masked = masked or (lengths is not None and bool((lengths < window).any()))

    def __len__(self) -> int:
        return len(self.starts)

    def batch(self, index: Tensor) -> Batch:
        """Return the windows with the numbers `index` ``(B,)``."""
        starts = self.starts[index]
        offsets = torch.arange(self.window)
        # Padding repeats the last time step before it becomes 0.
        steps = (starts.unsqueeze(1) + offsets).clamp(max=self.num_steps - 1)
        x, mask = self._rows(steps).transpose(1, 2), None
        if self._masked:
            mask = ~x.isnan()
            if self.lengths is not None:
                mask &= (offsets < self.lengths[index].unsqueeze(1)).unsqueeze(1)
            x = torch.where(mask, x, 0.0)
        extras = {}
        if self._anomaly is not None:
            anomaly = self._anomaly[steps]
            extras = {"anomaly": anomaly, "label": anomaly.any(1).long()}
        row = torch.from_numpy(self.identity.row[starts.numpy()])
        return Batch(x.contiguous(), mask, index=row, extras=extras)

    def columns(self, index: Tensor) -> Mapping[str, NDArray[Any]]:
        """Return the name, series, first time and first row of the windows `index` ``(n,)``, see `Source`."""
        columns = self.identity.at(self.starts[index].numpy())
        parts = [as_text(columns[name]).tolist() for name in ("series", "time") if name in columns]
        if "time" not in columns:
            parts.append([f"row {row}" for row in columns["row"].tolist()])
        names = [" ".join(words) for words in zip(*parts, strict=True)]
        return {"name": np.array(names, dtype=np.str_), **columns}

    def find(self, names: Sequence[str]) -> Tensor | None:
        """Return the numbers of the windows with the given names ``(n,)``; None if one of them is unknown."""
        known = {name: number for number, name in enumerate(self.columns(torch.arange(len(self)))["name"].tolist())}
        if any(name not in known for name in names):
            return None
        return torch.tensor([known[name] for name in names], dtype=torch.int64)

    def rows_of_windows(self, index: Tensor) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the rows of windows without padding, in the order of the file.

        Returns:
            Their numbers among the ``n T`` rows of the windows `index` ``(n,)`` one after another; their time steps.
        """
        lengths = torch.full((len(index),), self.window) if self.lengths is None else self.lengths[index]
        steps = self.starts[index].unsqueeze(1) + torch.arange(self.window)
        kept = (torch.arange(self.window) < lengths.unsqueeze(1)).flatten().nonzero().squeeze(1).numpy()
        chosen = steps.flatten().numpy()[kept]
        order = np.argsort(self.identity.row[chosen], kind="stable")
        return kept[order], chosen[order]

    def _rows(self, steps: Tensor) -> Tensor:
        """Return the scaled rows ``(B, T, D)`` of time steps ``(B, T)``."""
        if isinstance(self.values, Tensor):
            return self.values[steps]
        rows = self.values[steps.flatten().numpy()]
        scaled = rows.astype(np.float32) if self._scale is None else self._scale(rows)
        return torch.from_numpy(scaled).reshape(*steps.shape, -1)


def window_starts(
    segments: Segments, window: int, stride: int, *, excluded: NDArray[np.bool_], after_gap: NDArray[np.bool_]
) -> NDArray[np.int64]:
    """Return the first time step of each window that lies within a segment and contains no excluded step and no gap.

    Args:
        segments: ``(n, 2)`` the first time step and the exclusive last one of the parts of a split.
        window: Number of time steps of a window, T.
        stride: Time steps from the start of one window to that of the next.
        excluded: ``(N,)``, True for time steps that no window may contain.
        after_gap: ``(N,)``, True for time steps that no window may contain together with the preceding one.
    """
    starts = _evenly_spaced(segments[:, 0], (segments[:, 1] - segments[:, 0] - window) // stride + 1, stride)
    # Numbers before each time step; a window contains none if the number does not change from its start to its end.
    num_excluded = np.concatenate([[0], np.cumsum(excluded)])
    num_gaps = np.concatenate([[0], np.cumsum(after_gap)])
    without_excluded = num_excluded[starts + window] == num_excluded[starts]
    # A gap directly before the first time step is outside the window.
    without_gap = num_gaps[starts + window] == num_gaps[starts + 1]
    return starts[without_excluded & without_gap]


def consecutive_starts(runs: Segments, window: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the first time steps of windows without overlap that cover segments, and their lengths.

    The last window of a segment may be shorter than `window`.
    """
    lengths = runs[:, 1] - runs[:, 0]
    num = -(-lengths // window)
    starts = _evenly_spaced(runs[:, 0], num, window)
    return starts, np.minimum(window, np.repeat(runs[:, 1], num) - starts)


def overlapping_starts(runs: Segments, window: int, stride: int) -> NDArray[np.int64]:
    """Return the first time steps of windows at a stride that cover segments: the last one ends with its segment."""
    runs = runs[runs[:, 1] - runs[:, 0] >= window]
    regular = _evenly_spaced(runs[:, 0], (runs[:, 1] - runs[:, 0] - window) // stride + 1, stride)
    return np.unique(np.concatenate([regular, runs[:, 1] - window]))


def _evenly_spaced(first: NDArray[np.int64], num: NDArray[np.int64], step: int) -> NDArray[np.int64]:
    """Return `num` numbers from each of `first`, `step` apart."""
    num = np.maximum(num, 0)
    before = np.repeat(np.cumsum(num) - num, num)
    return np.repeat(first, num) + step * (np.arange(num.sum(), dtype=np.int64) - before)
