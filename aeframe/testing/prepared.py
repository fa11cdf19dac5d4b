"""Compare prepared data, in tests of modalities and datasets."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from aeframe.data.modality import Dataset, Modality, Source, Splits
from aeframe.data.random_split import SPLITS
from aeframe.noise import noise_of
from aeframe.types import Batch


def assert_prepared_alike(
    modality: Callable[[], Modality],
    dataset: Callable[[], Dataset],
    *,
    change: Callable[[], object] | None = None,
) -> Splits:
    """Prepare a dataset by learning, and again by the saved state and split, and assert that all samples are equal.

    Args:
        modality: Makes a new modality.
        dataset: Makes a new dataset.
        change: Changes the data in between: samples that it adds must be in no split.

    Returns:
        The splits that were prepared by the saved state.
    """
    trained, first = modality(), dataset()
    before = trained.prepare(first)
    expected = {split: _all(getattr(before, split)) for split in SPLITS}
    state, drawn = trained.state(), dict(first.split_record.keys)
    if change is not None:
        change()
    again, second = modality(), dataset()
    again.load_state(state)
    second.split_record.saved = drawn or None
    after = again.prepare(second, learn=False)
    for split in SPLITS:
        _assert_equal(split, expected[split], _all(getattr(after, split)))
    return after


def _all(source: Source) -> Batch:
    with noise_of(torch.device("cpu"), 0):
        return source.batch(torch.arange(len(source)))


def _assert_equal(split: str, expected: Batch, found: Batch) -> None:
    for name, value in _fields(expected).items():
        same = _fields(found)[name]
        alike = value is same if value is None or same is None else torch.equal(value, same)
        assert alike, f"{name} of the {split} split differs"


def _fields(batch: Batch) -> dict[str, Any]:
    return {"x": batch.x, "mask": batch.mask, "condition": batch.condition, **batch.extras}
