"""Checks of how a modality writes samples."""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from aeframe.data.modality import Modality
from aeframe.data.sample_batches import SampleBatches
from aeframe.errors import AeframeError
from aeframe.testing.check import check
from aeframe.testing.checks.models import same_values
from aeframe.testing.expectations import expect
from aeframe.testing.part_under_test import PartUnderTest

FORMATS = (
    "samples",
    "samples.npz",
    "samples.npy",
    "samples.csv",
    "samples.txt",
    "samples.wav",
    "samples.h5ad",
    "samples.mp4",
)
"""Files and folders that are tried if the suite does not name the formats of a modality."""
_MAX_HELD = 3
"""Batches of one sample that may be in memory while samples are written: the one that is written, the next, and one
that a library still refers to."""


@check(
    "writing by batch",
    "memory must not grow with the number of samples that are written",
    kinds=["modality"],
    depends_on=("files round trip",),
)
def writing_by_batch(part: PartUnderTest) -> None:
    """Write samples one at a time in each format; expect the file that all together give, and few samples in memory.

    A format that needs all samples at once takes them from `SampleBatches.tensor`.
    """
    modality, x = part.setup.modality, part.setup.batch().nan_masked_x()
    for name in part.options.formats.get(part.entry.name) or FORMATS:
        tracked = _TrackedSamples(x)
        try:
            whole = _written(modality, x, part.folder / "at once" / name)
            single = _written(modality, tracked, part.folder / "by batch" / name)
        except AeframeError:
            continue
        expect(
            same_values(modality.read(whole).nan_masked_x(), modality.read(single).nan_masked_x()),
            f"{part.id} writes other values to '{name}' by batch than all samples at once",
        )
        expect(
            tracked.is_whole or tracked.most <= _MAX_HELD,
            f"{part.id} holds {tracked.most} of {len(x)} batches in memory while it writes '{name}'; write each batch "
            "before the next is computed, or take `samples.tensor()`",
        )


def _written(modality: Modality, x: Tensor | SampleBatches, path: Path) -> Path:
    """Write samples, and return the path of what was written: it may have another suffix."""
    files = modality.write(x, path)
    return path if path.exists() else files[0]


class _TrackedSamples(SampleBatches):
    """Samples that are computed one at a time, of which the largest number in memory at once is counted."""

    def __init__(self, x: Tensor) -> None:
        super().__init__(self._computed(x), len(x))
        self.most, self.is_whole = 0, False
        self._held: list[weakref.ref[NDArray[Any]]] = []

    def tensor(self) -> Tensor:
        self.is_whole = True
        return super().tensor()

    def _computed(self, x: Tensor) -> Iterator[Tensor]:
        for row in x.split(1):
            # The memory of a tensor that is made of an array refers to the array as long as any view of it is in use.
            values = row.numpy().copy()
            self._held.append(weakref.ref(values))
            self.most = max(self.most, sum(held() is not None for held in self._held))
            yield torch.from_numpy(values)
            del values


CHECKS = (writing_by_batch,)
