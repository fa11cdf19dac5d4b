"""Sums over samples, precision, masks and selections: functions on tensors that many parts use."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar

import torch
from torch import Tensor


def repeat_rows(value: Tensor, num: int) -> Tensor:
    """Return the rows ``(B, *any)`` repeated as a whole, ``(num * B, *any)``: rows 0, ..., B - 1, 0, ..."""
    return value.expand(num, *value.shape).flatten(0, 1)


def per_sample(value: Tensor, lead: int = 1) -> Tensor:
    """Sum over the dimensions after the first `lead`: ``(B, ...)`` -> ``(B,)``, or ``(K, B, ...)`` -> ``(K, B)``."""
    return value if value.ndim == lead else value.flatten(lead).sum(lead)


def at_least_float32(value: Tensor) -> Tensor:
    """Convert half precision to float32, so that sums over many elements stay accurate."""
    return value.float() if value.dtype in (torch.float16, torch.bfloat16) else value


def autocast_disabled(device: torch.device) -> AbstractContextManager[object]:
    """Return a context without autocast, for sums that need float32. The meta device has no autocast."""
    return nullcontext() if device.type == "meta" else torch.autocast(device.type, enabled=False)


def broadcast_mask(mask: Tensor, ndim: int) -> Tensor:
    """Append dimensions of size 1 to a mask ``(B, *first sizes of shape)``, up to the `ndim` dimensions of x."""
    return mask.reshape(*mask.shape, *[1] * (ndim - mask.ndim))


def evenly_spaced(num: int, limit: int) -> Tensor:
    """Return at most `limit` evenly spaced indices of `num` rows, the first and the last among them."""
    return torch.linspace(0, num - 1, min(num, limit)).round().long()


_IS_TRUSTED: ContextVar[bool] = ContextVar("_IS_TRUSTED", default=False)


@contextmanager
def trusted_content() -> Iterator[None]:
    """Context in which tensors of a file that the user has chosen are made: no limit for strangers' models applies."""
    token = _IS_TRUSTED.set(True)
    try:
        yield
    finally:
        _IS_TRUSTED.reset(token)


def is_trusted_content() -> bool:
    """Return whether the caller is in `trusted_content`."""
    return _IS_TRUSTED.get()
