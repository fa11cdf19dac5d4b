"""A loss of waves."""

from __future__ import annotations

import torch
from torch import Tensor

from aeframe.errors import AeframeError
from aeframe.parts.losses.base import BoundedMean
from aeframe.tensors import broadcast_mask
from aeframe.types import Batch, Shape
from aeframe_audio.spectra import floor_of


class SignalToNoise(BoundedMean):
    """Minus the signal-to-noise ratio in dB, 10 log10(|x - x_hat|^2 / |x|^2) of a whole sample: a quiet sound counts as
    much as a loud one.

    Args:
        shape: Of a sample.
        floor: In dB of full scale: noise of this power is added to both wherever a sample counts, so that the ratio
            stays finite in silence.
        activation: Bounds the reconstruction; null is the identity, tanh suits data in [-1, 1].
    """

    domains = frozenset({"real", "signed"})
    unit = "dB"

    def __init__(self, shape: Shape, *, floor: float = -60.0, activation: str | None = None) -> None:
        super().__init__(len(shape), activation)
        if floor >= 0:
            raise AeframeError(f"loss snr needs a floor below 0 dB, found {floor:g}")
        self.floor = floor_of(floor)

    def forward(self, output: Tensor, batch: Batch) -> Tensor:
        x, x_hat = self.flat_x_and_reconstruction(output, batch)
        mask = (
            torch.ones_like(batch.x)
            if batch.mask is None
            else broadcast_mask(batch.mask, batch.x.ndim).expand_as(batch.x)
        )
        least = self.floor * mask.flatten(1).sum(1)
        noise = (x - x_hat).square().sum(-1) + least
        return 10 * (noise.log10() - (x.square().sum(-1) + least).log10())
