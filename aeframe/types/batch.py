"""`Batch`: samples on their way from the data loader to the loss."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from aeframe.tensors import broadcast_mask


@dataclass(slots=True)
class Batch:
    """Some samples, as they flow from the loader to the loss."""

    x: Tensor
    """``(B, *shape)``: what the encoder sees and the loss compares."""
    mask: Tensor | None = None
    """``(B, *leading dims of shape)``, True where x counts: not padding, not missing."""
    condition: Tensor | None = None
    """``(B, C)``: covariates the decoder is given."""
    index: Tensor | None = None
    """``(B,)``: the row in the source, so that an embedding can be joined back."""
    extras: dict[str, Tensor] = field(default_factory=dict)
    """What one modality's loss needs, such as ``{"size_factor": (B,)}``; ``label`` colours the latent scatter."""

    def __len__(self) -> int:
        return self.x.shape[0]

    def map(self, function: Callable[[Tensor], Tensor]) -> Batch:
        """Return a batch with `function` applied to every tensor."""
        return Batch(
            function(self.x),
            None if self.mask is None else function(self.mask),
            None if self.condition is None else function(self.condition),
            None if self.index is None else function(self.index),
            {name: function(value) for name, value in self.extras.items()},
        )

    def to(self, device: torch.device, non_blocking: bool = False) -> Batch:
        """Return the batch on `device`; itself when it is there."""
        return self if self.x.device == device else self.map(lambda t: t.to(device, non_blocking=non_blocking))

    def pin_memory(self) -> Batch:
        """Return the batch in pinned memory (a loader with ``pin_memory`` calls this)."""
        return self.map(lambda t: t.pin_memory())

    def rows(self, index: Tensor | slice) -> Batch:
        """Return some of the samples."""
        return self.map(lambda t: t[index])

    def masked_x(self) -> Tensor:
        """Return x with 0 wherever the mask hides it, which is what a network shall read there: it may be NaN."""
        return self.x if self.mask is None else self.x.masked_fill(~broadcast_mask(self.mask, self.x.ndim), 0)

    def with_x(self, x: Tensor) -> Batch:
        """Return the same batch with another x."""
        return replace(self, x=x)

    def paired(self, partner: Batch) -> Batch:
        """Return the same batch with a second sample beside each, kept among the `extras`."""
        like = {"mask": partner.mask, "condition": partner.condition, **partner.extras}
        known = {f"partner_{name}": value for name, value in like.items() if value is not None}
        return replace(self, extras={**self.extras, "partner": partner.x, **known})

    def partner(self) -> Batch | None:
        """Return the second samples, or None where they come one by one."""
        if "partner" not in self.extras:
            return None
        prefix = "partner_"
        like = {name.removeprefix(prefix): t for name, t in self.extras.items() if name.startswith(prefix)}
        x = self.extras["partner"].to(self.x.dtype)
        return Batch(x, like.pop("mask", None), like.pop("condition", self.condition), extras=like)
