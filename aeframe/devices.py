"""Device checks, and reductions over the devices of a distributed run."""

from __future__ import annotations

from typing import Any, TypeVar

import torch
from torch import Tensor

from aeframe.errors import AeframeError

_T = TypeVar("_T")


def check_device(device: str, option: str) -> None:
    """Raise an error for a device that this machine or this PyTorch build does not have.

    Args:
        device: Name of the device, such as ``cpu``, ``cuda`` or ``cuda:1``.
        option: Name of the option that selects the device, for the message.

    Raises:
        AeframeError: The device cannot be used.
    """
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0].rstrip(".")
        raise AeframeError(f"device '{device}' cannot be used ({reason}); choose another with {option}") from error


def num_devices() -> int:
    """Return the number of devices of the run (the world size)."""
    is_distributed = torch.distributed.is_available() and torch.distributed.is_initialized()
    return torch.distributed.get_world_size() if is_distributed else 1


def sum_over_devices(value: Tensor) -> Tensor:
    """Return the sum of a tensor over all devices, detached from the graph.

    A collective operation: every device must call it at the same point of the training step.
    """
    value = value.detach()
    if num_devices() == 1:
        return value
    total = value.clone()
    torch.distributed.all_reduce(total)
    return total


def mean_over_devices(value: Tensor) -> Tensor:
    """Return the mean of a tensor over all devices, detached from the graph; see `sum_over_devices`."""
    return value.detach() if num_devices() == 1 else sum_over_devices(value) / num_devices()


def gather_objects(value: _T) -> list[_T]:
    """Return the objects of all devices by rank. A collective operation, see `sum_over_devices`."""
    if num_devices() == 1:
        return [value]
    gathered: list[Any] = [None] * num_devices()
    torch.distributed.all_gather_object(gathered, value)
    return gathered


def gather_rows(rows: Tensor) -> Tensor:
    """Return the rows ``(N, ...)`` of all devices, concatenated by rank and detached from the graph.

    A collective operation: every device must call it at the same point, with equally many rows.
    """
    rows = rows.detach()
    if num_devices() == 1:
        return rows
    gathered = [torch.empty_like(rows) for _ in range(num_devices())]
    torch.distributed.all_gather(gathered, rows.contiguous())
    return torch.cat(gathered)


def gather_rows_with_gradient(local_rows: Tensor) -> tuple[Tensor, slice]:
    """Return the rows ``(N, ...)`` of all devices with gradients, and the slice of this device's rows.

    The gradient of a row is summed over the devices that used it. If each device minimises the mean over its own rows
    and gradients are averaged over devices, the result is the gradient of the mean over all rows. See `gather_rows`.
    """
    if num_devices() == 1:
        return local_rows, slice(len(local_rows))
    start = torch.distributed.get_rank() * len(local_rows)
    rows: Tensor = _GatherRows.apply(local_rows)  # type: ignore[no-untyped-call]
    return rows, slice(start, start + len(local_rows))


class _GatherRows(torch.autograd.Function):
    """`gather_rows`, with the gradient summed over devices."""

    @staticmethod
    def forward(_: Any, local_rows: Tensor) -> Tensor:
        return gather_rows(local_rows)

    @staticmethod
    def backward(_: Any, gradient: Tensor) -> Tensor:
        return sum_over_devices(gradient).chunk(num_devices())[torch.distributed.get_rank()]
