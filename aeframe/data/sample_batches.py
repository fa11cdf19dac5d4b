"""`SampleBatches`: samples that are computed by batch while they are written."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from aeframe.errors import AeframeError


@dataclass(slots=True)
class SampleBatches:
    """Samples to write, which are computed by batch while they are written: iterate over them once.

    ```python
    for x in samples:  # (B, *shape), on the CPU
        file.write(x)
    ```

    Raises:
        AeframeError: There is another number of names than of samples.
    """

    batches: Iterable[Tensor]
    """The samples ``(B, *shape)`` of each batch, in order."""
    num: int
    """The number of samples in all batches, which a header may need before the first is computed."""
    names: Sequence[str] | None = None
    """The name of each sample, from `Source.columns`: file names, cells or row ids; None for samples without names."""
    conditions: Iterable[Tensor] | None = None
    """The condition ``(B, C)`` of each batch, or ``(1, C)`` for all its samples; None without one. That of a batch may
    be computed with the batch, and is taken after it."""

    def __post_init__(self) -> None:
        if self.names is not None and len(self.names) != self.num:
            raise AeframeError(
                f"{self.num} samples are written, found {len(self.names)} names; pass one name for each sample"
            )

    @classmethod
    def of(cls, x: Tensor, names: Sequence[str] | None = None) -> SampleBatches:
        """Return samples in memory ``(N, *shape)`` as one batch."""
        return cls([x], len(x), names)

    def __len__(self) -> int:
        return self.num

    def __iter__(self) -> Iterator[Tensor]:
        count = 0
        for x in self.batches:
            count += len(x)
            yield x.detach().cpu()
            # Otherwise this batch would stay in memory while the next is computed.
            del x
        if count != self.num:
            raise ValueError(f"{self.num} samples were to be written, found {count} in the batches")

    def named(self) -> Iterator[tuple[Tensor, Sequence[str] | None]]:
        """Yield each batch with the names of its samples."""
        start = 0
        for x in self:
            stop = start + len(x)
            yield x, None if self.names is None else self.names[start:stop]
            start = stop
            del x

    def conditioned(self) -> Iterator[tuple[Tensor, Sequence[str] | None, Tensor | None]]:
        """Yield each batch with the names and the condition ``(B, C)`` of its samples, None without one."""
        conditions = None if self.conditions is None else iter(self.conditions)
        for x, names in self.named():
            condition = None if conditions is None else next(conditions).detach().cpu()
            yield x, names, None if condition is None else condition.expand(len(x), -1)
            del x

    def tensor(self) -> Tensor:
        """Return all samples ``(N, *shape)``, for a format that cannot be written by batch."""
        found, start = torch.empty(0), 0
        for x in self:
            if len(x) == self.num:
                found = x
                continue
            # One tensor for all: small ones between the large ones of each batch would fragment the memory.
            found = found if start else x.new_empty(self.num, *x.shape[1:])
            found[start : start + len(x)] = x
            start += len(x)
        return found
