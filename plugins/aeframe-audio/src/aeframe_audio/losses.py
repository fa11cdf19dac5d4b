"""The loss `snr`: negative signal-to-noise ratio of waves.

Shapes: B segments of sound (the samples of the batch), N numbers in each; with K importance samples ``(B,)`` is
``(K, B)``.
"""

from __future__ import annotations

import torch
from torch import Tensor

from aeframe.errors import AeframeError
from aeframe.parts.losses.base import BoundedMean
from aeframe.tensors import broadcast_mask
from aeframe.types import Batch, Domain, Shape
from aeframe_audio.spectra import power_of_decibels


class SignalToNoise(BoundedMean):
    """10 log10(|x - x_hat|^2 / |x|^2) in dB, with sums over a whole segment.

    It hardly depends on the loudness of a segment that is well above `floor`. As in every `BoundedMean`, x_hat is an
    activation of the decoder's output.

    Args:
        shape: Shape of one segment, ``(C, T)``.
        domain: The set of values that x can take.
        floor: A power in dB of full scale. For each unmasked element it is added to the energy of the noise and to that
            of the signal, so that the ratio is finite in silence.
        activation: Bounds the reconstruction; null takes tanh for data in [-1, 1], and the identity for others.
    """

    # Data with unbounded values ("real"), or with values in [-1, 1] ("signed").
    domains = frozenset({"real", "signed"})
    unit = "dB"

    def __init__(self, shape: Shape, domain: Domain, *, floor: float = -60.0, activation: str | None = None) -> None:
        super().__init__(len(shape), domain, activation)
        if floor >= 0:
            raise AeframeError(f"loss snr requires a floor below 0 dB, found {floor:g}")
        self.floor_power = power_of_decibels(floor)

    def forward(self, output: Tensor, batch: Batch) -> Tensor:
        # Both are flattened to (B, N) and 0 where masked, so that masked elements add nothing to the sums.
        x, x_hat = self.flat_x_and_reconstruction(output, batch)
        mask = (
            torch.ones_like(batch.x)
            if batch.mask is None
            else broadcast_mask(batch.mask, batch.x.ndim).expand_as(batch.x)
        )
        floor_energy = self.floor_power * mask.flatten(1).sum(1)
        noise_energy = (x - x_hat).square().sum(-1) + floor_energy
        return 10 * (noise_energy.log10() - (x.square().sum(-1) + floor_energy).log10())
