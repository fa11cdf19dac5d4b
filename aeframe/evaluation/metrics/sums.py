"""Sums that add up: over batches of any size, and over devices."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor
from torchmetrics import Metric

SUM_DTYPE = torch.float32 if torch.backends.mps.is_available() else torch.float64
"""What sums are kept in: double precision, so that how the data are cut into batches does not show. Apple's GPUs have
none.
"""


class TermMeans(Metric):
    """Means over samples of values that are known by sample, under names that the first update gives."""

    full_state_update = False
    sums: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.names: tuple[str, ...] = ()
        # The last element counts samples: one vector is one message between devices.
        self.add_state("sums", torch.zeros(1, dtype=SUM_DTYPE), dist_reduce_fx="sum")

    def update(self, values: Mapping[str, Tensor]) -> None:
        """Take in values ``(B,)`` by name: the same names at each update until `reset`."""
        if not self.names:
            self.names = tuple(values)
            self.sums = self.sums.new_zeros(len(values) + 1)
        by_name = [values[name].sum(dtype=SUM_DTYPE) for name in self.names]
        num_samples = len(next(iter(values.values())))
        self.sums = self.sums + torch.stack([*by_name, torch.full_like(by_name[0], num_samples)])

    def compute(self) -> dict[str, Tensor]:
        """Return the mean of each name."""
        return dict(zip(self.names, (self.sums[:-1] / self.sums[-1]).unbind(), strict=True))

    def reset(self) -> None:
        """Forget the sums and the names: a schedule may bring a term in between two evaluations."""
        super().reset()
        self.names = ()
