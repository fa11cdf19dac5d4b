"""Which rows make which batch: a pure function of (seed, epoch), the same for any number of devices."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from aeframe.errors import AeframeError
from aeframe.noise import ORDER, noise_of

_CPU = torch.device("cpu")


class BatchPlan:
    """The rows of every batch of every epoch, as one of `world` devices sees them.

    `batch_size` counts the rows of all devices together, and a device takes its contiguous share of each batch; so
    one device and several go through the same batches, in the same order.

    With `shuffle` (training) the shares are equal. A last batch that is short keeps as many rows as can be shared
    equally, and is dropped when that is not even two rows for each device: a batch of one sample has no variance.

    Without it (evaluation) every row comes exactly once, in order. Shares may differ by one row and are never empty: a
    last batch with fewer rows than devices joins the batch before it.

    Args:
        length: Rows of the source.
        batch_size: Rows of a batch, over all devices.
        seed: Of the shuffling; with the epoch it is all that the order depends on.
        shuffle: For training.
        rank: This device, in [0, world).
        world: How many devices there are.
        order: Draws the order of an epoch, a permutation ``(length,)``, from torch's generator; any order is as likely
            as any other where it is None.
        groups: Draws the batches of a training epoch themselves, given `batch_size` and `world`, in place of `order`.

    Raises:
        AeframeError: Too few rows, or a batch size that they or the devices cannot be matched with.
    """

    def __init__(
        self,
        length: int,
        batch_size: int,
        *,
        seed: int,
        shuffle: bool,
        rank: int = 0,
        world: int = 1,
        order: Callable[[], Tensor] | None = None,
        groups: Callable[[int, int], list[Tensor]] | None = None,
    ) -> None:
        if batch_size < 1:
            raise AeframeError(f"batch_size counts samples and must be at least 1, found {batch_size}")
        if shuffle:
            _check_training(length, batch_size, world)
        elif length < world:
            raise AeframeError(
                f"{world} devices cannot share an evaluation split of {_samples(length)}; use {max(length, 1)} or fewer"
            )
        # In evaluation a batch has at least one row for each device; training has refused fewer.
        self.length, self.batch_size = length, max(batch_size, world)
        self.seed, self.shuffle = seed, shuffle
        self.rank, self.world = rank, world
        self._drawn, self._groups = order, groups if shuffle else None
        self._ends = self._last_rows()

    def __len__(self) -> int:
        """Return the number of batches in an epoch: the same on every device."""
        return len(self._ends)

    @property
    def num_rows(self) -> int:
        """Rows that one epoch goes through, over all devices."""
        return self._ends[-1]

    def batches(self, epoch: int, start: int = 0) -> Iterator[Tensor]:
        """Give this device's row numbers ``(share,)``, int64, of the batches `start`, `start` + 1, ... of `epoch`."""
        if self._groups is not None:
            for rows in self._grouped(epoch)[start:]:
                yield rows[len(rows) * self.rank // self.world : len(rows) * (self.rank + 1) // self.world]
            return
        order = self._order(epoch)
        for number in range(start, len(self)):
            first, end = self._ends[number - 1] if number else 0, self._ends[number]
            size = end - first
            yield order[first + size * self.rank // self.world : first + size * (self.rank + 1) // self.world]

    def _order(self, epoch: int) -> Tensor:
        if not self.shuffle:
            return torch.arange(self.length)
        with noise_of(_CPU, self.seed, ORDER, epoch):
            return torch.randperm(self.length) if self._drawn is None else self._drawn()

    def _grouped(self, epoch: int) -> list[Tensor]:
        """Return the rows of every batch of an epoch, where the source makes them."""
        assert self._groups is not None
        with noise_of(_CPU, self.seed, ORDER, epoch):
            return self._groups(self.batch_size, self.world)

    def _last_rows(self) -> list[int]:
        """Return where each batch ends in the epoch's order."""
        if self._groups is not None:
            return list(itertools.accumulate(len(rows) for rows in self._grouped(0)))
        whole, rest = divmod(self.length, self.batch_size)
        ends = [self.batch_size * (number + 1) for number in range(whole)]
        if self.shuffle:
            kept = rest - rest % self.world
            return [*ends, self.length - rest + kept] if kept >= 2 * self.world else ends
        if rest >= self.world or not ends:
            return [*ends, self.length] if rest else ends
        return [*ends[:-1], self.length]


def _check_training(length: int, batch_size: int, world: int) -> None:
    """Refuse what would give an empty epoch, a batch of one sample, or devices that weigh differently."""
    if length < 2 * world:
        each = f" on each of {world} devices" if world > 1 else ""
        raise AeframeError(f"training needs at least two samples{each}, found {_samples(length)}; add data")
    if batch_size > length:
        raise AeframeError(
            f"batch_size={batch_size} is larger than the {length} training samples; set batch_size={length} or less"
        )
    if batch_size % world:
        near = max(batch_size - batch_size % world, 2 * world)
        raise AeframeError(
            f"batch_size={batch_size} counts the samples of all devices and cannot be shared equally by {world}; "
            f"set batch_size={near}"
        )
    if batch_size < 2 * world:
        raise AeframeError(
            f"batch_size={batch_size} would give one sample to each of {world} device{'s' * (world > 1)}, and training "
            f"needs at least two; set batch_size={2 * world} or more"
        )


def _samples(count: int) -> str:
    return {0: "no samples", 1: "one sample"}.get(count, f"{count} samples")
