"""A moving average of the weights, used for evaluation and the saved model."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from aeframe.errors import AeframeError


class WeightAverage:
    """An exponential moving average of some parameters (Polyak & Juditsky 1992; decay as in Tarvainen & Valpola 2017,
    arXiv 1703.01780).

    Early on the decay is ``(1 + t) / (10 + t)`` where that is smaller, so that the start is soon forgotten.
    """

    def __init__(self, parameters: Iterable[tuple[str, nn.Parameter]], decay: float) -> None:
        if not 0 < decay < 1:
            raise AeframeError(f"ema is a decay in (0, 1), found {decay}")
        self.decay = decay
        self._parameters = {name: parameter for name, parameter in parameters if parameter.requires_grad}
        self._average = {name: parameter.detach().clone() for name, parameter in self._parameters.items()}
        self._swapped = False

    def update(self, steps: int) -> None:
        """Move the average towards the weights after step number `steps`."""
        decay = min(self.decay, (1 + steps) / (10 + steps))
        with torch.no_grad():
            torch._foreach_lerp_(list(self._average.values()), list(self._parameters.values()), 1.0 - decay)

    def swap(self) -> None:
        """Exchange the weights with their average; a second call puts them back."""
        with torch.no_grad():
            for name, parameter in self._parameters.items():
                held = parameter.detach().clone()
                parameter.copy_(self._average[name])
                self._average[name].copy_(held)
        self._swapped = not self._swapped

    @property
    def swapped(self) -> bool:
        """Whether the model holds the average at this moment."""
        return self._swapped

    def state_dict(self) -> dict[str, Tensor]:
        """Return the average by parameter name."""
        return dict(self._average)

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Set the average."""
        for name, value in state.items():
            self._average[name].copy_(value)
