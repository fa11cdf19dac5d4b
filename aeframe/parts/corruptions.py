"""Corruptions of the encoder's input in training; the loss compares the reconstruction with the clean x."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

from aeframe.errors import AeframeError
from aeframe.tensors import broadcast_mask
from aeframe.types import Batch, Domain


class Corruption(nn.Module):
    """Maps a clean batch to the encoder's input. It is called in training only, unless `in_evaluation`.

    Subclasses return a new `Batch` and draw from torch's default generator, so that runs are reproducible. Those that
    hide a part of x add ``extras["hidden"] (B, *shape)``, which is True where x is hidden.
    """

    in_evaluation: bool = False
    """Whether validation and test samples are corrupted too, as for models that are trained to fill in hidden parts."""

    domains: ClassVar[frozenset[str]] = frozenset({"real", "unit", "signed", "binary", "count", "simplex"})
    """The kinds of `Domain`, the set of values that x can take, that it can be used for."""

    by_position: ClassVar[bool] = False
    """Whether it chooses positions along the axes of x, which unordered elements (`DataSpec.unordered`) do not have."""

    hides: ClassVar[bool] = False
    """Whether it hides elements of x, which encoders then distinguish from values of 0 by the mask."""

    compares_samples: ClassVar[bool] = False
    """Whether the input of a sample depends on the other samples of its batch."""

    def forward(self, batch: Batch) -> Batch:
        """Return the batch with corrupted x ``(B, *shape)``."""
        return batch.with_x(self.corrupt(batch.x))

    def corrupt(self, x: Tensor) -> Tensor:
        """Return x ``(B, *shape)`` with noise; corruptions that change x alone override this instead of `forward`."""
        raise AeframeError(f"corruption {type(self).__name__} defines neither forward nor corrupt")


class NoCorruption(Corruption):
    """Leave x clean."""

    domains = Corruption.domains | {"category", "mixed"}

    def forward(self, batch: Batch) -> Batch:
        return batch


class GaussianNoise(Corruption):
    """Add normal noise of standard deviation `std`, in the units of x (Vincent et al. 2008, ICML)."""

    def __init__(self, *, std: float = 0.25) -> None:
        super().__init__()
        if std < 0:
            raise AeframeError(f"corruption gaussian needs std >= 0, found {std}")
        self.std = std

    def corrupt(self, x: Tensor) -> Tensor:
        return x + self.std * torch.randn_like(x)


class SaltAndPepper(Corruption):
    """Set a random fraction `amount` of the values to the minimum or the maximum, with equal probability.

    Minimum and maximum are those of the domain; where it is unbounded, those of the unmasked values of the batch.
    """

    def __init__(self, domain: Domain, *, amount: float = 0.25) -> None:
        super().__init__()
        self.domain, self.amount = domain, _fraction("salt_pepper", "amount", amount)

    def forward(self, batch: Batch) -> Batch:
        x, (low, high) = batch.x, self.domain.bounds
        # Masked values may be NaN, and must not become the minimum or the maximum.
        masked = None if batch.mask is None else broadcast_mask(~batch.mask, x.ndim)
        lowest, highest = x.new_full((), low), x.new_full((), high)
        if low == -torch.inf:
            lowest = (x if masked is None else x.masked_fill(masked, torch.inf)).amin()
        if high == torch.inf:
            highest = (x if masked is None else x.masked_fill(masked, -torch.inf)).amax()
        draw = torch.rand_like(x)
        x = torch.where(draw < self.amount / 2, lowest, x)
        return batch.with_x(torch.where(draw > 1 - self.amount / 2, highest, x))


class Masking(Corruption):
    """Set a random fraction `amount` of the values to `value` (Vincent et al. 2008, ICML).

    With `whole_channels`, all channels of a position are set together.
    """

    by_position = True

    def __init__(self, *, amount: float = 0.5, value: float = 0.0, whole_channels: bool = True) -> None:
        super().__init__()
        self.amount, self.value, self.whole_channels = _fraction("masking", "amount", amount), value, whole_channels

    def corrupt(self, x: Tensor) -> Tensor:
        # One random number for each position, or for each value.
        drawn_for = x[:, :1] if self.whole_channels and x.ndim > 2 else x
        return x.masked_fill(torch.rand_like(drawn_for) < self.amount, self.value)


class Dropout(Corruption):
    """Set a random fraction `amount` of the values to 0 and scale the others by 1 / (1 - amount), as `nn.Dropout`."""

    domains = frozenset({"real", "unit", "signed"})

    def __init__(self, *, amount: float = 0.2) -> None:
        super().__init__()
        if _fraction("dropout", "amount", amount) == 1:
            raise AeframeError("corruption dropout needs amount below 1, found 1")
        self.amount = amount

    def corrupt(self, x: Tensor) -> Tensor:
        return nn.functional.dropout(x, self.amount, training=True)


def _fraction(who: str, option: str, value: float) -> float:
    """Return `value`, or raise an `AeframeError` outside [0, 1] that names the corruption `who` and its option."""
    if not 0 <= value <= 1:
        raise AeframeError(f"corruption {who} needs {option} in [0, 1], found {value}")
    return value


__all__ = ["Corruption", "Dropout", "GaussianNoise", "Masking", "NoCorruption", "SaltAndPepper"]
