"""The logging gate: training numbers wait on the device and cross to the host once every `log_every` batches."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from aeframe.batch import Clock, Terms
from aeframe.devices import mean_over_devices
from aeframe.errors import AeframeError

Sink = Callable[[dict[str, float], Clock, str], None]
"""Takes named numbers, the clock, and the split they belong to."""


class NonFiniteLossError(AeframeError):
    """A term stopped being a number."""


@dataclass(slots=True)
class _Window:
    """The batches since the last crossing, of one player."""

    names: tuple[str, ...]
    batches: list[int] = field(default_factory=list)
    weights: list[tuple[float, ...]] = field(default_factory=list)
    values: list[Tensor] = field(default_factory=list)


class Gate:
    """Collect the terms of every batch without a host sync, and hand on their means.

    A term is logged raw under its own name, weighted as ``<name>_weighted`` where its weight is not 1, and the weighted
    sum as ``loss``; a second player's carry its name in front. A number that is not finite ends the run, and the
    message names the first batch, term and player at which it was seen.
    """

    def __init__(self, every: int, sinks: list[Sink]) -> None:
        if every < 1:
            raise AeframeError(f"log_every must be at least 1, found {every}")
        self.every = every
        self.sinks = sinks
        self.latest: dict[str, float] = {}
        """The means of the last window, for a progress bar."""
        self._windows: dict[str, _Window] = {}
        self._epoch: dict[str, list[float]] = {}

    def add(self, prefix: str, player: str, terms: Terms, clock: Clock) -> Tensor:
        """Take in one player's terms of one batch and return the scalar to be minimised, its mean total."""
        names = (*terms.raw, "loss")
        loss = terms.total().mean()
        window = self._windows.get(player)
        if window is None or window.names != tuple(prefix + name for name in names):
            if window is not None:
                # A schedule may bring in a term that was not there before; a player that is new ends no window.
                self.flush(clock)
            window = self._windows[player] = _Window(tuple(prefix + name for name in names))
        means = [value.detach().mean() for value in terms.raw.values()]
        window.values.append(torch.stack([*means, loss.detach()]))
        window.weights.append((*terms.weights.values(), 1.0))
        window.batches.append(clock.batch)
        return loss

    def tick(self, clock: Clock, extra: Callable[[], dict[str, float]]) -> None:
        """Let the numbers cross when enough batches have been counted; `extra` adds what is read then only."""
        if clock.batch % self.every == 0:
            self.flush(clock, extra())

    def flush(self, clock: Clock, extra: dict[str, float] | None = None) -> None:
        """Bring everything that waits to the host, check it, and hand on the means over the window."""
        means: dict[str, float] = {}
        for player, window in self._windows.items():
            if not window.values:
                continue
            values = mean_over_devices(torch.stack(window.values)).double().cpu()
            _refuse_non_finite(player, window, values)
            weights = torch.tensor(window.weights, dtype=torch.float64)
            for column, name in enumerate(window.names):
                means[name] = self._mean(name, values[:, column])
                if not bool((weights[:, column] == 1).all()):
                    means[f"{name}_weighted"] = self._mean(f"{name}_weighted", values[:, column] * weights[:, column])
            window.values, window.weights, window.batches = [], [], []
        if means:
            self.latest = means
            self._send({**means, **(extra or {})}, clock, "train")

    def end_epoch(self, clock: Clock, extra: Callable[[], dict[str, float]] | None = None) -> dict[str, float]:
        """Flush, and return and hand on the means over the whole epoch; `extra` as in `tick`."""
        self.flush(clock, None if extra is None else extra())
        means = {name: total / count for name, (total, count) in self._epoch.items()}
        self._epoch.clear()
        if means:
            self._send(means, clock, "train_epoch")
        return means

    def _mean(self, name: str, column: Tensor) -> float:
        total = self._epoch.setdefault(name, [0.0, 0.0])
        total[0] += float(column.sum())
        total[1] += len(column)
        return float(column.mean())

    def _send(self, numbers: dict[str, float], clock: Clock, split: str) -> None:
        for sink in self.sinks:
            sink(numbers, clock, split)


def _refuse_non_finite(player: str, window: _Window, values: Tensor) -> None:
    bad = ~torch.isfinite(values)
    if not bool(bad.any()):
        return
    row = int(bad.any(1).nonzero()[0])
    column = int(bad[row].nonzero()[0])
    raise NonFiniteLossError(
        f"training stopped: term '{window.names[column]}' of player '{player}' is {float(values[row, column])} "
        f"at batch {window.batches[row]}; lower optimizer.lr, set clip=1.0, or look at that batch's data"
    )
