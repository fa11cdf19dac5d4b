"""`Batch`: samples with their masks, conditions and labels, from the data loader to the loss."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from aeframe.devices import LocalRows
from aeframe.tensors import broadcast_mask

WEIGHT = "weight"
"""The entry of `Batch.extras` ``(B,)`` with the weight of each sample's loss in training, 1 on average."""
FACTORS = "factors"
"""The entry of `Batch.extras` ``(B, F)`` int64 with the value of each known factor of variation, such as shape or
position: the number of a category from 0, -1 where it is unknown."""
TRUE_CODE = "true_code"
"""The entry of `Batch.extras` ``(B, K)`` with the true code that generated each sample, of simulated data."""


@dataclass(slots=True)
class Batch:
    """B samples and what belongs to each of them. Methods return new batches and leave this one unchanged.

    It is a dataclass: ``dataclasses.replace(batch, mask=mask)`` returns a batch with other fields. Samples may have
    fewer elements than `DataSpec.shape`, such as short texts, where the networks accept it.
    """

    x: Tensor
    """``(B, *shape)``: the input of the encoder and the target of the loss."""
    mask: Tensor | None = None
    """``(B, *leading dims of shape)``, the same for all other dimensions: False where x is padding or missing.

    There x may be anything, also NaN. Parts read `masked_x`, which has 0. Modalities receive `nan_masked_x`.
    """
    condition: Tensor | None = None
    """``(B, C)``: covariates for the decoder, and usually for the encoder; for example one-hot classes."""
    index: Tensor | None = None
    """``(B,)``: the row number of each sample in its dataset, so that embeddings can be matched with samples."""
    extras: dict[str, Tensor] = field(default_factory=dict)
    """Further tensors ``(B, ...)`` by name, such as ``label`` for plots and ``library`` (the total count of a cell);
    see also `FACTORS`, `TRUE_CODE` and `WEIGHT`."""
    local_rows: LocalRows | None = None
    """Which rows of the batch of all devices these are; None on one device, and where it is unknown."""

    def __len__(self) -> int:
        return self.x.shape[0]

    def map(self, function: Callable[[Tensor], Tensor]) -> Batch:
        """Return a batch with `function` applied to every tensor."""
        return Batch(
            function(self.x),
            mask=None if self.mask is None else function(self.mask),
            condition=None if self.condition is None else function(self.condition),
            index=None if self.index is None else function(self.index),
            extras={name: function(value) for name, value in self.extras.items()},
            local_rows=self.local_rows,
        )

    def to(self, device: torch.device, non_blocking: bool = False) -> Batch:
        """Return the batch on `device`; the same object if it is there already."""
        return self if self.x.device == device else self.map(lambda t: t.to(device, non_blocking=non_blocking))

    def pin_memory(self) -> Batch:
        """Return the batch in pinned memory; a `DataLoader` with ``pin_memory=True`` calls this."""
        return self.map(lambda t: t.pin_memory())

    def rows(self, index: Tensor | slice) -> Batch:
        """Return the samples at `index`."""
        return replace(self.map(lambda t: t[index]), local_rows=None)

    def masked_x(self) -> Tensor:
        """Return x with 0 where the mask is False. Networks read this, since masked values may be NaN."""
        return self.x if self.mask is None else self.x.masked_fill(~broadcast_mask(self.mask, self.x.ndim), 0)

    def nan_masked_x(self) -> Tensor:
        """Return x with NaN where the mask is False; integers as they are.

        Samples outside of networks have NaN there: the panels of `Modality.render`, and written and restored samples.
        """
        if self.mask is None or not self.x.is_floating_point():
            return self.x
        return self.x.masked_fill(~broadcast_mask(self.mask, self.x.ndim), torch.nan)

    def with_x(self, x: Tensor) -> Batch:
        """Return the batch with another x."""
        return replace(self, x=x)

    def paired(self, partner: Batch) -> Batch:
        """Return the batch with a second sample for each of its samples, for objectives that compare pairs.

        Sample i is paired with row i of `partner`. The tensors of `partner` are stored in `extras`: x as ``partner``,
        the others as ``partner_mask``, ``partner_condition`` and so on.
        """
        optional = {"mask": partner.mask, "condition": partner.condition, **partner.extras}
        tensors = {f"partner_{name}": value for name, value in optional.items() if value is not None}
        return replace(self, extras={**self.extras, "partner": partner.x, **tensors})

    def partner(self) -> Batch | None:
        """Return the second sample of each pair, or None for a batch without pairs.

        Where the partner has no condition of its own, it has the condition of the first sample.
        """
        if "partner" not in self.extras:
            return None
        prefix = "partner_"
        tensors = {name.removeprefix(prefix): t for name, t in self.extras.items() if name.startswith(prefix)}
        x = self.extras["partner"].to(self.x.dtype)
        mask, condition = tensors.pop("mask", None), tensors.pop("condition", self.condition)
        return Batch(x, mask=mask, condition=condition, extras=tensors)
