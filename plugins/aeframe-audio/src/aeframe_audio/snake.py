"""The activation `snake`, for periodic signals."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

from aeframe.errors import AeframeError
from aeframe.parts.activations import ActivationTraits


class Snake(nn.Module):
    """x + sin^2(a x) / a (Ziyin, Hartwig & Ueda 2020, arXiv 2006.08195); all elements share the learned a > 0.

    Args:
        frequency: Initial value of a.
    """

    traits: ClassVar[ActivationTraits] = ActivationTraits(learnable=True)

    def __init__(self, *, frequency: float = 1.0) -> None:
        super().__init__()
        if frequency <= 0:
            raise AeframeError(f"activation snake requires frequency > 0, found {frequency:g}")
        self.log_frequency = nn.Parameter(torch.tensor([frequency]).log())

    def forward(self, x: Tensor) -> Tensor:
        """Return the activation of each element."""
        frequency = self.log_frequency.exp()
        return x + (frequency * x).sin().square() / frequency
