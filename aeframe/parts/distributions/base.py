"""`ReparameterizedDistribution`, the base class of the distributions in this package."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor
from torch.distributions import Distribution


class ReparameterizedDistribution(Distribution):
    """A distribution of vectors ``(*batch, d)`` with reparameterised samples, implemented by `draw`."""

    arg_constraints: ClassVar[dict[str, object]] = {}  # type: ignore[assignment]
    has_rsample = True

    def __init__(self, batch: torch.Size, d: int) -> None:
        super().__init__(batch, torch.Size([d]), validate_args=False)

    def rsample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        return self.draw(torch.Size(sample_shape))

    def draw(self, shape: torch.Size) -> Tensor:
        """Return samples ``(*shape, *batch, d)`` with gradients to the parameters."""
        raise NotImplementedError
