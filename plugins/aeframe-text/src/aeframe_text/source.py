"""From ragged tokens to batches, of like lengths where they are asked for."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from aeframe.types import Batch
from aeframe_text.specials import PAD


class TextSource:
    """Sentences as rows of tokens, kept end to end and padded as a batch is asked for.

    Args:
        tokens: ``(total,)`` the tokens of all sentences, one after another, each with its end.
        lengths: ``(N,)`` how many each has.
        width: T, to which batches are padded.
        extras: ``(N,)`` each.
        index: ``(N,)`` what `Batch.index` says.
        trim: Pad to the longest of a batch instead.
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
        trim: bool = False,
    ) -> None:
        self._tokens, self.lengths, self._width, self._trim = tokens, lengths, width, trim
        self._starts = lengths.cumsum(0) - lengths
        self._extras, self._index = dict(extras), index

    def __len__(self) -> int:
        return len(self.lengths)

    def batch(self, index: Tensor) -> Batch:
        """Return the sentences `index` ``(B,)`` as ``x (B, T)``, masked where they have ended."""
        lengths = self.lengths[index]
        places = torch.arange(int(lengths.max()) if self._trim else self._width)
        mask = places < lengths.unsqueeze(1)
        at = (self._starts[index].unsqueeze(1) + places).clamp(max=len(self._tokens) - 1)
        x = torch.where(mask, self._tokens[at], PAD).long()
        return Batch(
            x, mask, index=self._index[index], extras={name: value[index] for name, value in self._extras.items()}
        )


class BucketSource(TextSource):
    """The same for training, in batches of sentences that are alike in length.

    Args:
        tokens: As above, and so is what is not named here.
        lengths: As above.
        width: As above.
        extras: As above.
        index: As above.
        budget: A batch has as many sentences as fit into so many tokens, padding included; null takes the run's
            number of sentences.
    """

    def __init__(
        self,
        tokens: Tensor,
        lengths: Tensor,
        *,
        width: int,
        extras: Mapping[str, Tensor],
        index: Tensor,
        budget: int | None,
    ) -> None:
        super().__init__(tokens, lengths, width=width, extras=extras, index=index, trim=True)
        self.budget = budget

    def batch_indices(self, batch_size: int, world: int) -> list[Tensor]:
        """Return the rows of each batch of an epoch, drawn from torch's generator.

        Sentences are sorted by length, those of one length in a new order each time, cut into batches at places that
        depend on the lengths only, and the batches shuffled: there are always as many.
        """
        drawn = torch.randperm(len(self))
        rows = drawn[self.lengths[drawn].argsort(stable=True)]
        cut = rows.split(self._sizes(self.lengths[rows], batch_size, world))
        # Rows that no device could take an equal share of are left out, others each time.
        whole = [batch[: len(batch) - len(batch) % world] for batch in cut]
        kept = [batch for batch in whole if len(batch) >= 2 * world]
        return [kept[number] for number in torch.randperm(len(kept)).tolist()]

    def _sizes(self, lengths: Tensor, batch_size: int, world: int) -> list[int]:
        """Return how many rows each batch has, of lengths ``(N,)`` in rising order."""
        if self.budget is None:
            whole, rest = divmod(len(lengths), batch_size)
            return [batch_size] * whole + ([rest] if rest else [])
        # As many rows for each device at a time, and pairs for one, whose batches are then those of two. What is left
        # over comes first; the last of each step is its longest.
        step = math.lcm(2, world)
        sizes, size = [], len(lengths) % step
        for longest in lengths[size + step - 1 :: step].tolist():
            if size >= 2 * world and (size + step) * longest > self.budget:
                sizes.append(size)
                size = 0
            size += step
        return [*sizes, size]
