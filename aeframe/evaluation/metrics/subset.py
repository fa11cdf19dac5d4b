"""`SubsetMetric`: base class of metrics that are computed from a limited number of samples."""

from __future__ import annotations

import torch
from torch import Tensor

from aeframe.evaluation.metrics.base import ModelMetric
from aeframe.noise import subset_keys
from aeframe.types import Batch


class SubsetMetric(ModelMetric):
    """A metric of a random subset of the samples, since those that arrive first may be of one class.

    The subset is a function of `seed` and of the row numbers of the samples (`Batch.index`), so that neither the batch
    size nor the number of devices changes it.

    Args:
        num: The number of samples in the subset.
        seed: The seed of the subset.
        names: Names of the tensors that are stored for each sample; each is a state of the metric.
    """

    keys: list[Tensor]
    """``(B,)`` each: see `subset_keys`."""

    def __init__(self, num: int, seed: int, *names: str) -> None:
        super().__init__()
        self._num, self._seed, self._names = num, seed, ("keys", *names)
        self._num_seen = self._num_used = 0
        for name in self._names:
            self.add_state(name, [], dist_reduce_fx="cat")

    def store(self, batch: Batch, **rows: Tensor) -> None:
        """Store tensors ``(B, ...)`` of the samples of a batch by name, as far as the samples are in the subset."""
        num = len(batch)
        index = batch.index
        if index is None:
            index = torch.arange(self._num_seen, self._num_seen + num, device=batch.x.device)
        self._num_seen += num
        for name, value in {"keys": subset_keys(index, self._seed), **rows}.items():
            getattr(self, name).append(value)
        # Selecting copies everything, so it waits until half of what is stored can be dropped.
        if sum(len(keys) for keys in self.keys) > 2 * self._num:
            for name, value in self.stored().items():
                setattr(self, name, [value])

    def stored(self) -> dict[str, Tensor]:
        """Return the stored tensors of the subset ``(n, ...)`` by name.

        Their order is random, a function of the row numbers, so that neither batches nor devices change it.
        """
        values = {name: _concatenated(getattr(self, name)) for name in self._names}
        rows = values["keys"].argsort()[: self._num]
        self._num_used = len(rows)
        return {name: value[rows] for name, value in values.items()}

    def protocol(self) -> str:
        return f"{self._num_used} samples, seed {self._seed}" if self._num_used else ""

    def reset(self) -> None:
        """Remove all stored samples."""
        super().reset()
        self._num_seen = self._num_used = 0


def _concatenated(rows: list[Tensor] | Tensor) -> Tensor:
    # torchmetrics replaces the list by one tensor when devices are synchronised.
    return rows if isinstance(rows, Tensor) else torch.cat(rows)
