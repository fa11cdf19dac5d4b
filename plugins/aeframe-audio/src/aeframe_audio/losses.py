"""The loss `snr`: negative signal-to-noise ratio of waves."""

from __future__ import annotations

import torch
from torch import Tensor

from aeframe.errors import AeframeError
from aeframe.parts.losses.base import BoundedMean
from aeframe.tensors import broadcast_mask
from aeframe.types import Batch, Shape
from aeframe_audio.spectra import power_of_decibels


class SignalToNoise(BoundedMean):
    """10 log10(|x - x_hat|^2 / |x|^2) of a whole sample, in dB. It does not depend on the loudness of the sample.

    Args:
        shape: Of a sample.
        floor: In dB of full scale: this power is added to the noise and to the signal at every sample of the mask, so
            that the ratio is finite in silence.
        activation: Bounds the reconstruction, such as tanh for data in [-1, 1]; null is the identity.
    """

    domains = frozenset({"real", "signed"})
    unit = "dB"

    def __init__(self, shape: Shape, *, floor: float = -60.0, activation: str | None = None) -> None:
        super().__init__(len(shape), activation)
        if floor >= 0:
            raise AeframeError(f"loss snr requires a floor below 0 dB, found {floor:g}")
        self.floor = power_of_decibels(floor)

    def forward(self, output: Tensor, batch: Batch) -> Tensor:
        x, x_hat = self.flat_x_and_reconstruction(output, batch)
        mask = (
            torch.ones_like(batch.x)
            if batch.mask is None
            else broadcast_mask(batch.mask, batch.x.ndim).expand_as(batch.x)
        )
        floor = self.floor * mask.flatten(1).sum(1)
        noise = (x - x_hat).square().sum(-1) + floor
        return 10 * (noise.log10() - (x.square().sum(-1) + floor).log10())
