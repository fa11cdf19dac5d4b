"""Compare data that a modality prepares in training with data that it prepares from its saved state."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from aeframe.data.modality import Dataset, Modality, Source, Splits
from aeframe.data.random_split import SPLITS
from aeframe.noise import noise_of
from aeframe.types import Batch


def assert_state_restores_data(
    modality: Callable[[], Modality],
    dataset: Callable[[], Dataset],
    *,
    change: Callable[[], object] | None = None,
) -> Splits:
    """Assert that a modality with a saved state prepares the same samples as the modality that saved the state.

    The first modality learns its state from the data, and its dataset draws the split, which `Dataset.split_record`
    stores. The second modality and dataset load both.

    Args:
        modality: Returns a new modality.
        dataset: Returns a new dataset.
        change: Called before the data are prepared again. It may add samples, which must be in no split.

    Returns:
        The splits of the second modality.
    """
    trained, first_dataset = modality(), dataset()
    splits = trained.prepare(first_dataset)
    expected = {split: _all_samples(getattr(splits, split)) for split in SPLITS}
    state, split_keys = trained.state(), dict(first_dataset.split_record.keys)
    if change is not None:
        change()
    restored, second_dataset = modality(), dataset()
    restored.load_state(state)
    second_dataset.split_record.saved = split_keys or None
    restored_splits = restored.prepare(second_dataset, learn=False)
    for split in SPLITS:
        _assert_equal(split, expected[split], _all_samples(getattr(restored_splits, split)))
    return restored_splits


def _all_samples(source: Source) -> Batch:
    with noise_of(torch.device("cpu"), 0):
        return source.batch(torch.arange(len(source)))


def _assert_equal(split: str, expected: Batch, actual: Batch) -> None:
    actual_fields = _fields(actual)
    for name, value in _fields(expected).items():
        actual_value = actual_fields[name]
        equal = value is actual_value if value is None or actual_value is None else torch.equal(value, actual_value)
        assert equal, f"{name} of the {split} split differs"


def _fields(batch: Batch) -> dict[str, Any]:
    return {"x": batch.x, "mask": batch.mask, "condition": batch.condition, **batch.extras}
