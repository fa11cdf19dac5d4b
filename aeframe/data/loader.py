"""`Loader`: the batches of a source, read in a plain loop or by worker processes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader, Dataset, Sampler

from aeframe.batch_noise import BatchNoise
from aeframe.data.modality import Source
from aeframe.data.plan import BatchPlan
from aeframe.devices import LocalRows
from aeframe.noise import LOADING, noise_of
from aeframe.types import Batch

_CPU = torch.device("cpu")

_BatchIndex = tuple[int, int, NDArray[np.int64], LocalRows | None]
"""Epoch, number of the batch in the epoch, its rows on this device, and which of the rows of all devices these are.

The rows are a NumPy array, because a tensor that is sent to a worker process needs a file descriptor.
"""


class Loader:
    """The batches of one split, for a Lightning Trainer or a plain loop.

    A training loader (``plan.shuffle``) has a new order in each epoch, chosen by ``sampler.set_epoch``. After
    `load_state_dict` it resumes inside an epoch. Lightning calls both. With `batches_per_item` above 1 it yields lists
    of that many batches; which batches form a list does not depend on where the epoch was resumed. An evaluation loader
    yields single batches, in order.

    Random numbers that the source draws (augmentation) are a function of seed, epoch, batch and row. They are the same
    with and without workers, after a resume, and on any number of devices (see `BatchNoise`).

    Args:
        source: The samples.
        plan: The rows of each batch.
        batches_per_item: Training batches in each item that the loader yields.
        workers: Number of worker processes; not used for a source in memory.
        pin_memory: Copy batches to pinned memory, for faster transfer to a GPU.
    """

    def __init__(
        self, source: Source, plan: BatchPlan, *, batches_per_item: int = 1, workers: int = 0, pin_memory: bool = False
    ) -> None:
        self.source, self.plan = source, plan
        self.batches_per_item = batches_per_item
        self.pin_memory = pin_memory
        self.sampler = BatchSampler(plan)
        """Lightning calls its ``set_epoch`` at the start of each epoch."""
        # None as in a DataLoader whose `sampler` yields whole batches (batch_size=None).
        self.batch_sampler = None
        self._dataset = BatchDataset(source, plan)
        # Epoch, and number of its batches that have been yielded; the same, where the next iteration starts.
        self._position = 0, 0
        self._resume: tuple[int, int] | None = None
        self._workers: DataLoader[Batch] | None = None
        if workers and not source.in_memory:
            self._workers = DataLoader(
                self._dataset,
                batch_size=None,
                sampler=self.sampler,
                num_workers=workers,
                persistent_workers=True,
                pin_memory=pin_memory,
                # By default torch draws the seeds of the workers from the default generator, which advances it.
                generator=torch.Generator(),
            )

    def __len__(self) -> int:
        """Return the number of items in an epoch from its start."""
        return -(-len(self.plan) // self.batches_per_item)

    def __iter__(self) -> Iterator[Batch | list[Batch]]:
        # A generator function reads the state at the first batch: Lightning creates iterators that it does not use.
        epoch, start = self.sampler.epoch, 0
        if self._resume is not None:
            resumed_epoch, position = self._resume
            start = position if resumed_epoch == epoch else 0
            self._resume = None
        self.sampler.start = start
        item: list[Batch] = []
        for number, batch in enumerate(self._batches(), start=start + 1):
            self._position = epoch, number
            if self.batches_per_item == 1:
                yield batch
                continue
            item.append(batch)
            if number % self.batches_per_item == 0:
                yield item
                item = []
        if item:
            yield item

    def state_dict(self) -> dict[str, int]:
        """Return the epoch, and how many of its batches have been yielded."""
        epoch, batch = self._position
        return {"epoch": epoch, "batch": batch}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Start the next iteration over the epoch of `state` after as many batches as it states."""
        self._position = self._resume = state["epoch"], state["batch"]

    def _batches(self) -> Iterator[Batch]:
        if self._workers is not None:
            yield from self._workers
            return
        for index in self.sampler:
            batch = self._dataset[index]
            yield batch.pin_memory() if self.pin_memory else batch


class BatchSampler(Sampler[_BatchIndex]):
    """Yields epoch, batch number and rows of each batch of an epoch, from batch `start` on."""

    def __init__(self, plan: BatchPlan) -> None:
        self._plan = plan
        self.epoch, self.start = 0, 0
        self.same_order = False
        """Use the order of the first epoch in all epochs, as ``Trainer(overfit_batches=...)`` requires."""

    def set_epoch(self, epoch: int) -> None:
        """Choose the order of that epoch; evaluation always uses the same order."""
        if self._plan.shuffle:
            self.epoch = epoch

    def __len__(self) -> int:
        return len(self._plan) - self.start

    def __iter__(self) -> Iterator[_BatchIndex]:
        epoch, start = 0 if self.same_order else self.epoch, self.start
        plan = self._plan
        for number, rows in enumerate(plan.batches_of_all_devices(epoch, start), start=start):
            local = plan.local_rows(len(rows))
            yield epoch, number, rows[local.start : local.stop].numpy(), local if plan.world > 1 else None


class BatchDataset(Dataset[Batch]):
    """A source as a `torch.utils.data.Dataset` whose items are batches, for worker processes."""

    def __init__(self, source: Source, plan: BatchPlan) -> None:
        self._source, self._seed = source, plan.seed

    def __getitem__(self, index: _BatchIndex) -> Batch:
        epoch, number, rows, local = index
        # The last number is always 0.
        with (
            noise_of(_CPU, self._seed, LOADING, epoch, number, 0),
            nullcontext() if local is None else BatchNoise(local),
        ):
            batch = self._source.batch(torch.from_numpy(rows))
        return batch if local is None else replace(batch, local_rows=local)
