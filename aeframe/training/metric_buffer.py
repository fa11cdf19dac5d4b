"""`MetricBuffer`: collect the loss terms of training on the device, and copy them to the host every few batches.

A term is one summand of the loss, with a weight and a value for each sample. An optimizer group is the parameters of
one optimizer with the terms that it minimises: the autoencoder, or one critic.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from aeframe.devices import LocalRows, gather_objects, mean_over_devices, sum_over_devices
from aeframe.errors import AeframeError
from aeframe.training.sharding import is_sharded, local
from aeframe.types import WEIGHT, Batch, LossTerms, TrainingProgress

_SHOWN = 5
"""Rows that an error names."""
Report = Callable[[dict[str, float], str], None]
"""A function of means by name, and of their split: ``train`` (means over the last batches) or ``train_epoch``."""


class NonFiniteLossError(AeframeError):
    """A term or a gradient is not a finite number."""


@dataclass(slots=True)
class _Window:
    """The terms of one optimizer group since the last copy to the host."""

    names: tuple[str, ...]
    batches: list[int] = field(default_factory=list)
    weights: list[tuple[float, ...]] = field(default_factory=list)
    values: list[Tensor] = field(default_factory=list)
    totals: list[tuple[Tensor, Tensor | None]] = field(default_factory=list)
    """Of each batch, the loss of each sample ``(B,)`` and its row number ``(B,)``, on this device."""


class MetricBuffer:
    """Collect the loss terms of every batch without waiting for the device, and report their means.

    Each term is reported under its name. If its weight is not 1, the weighted term is reported as ``<name>_weighted``.
    The weighted sum is reported as ``loss``. Names of a critic's terms begin with the name of its optimizer group.

    A term that is not finite ends the run with an error that names the first such batch, its term and group.
    """

    def __init__(self, report: Report) -> None:
        self._report = report
        self.latest: dict[str, float] = {}
        """The means of the last report, for a progress bar."""
        self._windows: dict[str, _Window] = {}
        self._epoch: dict[str, list[float]] = {}
        """Sum and number of the values of each term since the epoch began."""

    def add(
        self,
        prefix: str,
        group: str,
        terms: LossTerms,
        progress: TrainingProgress,
        batch: Batch | None = None,
        *,
        rows: LocalRows | None = None,
    ) -> Tensor:
        """Add the terms of one optimizer group for one batch; return the scalar loss, the mean of `terms.total()`.

        The names of the terms are reported with `prefix` in front. If the batch has sample weights ``(B,)``, the loss
        of each sample is multiplied by its weight; reported terms are not. With `rows`, the rows of this device, all
        means are multiplied by `LocalRows.weight`: their mean over devices is the mean over all samples. An error names
        the rows of the batch.
        """
        names = tuple(prefix + name for name in (*terms.raw, "loss"))
        total = terms.total()
        sample_weight = None if batch is None else batch.extras.get(WEIGHT)
        loss = total.mean() if sample_weight is None else (total * sample_weight).mean()
        means = [value.detach().mean() for value in terms.raw.values()]
        if rows is not None and rows.weight != 1:
            loss, means = loss * rows.weight, [mean * rows.weight for mean in means]
        self.add_means(
            group,
            names,
            torch.stack([*means, loss.detach()]),
            (*terms.weights.values(), 1.0),
            total.detach(),
            progress,
            batch,
        )
        return loss

    def add_means(
        self,
        group: str,
        names: tuple[str, ...],
        means: Tensor,
        weights: tuple[float, ...],
        total: Tensor,
        progress: TrainingProgress,
        batch: Batch | None = None,
    ) -> None:
        """Add the means ``(T,)`` of the terms of one batch, with the loss as the last of them.

        Args:
            group: The name of the optimizer group.
            names: The T names under which they are reported.
            means: The means, on any device.
            weights: The weight of each, 1 for the loss.
            total: The loss of each sample ``(B,)``.
            progress: The training progress at the batch.
            batch: The batch, for the row numbers in an error.
        """
        window = self._windows.get(group)
        if window is None or window.names != names:
            if window is not None:
                # The terms changed, as when a schedule increases a weight from 0.
                self.flush()
            window = self._windows[group] = _Window(names)
        window.values.append(means)
        window.weights.append(weights)
        window.batches.append(progress.batch)
        window.totals.append((total, None if batch is None else batch.index))

    def flush(self, extra: Mapping[str, float] | None = None) -> None:
        """Copy the buffered terms to the host, check them, and report their means together with the numbers in `extra`.

        Raises:
            NonFiniteLossError: A term of a batch is not finite. It is raised after the report, so that the measurements
                of the run show it.
        """
        means: dict[str, float] = {}
        error: NonFiniteLossError | None = None
        for group, window in self._windows.items():
            if not window.values:
                continue
            values = mean_over_devices(torch.stack(window.values)).double().cpu()
            error = error or _non_finite(group, window, values)
            weights = torch.tensor(window.weights, dtype=torch.float64)
            for column, name in enumerate(window.names):
                means[name] = self._mean(name, values[:, column])
                if not bool((weights[:, column] == 1).all()):
                    means[f"{name}_weighted"] = self._mean(f"{name}_weighted", values[:, column] * weights[:, column])
            window.values, window.weights, window.batches, window.totals = [], [], [], []
        if means:
            self.latest = means
            self._report({**means, **(extra or {})}, "train")
        if error is not None:
            raise error

    def end_epoch(self, extra: Mapping[str, float] | None = None) -> dict[str, float]:
        """Flush the buffer; report and return the means over the epoch."""
        self.flush(extra)
        means = {name: total / count for name, (total, count) in self._epoch.items()}
        self._epoch.clear()
        if means:
            self._report(means, "train_epoch")
        return means

    def state_dict(self) -> dict[str, Any]:
        """Return the buffered terms, averaged over devices; must be called on all devices."""
        windows = {
            group: {
                "names": list(window.names),
                "batches": list(window.batches),
                "weights": [list(weights) for weights in window.weights],
                "values": mean_over_devices(torch.stack(window.values)),
            }
            for group, window in self._windows.items()
            if window.values
        }
        return {"windows": windows, "epoch": {name: list(sums) for name, sums in self._epoch.items()}}

    def load_state_dict(self, state: Mapping[str, Any], device: torch.device) -> None:
        """Restore the buffered terms."""
        self._windows = {
            group: _Window(
                tuple(window["names"]),
                list(window["batches"]),
                [tuple(weights) for weights in window["weights"]],
                list(window["values"].to(device).unbind()),
            )
            for group, window in state["windows"].items()
        }
        self._epoch = {name: list(sums) for name, sums in state["epoch"].items()}

    def _mean(self, name: str, column: Tensor) -> float:
        """Return the mean of a term over the window, and add the term to the sums of the epoch."""
        total = self._epoch.setdefault(name, [0.0, 0.0])
        total[0] += float(column.sum())
        total[1] += len(column)
        return float(column.mean())


def check_finite_weights(model: nn.Module, progress: TrainingProgress) -> None:
    """Raise `NonFiniteLossError` if a weight is not finite; it names the first such weight and the newest batch.

    A collective operation if the weights are sharded.
    """
    parameters = dict(model.named_parameters())
    bad = torch.stack([~torch.isfinite(local(p.detach())).all() for p in parameters.values()])
    if any(is_sharded(p) for p in parameters.values()):
        bad = sum_over_devices(bad.int()) > 0
    if bool(bad.any()):
        name = list(parameters)[int(bad.cpu().nonzero()[0])]
        raise NonFiniteLossError(
            f"training stopped: weight '{name}' is not finite after batch {progress.batch - 1}, so a gradient was not; "
            "lower optimizer.lr, set clip=1.0, or look at the data of that batch"
        )


def _non_finite(group: str, window: _Window, values: Tensor) -> NonFiniteLossError | None:
    """Return an error for the first value that is not finite, if there is one; it names the rows and devices.

    The values are averaged over devices, so that all devices return the same error.
    """
    bad = ~torch.isfinite(values)
    if not bool(bad.any()):
        return None
    row = int(bad.any(1).nonzero()[0])
    column = int(bad[row].nonzero()[0])
    # A window that a checkpoint has restored holds no totals of its batches.
    number = row - (len(window.values) - len(window.totals))
    local_rows = _bad_rows(*window.totals[number]) if number >= 0 else []
    by_device = gather_objects(local_rows)
    places = [_place(rows, rank if len(by_device) > 1 else None) for rank, rows in enumerate(by_device) if rows]
    where = f", in {' and '.join(places)}" if places else ""
    return NonFiniteLossError(
        f"training stopped: term '{window.names[column]}' of optimizer group '{group}' is {float(values[row, column])} "
        f"at batch {window.batches[row]}{where}; lower optimizer.lr, set clip=1.0, or look at the data of that batch"
    )


def _bad_rows(totals: Tensor, index: Tensor | None) -> list[int]:
    """Return the row numbers of the samples whose loss is not finite."""
    bad = ~torch.isfinite(totals)
    return [] if index is None or index.shape != bad.shape else index[bad].tolist()


def _place(rows: Sequence[int], rank: int | None) -> str:
    """Return the first rows in words: ``row 7`` or ``rows 7, 9 of rank 1``."""
    shown = ", ".join(map(str, rows[:_SHOWN]))
    if len(rows) > _SHOWN:
        shown += f" and {len(rows) - _SHOWN} more"
    return f"row{'s' if len(rows) > 1 else ''} {shown}" + ("" if rank is None else f" of rank {rank}")
