"""Convert the output of a user's own `DataLoader` to a `Batch`."""

from __future__ import annotations

from typing import Any

from torch import Tensor

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
