"""Data that fit in memory: a batch is a gather of rows, with no work for each sample."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from aeframe.errors import AeframeError
from aeframe.types import Batch


class TensorSource:
    """Samples that stand in tensors, one row for each.

    Args:
        x: ``(N, *shape)``, of any dtype.
        mask: ``(N, *leading dims of shape)``, True where x counts.
        condition: ``(N, C)``.
        extras: ``(N, ...)`` each, by name.
        transform: Makes the batch that is used of the one that is stored, such as floats of bytes. It is called with
            the noise of the batch's place in the run, so it may draw.
        index: ``(N,)`` what `Batch.index` says of each row; its number, where nothing is given.

    Raises:
        AeframeError: Tensors of different lengths.
    """

    in_memory = True

    def __init__(
        self,
        x: Tensor,
        *,
        mask: Tensor | None = None,
        condition: Tensor | None = None,
        extras: Mapping[str, Tensor] | None = None,
        transform: Callable[[Batch], Batch] | None = None,
        index: Tensor | None = None,
    ) -> None:
        index = torch.arange(len(x)) if index is None else index
        self._stored = Batch(x, mask, condition, index, dict(extras or {}))
        self._transform = transform
        like = {"mask": mask, "condition": condition, "index": index, **self._stored.extras}
        for name, tensor in like.items():
            if tensor is not None and len(tensor) != len(x):
                raise AeframeError(
                    f"TensorSource has {len(x)} rows of x but {len(tensor)} of '{name}'; give one for each"
                )

    def __len__(self) -> int:
        return len(self._stored)

    def batch(self, index: Tensor) -> Batch:
        """Return the samples of the rows `index` ``(B,)``: copies, so that a batch may be changed in place."""
        batch = self._stored.map(lambda tensor: tensor.index_select(0, index))
        return batch if self._transform is None else self._transform(batch)

    def rows(self, index: Tensor) -> TensorSource:
        """Return a source of some rows; their `Batch.index` stays what it was here."""
        stored = self._stored.map(lambda tensor: tensor.index_select(0, index))
        return TensorSource(
            stored.x,
            mask=stored.mask,
            condition=stored.condition,
            extras=stored.extras,
            transform=self._transform,
            index=stored.index,
        )
