"""Where the piece of a longer sample begins that training sees this time."""

from __future__ import annotations

import torch
from torch import Tensor


def random_offsets(free: Tensor) -> Tensor:
    """Return a place from 0 to `free` - 1 for each, whole numbers of its shape, every one as likely.

    They are drawn from torch's generator, which a loader sets for each batch from the seed, the epoch and the batch: so
    a source that asks for them in `batch` gives the same with workers and without, and after a resume.

    Args:
        free: How many places there are, at least 1.
    """
    return (torch.rand(free.shape) * free).long()
