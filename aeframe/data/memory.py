"""`TensorSource`: a source of samples that are tensors in memory."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from aeframe.errors import AeframeError
from aeframe.types import Batch


class TensorSource:
    """Samples that are the rows of tensors.

    Args:
        x: ``(N, *shape)``, of any dtype.
        mask: ``(N, *leading dims of shape)``, True where x is valid.
        condition: ``(N, C)``.
        extras: ``(N, ...)`` each, by name.
        transform: Maps a batch of stored rows to the batch that is returned, for example bytes to floats. It may draw
            random numbers: the loader seeds torch's generator for each batch.
        index: ``(N,)``: the `Batch.index` of each row, which identifies the sample; by default the row number.
        columns: ``(N,)`` each, by name: what identifies the samples in outputs, such as ``name``; see `Source`.

    Raises:
        AeframeError: The tensors have different lengths.
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
        columns: Mapping[str, ArrayLike] | None = None,
    ) -> None:
        index = torch.arange(len(x)) if index is None else index
        self._stored = Batch(x=x, mask=mask, condition=condition, index=index, extras=dict(extras or {}))
        self._transform = transform
        self._columns = {name: np.asarray(values) for name, values in (columns or {}).items()}
        parts = {"mask": mask, "condition": condition, "index": index, **self._stored.extras, **self._columns}
        for name, tensor in parts.items():
            if tensor is not None and len(tensor) != len(x):
                raise AeframeError(
                    f"TensorSource has {len(x)} rows of x but {len(tensor)} of '{name}'; pass one for each"
                )

    def __len__(self) -> int:
        return len(self._stored)

    def batch(self, index: Tensor) -> Batch:
        """Return copies of the rows `index` ``(B,)``, which may be changed in place."""
        batch = self._stored.map(lambda tensor: tensor.index_select(0, index))
        return batch if self._transform is None else self._transform(batch)

    def columns(self, index: Tensor) -> Mapping[str, NDArray[Any]]:
        """Return what identifies the samples of the rows `index` ``(n,)``, see `Source`."""
        return {name: values[index.numpy()] for name, values in self._columns.items()}

    def rows(self, index: Tensor) -> TensorSource:
        """Return a source of the rows `index`; their `Batch.index` stays the same."""
        stored = self._stored.map(lambda tensor: tensor.index_select(0, index))
        return TensorSource(
            stored.x,
            mask=stored.mask,
            condition=stored.condition,
            extras=stored.extras,
            transform=self._transform,
            index=stored.index,
            columns=self.columns(index),
        )
