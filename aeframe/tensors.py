"""Functions on tensors that many parts use."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor


def repeat_rows(value: Tensor, num: int) -> Tensor:
    """Return the rows ``(B, *any)`` repeated as a whole, ``(num * B, *any)``: 0, ..., B - 1, 0, ..."""
    return value.expand(num, *value.shape).flatten(0, 1)


def per_sample(value: Tensor, lead: int = 1) -> Tensor:
    """Sum all but the first `lead` dimensions: ``(B, *any)`` -> ``(B,)``, or ``(K, B, *any)`` -> ``(K, B)``."""
    return value if value.ndim == lead else value.flatten(lead).sum(lead)


def at_least_float32(value: Tensor) -> Tensor:
    """Return a tensor in single precision at least: half precision loses nats in a sum of many elements."""
    return value.float() if value.dtype in (torch.float16, torch.bfloat16) else value


def autocast_disabled(device: torch.device) -> AbstractContextManager[object]:
    """Switch autocast off inside, where half precision would lose nats; the meta device has none."""
    return nullcontext() if device.type == "meta" else torch.autocast(device.type, enabled=False)


def broadcast_mask(mask: Tensor, ndim: int) -> Tensor:
    """Return the mask ``(B, *leading dims of shape)`` with as many dimensions as x, `ndim`, to broadcast against it."""
    return mask.reshape(*mask.shape, *[1] * (ndim - mask.ndim))
