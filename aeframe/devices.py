"""What several devices must agree on."""

from __future__ import annotations

import torch
from torch import Tensor


def mean_over_devices(value: Tensor) -> Tensor:
    """Return the mean of a tensor over all devices of a run, cut from the graph; the value itself on one.

    Every device must call it at the same moment, as in a training step.
    """
    value = value.detach()
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return value
    summed = value.clone()
    torch.distributed.all_reduce(summed)
    return summed / torch.distributed.get_world_size()
