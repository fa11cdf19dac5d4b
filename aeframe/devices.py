"""Device checks, and reductions over the devices of a distributed run.

A batch is shared by all devices: each has some of its rows. Inside `shared_batch` the functions ``*_over_batch`` and
``gather_rows*`` compute what one device with the whole batch would. Outside, and on one device, they return what they
receive. All of them are collective operations: every device must call them at the same point.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple, TypeVar

import torch
from torch import Tensor

from aeframe.errors import AeframeError

_T = TypeVar("_T")


class LocalRows(NamedTuple):
    """Which rows of a batch one of several devices has.

    The rows are divided in order and as equally as possible. No device has fewer than `least` rows: where there are too
    few, the last devices have none of their own and repeat the first rows, with a weight of 0.

    It is a tuple, because Lightning casts the tensors of a batch and does not accept frozen dataclasses in it.
    """

    total: int
    """Number of rows in the batch, over all devices."""
    rank: int
    """This device, in [0, `world`)."""
    world: int
    """Number of devices."""
    least: int = 1
    """Number of rows that each device needs: 2 in training, since one sample has no variance."""

    @property
    def num_sharing(self) -> int:
        """Number of devices with rows of their own: the first ones."""
        return max(1, min(self.world, self.total // self.least))

    @property
    def are_repeated(self) -> bool:
        """Whether this device has no rows of its own, and repeats rows of the first device."""
        return self.rank >= self.num_sharing

    @property
    def start(self) -> int:
        """The first row of this device."""
        return 0 if self.are_repeated else self.total * self.rank // self.num_sharing

    @property
    def stop(self) -> int:
        """The row after the last of this device."""
        if self.are_repeated:
            return min(self.least, self.total)
        return self.total * (self.rank + 1) // self.num_sharing

    @property
    def num(self) -> int:
        """Number of rows on this device, repeated ones included."""
        return self.stop - self.start

    @property
    def weight(self) -> float:
        """The factor of a mean over this device's rows whose mean over all devices is the mean over the batch."""
        return 0.0 if self.are_repeated else self.world * self.num / self.total

    def counts(self) -> list[int]:
        """Return the number of rows that each device contributes, by rank; 0 for repeated rows."""
        num = self.num_sharing
        ends = [self.total * rank // num for rank in range(num + 1)]
        own = [end - start for start, end in itertools.pairwise(ends)]
        return own + [0] * (self.world - num)


_shared: LocalRows | None = None
"""The rows of the batch that this process computes inside `shared_batch`."""


@contextmanager
def shared_batch(rows: LocalRows | None) -> Iterator[None]:
    """Context in which all devices compute one batch together, of which this one has `rows`; None on one device."""
    # A process computes one batch at a time, also in the threads of autograd.
    global _shared
    before, _shared = _shared, rows
    try:
        yield
    finally:
        _shared = before


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
    """Return the sum of a tensor over all devices, detached from the graph; inside `shared_batch` or not."""
    value = value.detach()
    if num_devices() == 1:
        return value
    total = value.clone()
    torch.distributed.all_reduce(total)
    return total


def mean_over_devices(value: Tensor) -> Tensor:
    """Return the mean of a tensor over all devices, detached from the graph; see `sum_over_devices`."""
    return value.detach() if num_devices() == 1 else sum_over_devices(value) / num_devices()


def num_rows(local: int) -> int:
    """Return the number of rows on all devices, for `local` rows (or positions of rows) on this one."""
    return local if _shared is None else local * _shared.total // _shared.num


def gather_objects(value: _T) -> list[_T]:
    """Return the objects of all devices by rank. A collective operation, see `sum_over_devices`."""
    if num_devices() == 1:
        return [value]
    gathered: list[Any] = [None] * num_devices()
    torch.distributed.all_gather_object(gathered, value)
    return gathered


def sum_over_batch(local_sum: Tensor) -> Tensor:
    """Return the sum over the rows of all devices, from the sum over this device's rows; detached from the graph."""
    if _shared is None:
        return local_sum.detach()
    return sum_over_devices(torch.zeros_like(local_sum) if _shared.are_repeated else local_sum)


def mean_over_batch(local_mean: Tensor) -> Tensor:
    """Return the mean over the rows of all devices, from the mean over this device's rows; detached from the graph."""
    return local_mean.detach() if _shared is None else sum_over_devices(local_mean * _shared.weight) / _shared.world


def gather_rows(rows: Tensor) -> Tensor:
    """Return the rows ``(N, ...)`` of all devices in the order of the batch, detached from the graph.

    Each device has n rows for each of its samples, such as positions. Repeated rows (see `LocalRows`) are left out.
    """
    return rows.detach() if _shared is None else _gather(rows.detach(), _shared)


def gather_values(values: Tensor) -> Tensor:
    """Return the values ``(N, ...)`` of all devices by rank, detached; every device has equally many, of no rows.

    Those of a device that repeats the rows of another are 0.
    """
    if _shared is None:
        return values.detach()
    values = torch.zeros_like(values) if _shared.are_repeated else values.detach()
    return _gather_equal(values, _shared.world)


def gather_rows_with_gradient(local_rows: Tensor) -> tuple[Tensor, slice]:
    """Return the rows ``(N, ...)`` of all devices with gradients, and the slice of this device's rows.

    The gradient of a row is summed over the devices that used it. If each device minimises the mean over its own rows
    times `LocalRows.weight`, and gradients are averaged over devices, the result is the gradient of the mean over all
    rows. See `gather_rows`.
    """
    if _shared is None:
        return local_rows, slice(len(local_rows))
    width = len(local_rows) // _shared.num
    rows: Tensor = _GatherRows.apply(local_rows, _shared)  # type: ignore[no-untyped-call]
    return rows, slice(_shared.start * width, _shared.stop * width)


class _GatherRows(torch.autograd.Function):
    """`gather_rows`, with the gradient summed over devices."""

    @staticmethod
    def forward(context: Any, local_rows: Tensor, shared: LocalRows) -> Tensor:
        context.shared, context.width = shared, len(local_rows) // shared.num
        return _gather(local_rows, shared)

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> tuple[Tensor, None]:
        shared, width = context.shared, context.width
        total = sum_over_devices(gradient)[shared.start * width : shared.stop * width]
        # The device whose rows are repeated has their gradient.
        return torch.zeros_like(total) if shared.are_repeated else total, None


def _gather(rows: Tensor, shared: LocalRows) -> Tensor:
    """Return the rows of all devices; each sends as many as the device with the most."""
    counts = [count * (len(rows) // shared.num) for count in shared.counts()]
    largest = max(counts)
    if len(rows) < largest:
        rows = torch.cat([rows, rows.new_zeros(largest - len(rows), *rows.shape[1:])])
    gathered = _gather_equal(rows[:largest], shared.world)
    if min(counts) == largest:
        return gathered
    return torch.cat([part[:count] for part, count in zip(gathered.split(largest), counts, strict=True)])


def _gather_equal(rows: Tensor, world: int) -> Tensor:
    rows = rows.contiguous()
    gathered = [torch.empty_like(rows) for _ in range(world)]
    torch.distributed.all_gather(gathered, rows)
    return torch.cat(gathered)
