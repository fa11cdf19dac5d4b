"""From rows to batches: a plain loop for data in memory, worker processes for the rest, the same samples from both."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader, Dataset, Sampler

from aeframe.batch import Batch, Clock
from aeframe.data.modality import Source
from aeframe.data.plan import BatchPlan
from aeframe.noise import LOADING, noise_of

_CPU = torch.device("cpu")

_Request = tuple[int, int, NDArray[np.int64]]
"""Epoch, batch in epoch and rows. An array, since each tensor sent to a process takes a file descriptor."""


class Loader:
    """The batches of one split, for Lightning or a plain loop.

    With a `clock` it is a training loader: each item is a list of up to `steps_per_call` batches, the first one is the
    batch at which the clock stands, and an epoch ends early where the planned run does. The clock is read when the
    first batch is asked for, not when an iterator is made, because Lightning makes iterators that it never uses.
    Without one each item is a `Batch`, from first to last.

    What a source draws (augmentation) is a function of (seed, epoch, batch, device): the same with workers or without,
    and after a resume.

    Args:
        source: The samples.
        plan: Which rows make which batch.
        clock: Shared with the training module, which moves it.
        steps_per_call: Batches in one item of a training loader.
        workers: Processes that load; a source in memory is read without them.
        pin_memory: Give batches in pinned memory, for a copy to a GPU.
    """

    def __init__(
        self,
        source: Source,
        plan: BatchPlan,
        *,
        clock: Clock | None = None,
        steps_per_call: int = 1,
        workers: int = 0,
        pin_memory: bool = False,
    ) -> None:
        self.source, self.plan, self.clock = source, plan, clock
        self.steps_per_call = steps_per_call
        self.pin_memory = pin_memory
        self._rows = _Rows(source, plan)
        self._requests = _Requests(plan)
        self._workers: DataLoader[Batch] | None = None
        if workers and not source.in_memory:
            self._workers = DataLoader(
                self._rows,
                batch_size=None,
                sampler=self._requests,
                num_workers=workers,
                persistent_workers=True,
                pin_memory=pin_memory,
                # Its own: torch would take the workers' seeds from the run's noise, and so move it.
                generator=torch.Generator(),
            )

    def __len__(self) -> int:
        """Return how many items are left of the epoch in which the clock stands; without a clock, all there are.

        Lightning asks at the beginning of each epoch, and validates after that many.
        """
        _, start, end = self._span()
        return -(-(end - start) // (self.steps_per_call if self.clock is not None else 1))

    def __iter__(self) -> Iterator[Batch | list[Batch]]:
        batches = self._batches(*self._span())
        if self.clock is None:
            yield from batches
            return
        call: list[Batch] = []
        for batch in batches:
            call.append(batch)
            if len(call) == self.steps_per_call:
                yield call
                call = []
        if call:
            yield call

    def _span(self) -> tuple[int, int, int]:
        """Return the epoch, and the first and the end of its batches that are still to come."""
        clock = self.clock
        if clock is None:
            return 0, 0, len(self.plan)
        start, end = clock.batch_in_epoch, len(self.plan)
        if clock.planned:
            end = min(end, start + clock.planned - clock.batch)
        return clock.epoch, start, max(start, end)

    def _batches(self, epoch: int, start: int, end: int) -> Iterator[Batch]:
        self._requests.span = epoch, start, end
        if self._workers is not None:
            yield from self._workers
            return
        for request in self._requests:
            batch = self._rows[request]
            yield batch.pin_memory() if self.pin_memory else batch


class _Requests(Sampler[_Request]):
    """What is asked of the source in one epoch, batch by batch."""

    def __init__(self, plan: BatchPlan) -> None:
        self._plan = plan
        self.span = 0, 0, len(plan)

    def __len__(self) -> int:
        _, start, end = self.span
        return end - start

    def __iter__(self) -> Iterator[_Request]:
        epoch, start, end = self.span
        for number, rows in zip(range(start, end), self._plan.batches(epoch, start), strict=False):
            yield epoch, number, rows.numpy()


class _Rows(Dataset[Batch]):
    """The source as worker processes see it: one request, one batch."""

    def __init__(self, source: Source, plan: BatchPlan) -> None:
        self._source, self._seed, self._rank = source, plan.seed, plan.rank

    def __getitem__(self, request: _Request) -> Batch:
        epoch, number, rows = request
        with noise_of(_CPU, self._seed, LOADING, epoch, number, self._rank):
            return self._source.batch(torch.from_numpy(rows))
