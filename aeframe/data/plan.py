"""`BatchPlan`: the rows of each batch, a function of seed and epoch for any number of devices."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from aeframe.devices import LocalRows
from aeframe.errors import AeframeError
from aeframe.noise import ORDER, noise_of

USUAL_BATCH_SIZE = 64
_LARGEST_BATCH_SIZE = 1024
"""The largest that is chosen; larger batches need another learning rate."""
_BATCHES_PER_EPOCH = 2000
"""Batches in an epoch above which larger ones are chosen."""
_CPU = torch.device("cpu")


def default_batch_size(length: int, world: int = 1, preferred: int | None = None) -> int:
    """Return the batch size for training where none is set: 64, less for few samples, up to 1,024 for many.

    An epoch of fewer than 128 samples then still has two batches or more, and one of up to 4,096,000 has at most 4,000.
    It depends on the number of devices only where each would have fewer than two samples.

    Args:
        length: Number of training samples.
        world: Number of devices.
        preferred: The batch size of a recipe, which is kept if there are as many samples; otherwise a batch has all.
    """
    if preferred is not None:
        return max(2 * world, min(preferred, length))
    wanted = min(_LARGEST_BATCH_SIZE, max(USUAL_BATCH_SIZE, length // _BATCHES_PER_EPOCH))
    largest = max(2, min(wanted, length // 2))
    return max(2 * world, 1 << (largest.bit_length() - 1))


class BatchPlan:
    """The rows of each batch of each epoch, for one of `world` devices.

    `batch_size` counts the rows on all devices. The batches of an epoch do not depend on the number of devices: each
    device takes a contiguous part of each batch, and parts may differ by one row. Where there are too few rows for all
    devices, the last devices repeat the first rows with a weight of 0, see `LocalRows`.

    With `shuffle` (training) each device needs two rows, since one sample has no variance. A last batch of one row is
    dropped. Without `shuffle` (evaluation) every row occurs exactly once, in order.

    Args:
        length: Number of rows of the source.
        batch_size: Rows of a batch, over all devices.
        seed: Seed of the shuffling; the order depends on the seed and the epoch only.
        shuffle: True for training.
        rank: This device, in [0, world).
        world: Number of devices.
        epoch_permutation: Returns the order ``(length,)`` of an epoch, drawn from torch's generator; None for a uniform
            permutation. See `aeframe.data.Source`.
        batch_indices: Returns the rows of each training batch for `batch_size`, instead of an order. See
            `aeframe.data.Source`.

    Raises:
        AeframeError: There are too few rows, or `batch_size` does not fit them or the number of devices.
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
        epoch_permutation: Callable[[], Tensor] | None = None,
        batch_indices: Callable[[int], list[Tensor]] | None = None,
    ) -> None:
        if batch_size < 1:
            raise AeframeError(f"batch_size counts samples and must be at least 1, found {batch_size}")
        if shuffle:
            _check_training(length, batch_size, world)
        elif length < world:
            raise AeframeError(
                f"{world} devices cannot share an evaluation split of {_samples(length)}; use {max(length, 1)} or fewer"
            )
        # In the first batch of an evaluation each device has rows of its own: a metric of no rows has no shape.
        self.length, self.batch_size = length, max(batch_size, world)
        self.seed, self.shuffle = seed, shuffle
        self.rank, self.world = rank, world
        self._epoch_permutation, self._batch_indices = epoch_permutation, batch_indices if shuffle else None
        self._ends = self._batch_ends()

    def __len__(self) -> int:
        """Return the number of batches in an epoch, the same on every device."""
        return len(self._ends)

    @property
    def num_rows(self) -> int:
        """Number of rows in the batches of an epoch, over all devices."""
        return self._ends[-1]

    def batches(self, epoch: int, start: int = 0) -> Iterator[Tensor]:
        """Yield this device's rows ``(n,)``, int64, of each batch of `epoch` from batch `start` on."""
        for rows in self.batches_of_all_devices(epoch, start):
            local = self.local_rows(len(rows))
            yield rows[local.start : local.stop]

    def batches_of_all_devices(self, epoch: int, start: int = 0) -> Iterator[Tensor]:
        """Yield the rows ``(N,)``, int64, of each batch of `epoch` from batch `start` on, as on one device."""
        if self._batch_indices is not None:
            yield from self._source_batches(epoch)[start:]
            return
        order = self._order(epoch)
        for number in range(start, len(self)):
            yield order[self._ends[number - 1] if number else 0 : self._ends[number]]

    def local_rows(self, total: int) -> LocalRows:
        """Return which rows of a batch of `total` rows this device has."""
        return LocalRows(total, self.rank, self.world, least=2 if self.shuffle else 1)

    def _order(self, epoch: int) -> Tensor:
        """Return the rows ``(length,)`` in the order of an epoch."""
        if not self.shuffle:
            return torch.arange(self.length)
        with noise_of(_CPU, self.seed, ORDER, epoch):
            return torch.randperm(self.length) if self._epoch_permutation is None else self._epoch_permutation()

    def _source_batches(self, epoch: int) -> list[Tensor]:
        """Return the rows of all batches of an epoch, chosen by the source."""
        assert self._batch_indices is not None
        with noise_of(_CPU, self.seed, ORDER, epoch):
            return self._batch_indices(self.batch_size)

    def _batch_ends(self) -> list[int]:
        """Return the end of each batch, as a position in the order of an epoch."""
        if self._batch_indices is not None:
            return list(itertools.accumulate(len(rows) for rows in self._source_batches(0)))
        num_full, rest = divmod(self.length, self.batch_size)
        ends = [self.batch_size * (number + 1) for number in range(num_full)]
        return [*ends, self.length] if rest >= (2 if self.shuffle else 1) else ends


def _check_training(length: int, batch_size: int, world: int) -> None:
    """Raise AeframeError for an empty epoch, or fewer than two samples for each device."""
    if length < 2 * world:
        on_each = f" on each of {world} devices" if world > 1 else ""
        raise AeframeError(f"training needs at least two samples{on_each}, found {_samples(length)}; add data")
    if batch_size > length:
        raise AeframeError(
            f"batch_size={batch_size} is larger than the {length} training samples; set batch_size={length} or less"
        )
    if batch_size < 2 * world:
        each = f" on each of {world} devices" if world > 1 else ""
        raise AeframeError(
            f"batch_size={batch_size} counts the samples of all devices, and training needs at least two{each}; set "
            f"batch_size={2 * world} or more"
        )


def _samples(count: int) -> str:
    return {0: "no samples", 1: "one sample"}.get(count, f"{count} samples")
