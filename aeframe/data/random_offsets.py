"""Random start positions, for sources that crop a random piece of a longer sample."""

from __future__ import annotations

import torch
from torch import Tensor


def random_offsets(counts: Tensor) -> Tensor:
    """Return uniform random integers from 0 to `counts` - 1, int64 of the same shape.

    They are drawn from torch's default generator, which the loader seeds for each batch from the run's seed, the epoch
    and the batch. So `Source.batch` may call this: batches are the same with and without workers, and after a resume.

    Args:
        counts: Number of possible start positions of each sample, at least 1.
    """
    return (torch.rand(counts.shape) * counts).long()
