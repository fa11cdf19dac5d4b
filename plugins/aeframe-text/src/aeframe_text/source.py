"""Data sources of token sequences: padded batches, and training batches of sentences of similar length."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from aeframe.types import Batch
from aeframe_text.specials import PAD

Names = Callable[[NDArray[np.int64]], NDArray[Any]]
"""Returns the names ``(n,)`` of rows ``(n,)``."""


class TextSource:
    """Sentences stored end to end in one tensor; `batch` pads them.

    Args:
        tokens: ``(total,)`` the tokens of all sentences, end tokens included.
        lengths: ``(N,)`` the number of tokens of each sentence.
        width: T, the length to which batches are padded.
        extras: `Batch.extras` of all sentences, tensors ``(N,)``.
        index: ``(N,)`` `Batch.index` of all sentences.
        names: Returns the names ``(n,)`` of rows ``(n,)``, for `columns`; None for sentences without names.
        trim: Pad each batch only to its longest sentence.
    """

    in_memory = True

    def __init__(
        self,
        tokens: Tensor,
        lengths: Tensor,
        *,
        width: int,
        extras: Mapping[str, Tensor],
        index: Tensor,
        names: Names | None = None,
        trim: bool = False,
    ) -> None:
        self._tokens, self.lengths, self._width, self._trim = tokens, lengths, width, trim
        self._starts = lengths.cumsum(0) - lengths
        self._extras, self._index, self._names = dict(extras), index, names

    def __len__(self) -> int:
        return len(self.lengths)

    def batch(self, index: Tensor) -> Batch:
        """Return the sentences `index` ``(B,)`` as ``x (B, T)``; the mask is False on padding."""
        lengths = self.lengths[index]
        positions = torch.arange(self._longest(index) if self._trim else self._width)
        mask = positions < lengths.unsqueeze(1)
        offsets = (self._starts[index].unsqueeze(1) + positions).clamp(max=len(self._tokens) - 1)
        x = torch.where(mask, self._tokens[offsets], PAD).long()
        extras = {name: value[index] for name, value in self._extras.items()}
        return Batch(x, mask=mask, index=self._index[index], extras=extras)

    def _longest(self, index: Tensor) -> int:
        """Return the length to which the sentences `index` ``(B,)`` are padded with `trim`."""
        return int(self.lengths[index].max())

    def columns(self, index: Tensor) -> Mapping[str, NDArray[Any]]:
        """Return the column ``name`` of the sentences `index` ``(n,)``, if they have names."""
        return {} if self._names is None else {"name": self._names(index.numpy())}


class BucketSource(TextSource):
    """A `TextSource` for training, in batches of sentences of similar length.

    Args:
        tokens: As for `TextSource`.
        lengths: As for `TextSource`.
        width: As for `TextSource`.
        extras: As for `TextSource`.
        index: As for `TextSource`.
        names: As for `TextSource`.
        max_tokens: A batch has as many sentences as fit into this number of tokens, padding included. None takes the
            run's batch size.
    """

    def __init__(
        self,
        tokens: Tensor,
        lengths: Tensor,
        *,
        width: int,
        extras: Mapping[str, Tensor],
        index: Tensor,
        names: Names | None = None,
        max_tokens: int | None,
    ) -> None:
        super().__init__(tokens, lengths, width=width, extras=extras, index=index, names=names, trim=True)
        self.max_tokens = max_tokens
        # The longest sentence in the batch of each sentence: all devices pad their rows of a batch alike.
        self._widths = lengths.clone()

    def batch_indices(self, batch_size: int) -> list[Tensor]:
        """Return the rows of each batch of an epoch, drawn from torch's global generator.

        Sentences are sorted by length (those of equal length in random order) and cut into batches, and the batches are
        shuffled. Where the batches are cut depends on the lengths only, so each epoch has the same number of batches.

        Args:
            batch_size: The number of sentences in a batch, without `max_tokens`.
        """
        permutation = torch.randperm(len(self))
        rows = permutation[self.lengths[permutation].argsort(stable=True)]
        batches = rows.split(self._batch_sizes(self.lengths[rows], batch_size))
        # A batch of one row is dropped: batch statistics need at least two.
        large_enough = [batch for batch in batches if len(batch) >= 2]
        for batch in large_enough:
            self._widths[batch] = self.lengths[batch].max()
        return [large_enough[number] for number in torch.randperm(len(large_enough)).tolist()]

    def _longest(self, index: Tensor) -> int:
        return int(self._widths[index].max())

    def _batch_sizes(self, lengths: Tensor, batch_size: int) -> list[int]:
        """Return the number of rows in each batch, for sentences of `lengths` ``(N,)`` in ascending order."""
        if self.max_tokens is None:
            num_full, rest = divmod(len(lengths), batch_size)
            return [batch_size] * num_full + ([rest] if rest else [])
        # Batches grow by two rows. The first batch also takes the remainder; the last row of each step is its longest.
        step = 2
        sizes, size = [], len(lengths) % step
        for longest in lengths[size + step - 1 :: step].tolist():
            if size >= 2 and (size + step) * longest > self.max_tokens:
                sizes.append(size)
                size = 0
            size += step
        return [*sizes, size]
