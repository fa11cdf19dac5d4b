"""`TermMeans`: means of loss terms over samples, independent of the batch size and the number of devices."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor
from torchmetrics import Metric

from aeframe.evaluation.metrics.base import SUM_DTYPE


class TermMeans(Metric):
    """Mean over all samples of each of several values; the first update sets the names."""

    full_state_update = False
    sums: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.names: tuple[str, ...] = ()
        # The last element counts samples: devices synchronise a single tensor.
        self.add_state("sums", torch.zeros(1, dtype=SUM_DTYPE), dist_reduce_fx="sum")

    def update(self, values: Mapping[str, Tensor]) -> None:
        """Add values ``(B,)`` by name. All updates until `reset` must have the same names."""
        if not self.names:
            self.names = tuple(values)
            self.sums = self.sums.new_zeros(len(values) + 1)
        by_name = [values[name].sum(dtype=SUM_DTYPE) for name in self.names]
        num_samples = len(next(iter(values.values())))
        self.sums = self.sums + torch.stack([*by_name, torch.full_like(by_name[0], num_samples)])

    def compute(self) -> dict[str, Tensor]:
        """Return the mean of each value by name."""
        return dict(zip(self.names, (self.sums[:-1] / self.sums[-1]).unbind(), strict=True))

    def reset(self) -> None:
        """Clear the sums and the names: a schedule may add a term between two evaluations."""
        super().reset()
        self.names = ()
