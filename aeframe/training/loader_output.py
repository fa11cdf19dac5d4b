"""What a user's own loader yields, as a `Batch`."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from aeframe.errors import AeframeError
from aeframe.types import Batch


def as_batch(value: Any) -> Batch:
    """Return what a loader yields as a `Batch`: a batch, a tensor x, or ``(x, label, ...)`` of a `TensorDataset`.

    Raises:
        AeframeError: Anything else.
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
