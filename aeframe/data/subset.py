"""Random subsets of a split, read by batch."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from aeframe.data.modality import Source
from aeframe.noise import LOADING, noise_of, random_rows
from aeframe.types import Batch


def random_batches(source: Source, num: int, seed: int, batch_size: int) -> Iterator[Batch]:
    """Yield at most `num` random samples in batches.

    Training splits may draw random numbers for a batch, such as those of an augmentation: they are then a function of
    the seed, as the subset is.
    """
    for number, rows in enumerate(random_rows(len(source), num, seed).split(batch_size)):
        with noise_of(torch.device("cpu"), seed, LOADING, number):
            yield source.batch(rows)
