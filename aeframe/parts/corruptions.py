"""Corruptions: what is done to x before the encoder sees it in training. The loss always compares with the clean x."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

from aeframe.errors import AeframeError
from aeframe.tensors import broadcast_mask
from aeframe.types import Batch, Domain


class Corruption(nn.Module):
    """Return the batch as the encoder shall see it. Called in training only, unless `in_evaluation`.

    `domains` are the kinds of data it makes sense for. An implementation gives a new `Batch` and leaves its argument
    alone; whatever it draws comes from torch's generator, so that a run repeats itself. Where only a part of x was
    kept, ``extras["hidden"]``, of the shape of x, says what was taken away.
    """

    in_evaluation: bool = False
    """Whether held-out samples are corrupted too: where filling in is all that a model learns."""

    domains: ClassVar[frozenset[str]] = frozenset({"real", "unit", "signed", "binary", "count", "simplex"})

    def forward(self, batch: Batch) -> Batch:
        """Corrupt a batch: x stays ``(B, *shape)``."""
        return batch.with_x(self.corrupt(batch.x))

    def corrupt(self, x: Tensor) -> Tensor:
        """Corrupt ``(B, *shape)``; the simple corruptions need no more than this."""
        raise AeframeError(f"corruption {type(self).__name__} defines neither forward nor corrupt")


class NoCorruption(Corruption):
    """Show the encoder the clean x."""

    domains = Corruption.domains | {"category"}

    def forward(self, batch: Batch) -> Batch:
        return batch


class GaussianNoise(Corruption):
    """Add noise of standard deviation `std`, in the data's own unit (Vincent et al. 2008, ICML)."""

    def __init__(self, *, std: float = 0.25) -> None:
        super().__init__()
        if std < 0:
            raise AeframeError(f"corruption gaussian needs std >= 0, found {std}")
        self.std = std

    def corrupt(self, x: Tensor) -> Tensor:
        return x + self.std * torch.randn_like(x)


class SaltAndPepper(Corruption):
    """Set a fraction `amount` of the values to the lowest or the highest, each with half the chance.

    The extremes are those of the domain; where it is unbounded, those of each batch, of the values its mask counts.
    """

    def __init__(self, domain: Domain, *, amount: float = 0.25) -> None:
        super().__init__()
        self.domain, self.amount = domain, _fraction("salt_pepper", "amount", amount)

    def forward(self, batch: Batch) -> Batch:
        x, (low, high) = batch.x, self.domain.bounds
        # What the mask hides is no extreme: it may be NaN, and one NaN would become the value of every grain of salt.
        hidden = None if batch.mask is None else broadcast_mask(~batch.mask, x.ndim)
        lowest, highest = x.new_full((), low), x.new_full((), high)
        if low == -torch.inf:
            lowest = (x if hidden is None else x.masked_fill(hidden, torch.inf)).amin()
        if high == torch.inf:
            highest = (x if hidden is None else x.masked_fill(hidden, -torch.inf)).amax()
        draw = torch.rand_like(x)
        x = torch.where(draw < self.amount / 2, lowest, x)
        return batch.with_x(torch.where(draw > 1 - self.amount / 2, highest, x))


class Masking(Corruption):
    """Set a fraction `amount` of the values to `value` (Vincent et al. 2008); `whole_channels` hides all the channels
    of a position together.
    """

    def __init__(self, *, amount: float = 0.5, value: float = 0.0, whole_channels: bool = True) -> None:
        super().__init__()
        self.amount, self.value, self.whole_channels = _fraction("masking", "amount", amount), value, whole_channels

    def corrupt(self, x: Tensor) -> Tensor:
        like = x[:, :1] if self.whole_channels and x.ndim > 2 else x
        return x.masked_fill(torch.rand_like(like) < self.amount, self.value)


class Dropout(Corruption):
    """Set a fraction `amount` of the values to 0 and scale the rest by 1 / (1 - amount), so the mean stays."""

    domains = frozenset({"real", "unit", "signed"})

    def __init__(self, *, amount: float = 0.2) -> None:
        super().__init__()
        if _fraction("dropout", "amount", amount) == 1:
            raise AeframeError("corruption dropout needs amount below 1, found 1")
        self.amount = amount

    def corrupt(self, x: Tensor) -> Tensor:
        return nn.functional.dropout(x, self.amount, training=True)


def _fraction(who: str, option: str, value: float) -> float:
    if not 0 <= value <= 1:
        raise AeframeError(f"corruption {who} needs {option} in [0, 1], found {value}")
    return value


__all__ = ["Corruption", "Dropout", "GaussianNoise", "Masking", "NoCorruption", "SaltAndPepper"]
