"""Which devices can be used, and what several of them must agree on."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from aeframe.errors import AeframeError


def check_device(device: str, option: str) -> None:
    """Refuse a device that this machine or this torch does not have.

    Args:
        device: ``cpu``, ``cuda``, ``cuda:1``.
        option: By which another one is chosen; for the message.

    Raises:
        AeframeError: The device cannot be used.
    """
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        first = str(error).splitlines()[0].rstrip(".")
        raise AeframeError(f"device '{device}' cannot be used ({first}); choose another with {option}") from error


def num_devices() -> int:
    """Return how many devices share the run."""
    joined = torch.distributed.is_available() and torch.distributed.is_initialized()
    return torch.distributed.get_world_size() if joined else 1


def sum_over_devices(value: Tensor) -> Tensor:
    """Return the sum of a tensor over all devices of a run, cut from the graph; the value itself on one.

    Every device must call it at the same moment, as in a training step.
    """
    value = value.detach()
    if num_devices() == 1:
        return value
    summed = value.clone()
    torch.distributed.all_reduce(summed)
    return summed


def mean_over_devices(value: Tensor) -> Tensor:
    """Return the mean of a tensor over all devices; see `sum_over_devices`."""
    return value.detach() if num_devices() == 1 else sum_over_devices(value) / num_devices()


def rows_of_all_devices(rows: Tensor) -> Tensor:
    """Return the rows ``(N, ...)`` of every device, one device after another, cut from the graph.

    Every device must call it at the same moment, with as many rows, as the shares of a training batch have.
    """
    rows = rows.detach()
    if num_devices() == 1:
        return rows
    gathered = [torch.empty_like(rows) for _ in range(num_devices())]
    torch.distributed.all_gather(gathered, rows.contiguous())
    return torch.cat(gathered)


def joined_rows(own: Tensor) -> tuple[Tensor, slice]:
    """Return the rows ``(N, ...)`` of every device with their gradients, and which of them are this device's own.

    The gradient of a row is summed over the devices that used it: when each takes the mean over its own rows, and
    the devices' gradients are averaged, that is the gradient of the mean over all rows. See `rows_of_all_devices`.
    """
    if num_devices() == 1:
        return own, slice(len(own))
    start = torch.distributed.get_rank() * len(own)
    rows: Tensor = _JoinedRows.apply(own)  # type: ignore[no-untyped-call]
    return rows, slice(start, start + len(own))


class _JoinedRows(torch.autograd.Function):
    @staticmethod
    def forward(_: Any, own: Tensor) -> Tensor:
        return rows_of_all_devices(own)

    @staticmethod
    def backward(_: Any, gradient: Tensor) -> Tensor:
        return sum_over_devices(gradient).chunk(num_devices())[torch.distributed.get_rank()]
