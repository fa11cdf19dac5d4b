"""Convert the output of a user's own `DataLoader` to a `Batch`, and find its place among those of other devices."""

from __future__ import annotations

from typing import Any

import lightning.pytorch as L
from torch import Tensor

from aeframe.devices import LocalRows
from aeframe.errors import AeframeError
from aeframe.types import Batch


def as_batch(value: Any) -> Batch:
    """Return a `Batch` of a batch, a tensor x, or the ``(x, label, ...)`` of a `TensorDataset`.

    Raises:
        AeframeError: A value of another type.
    """
    if isinstance(value, Batch):
        return value
    if isinstance(value, Tensor):
        return Batch(value)
    if isinstance(value, (list, tuple)) and value and isinstance(value[0], Tensor):
        has_label = len(value) > 1 and isinstance(value[1], Tensor) and value[1].ndim == 1
        return Batch(value[0], extras={"label": value[1]} if has_label else {})
    raise AeframeError(
        f"AutoencoderModule trains on Batch, a tensor x or (x, label), found {type(value).__name__} from the loader; "
        "return one of these from the dataset"
    )


def as_batches(value: Any) -> list[Batch]:
    """Return a list of batches as it is, and anything else that a `DataLoader` returned as one batch (`as_batch`)."""
    is_list_of_batches = isinstance(value, list) and bool(value) and isinstance(value[0], Batch)
    return value if is_list_of_batches else [as_batch(value)]


def local_rows_of(batch: Batch, trainer: L.Trainer) -> LocalRows | None:
    """Return which rows of the batch of all devices a training batch has, None on one device.

    A user's own loader does not record it, and must return equally many samples on every device.
    """
    if batch.local_rows is not None or trainer.world_size == 1:
        return batch.local_rows
    return LocalRows(len(batch) * trainer.world_size, trainer.global_rank, trainer.world_size)
