"""The encoder and the decoder `spectrogram`: convolutions over frames of short-time Fourier spectra.

Shapes: B segments of sound (the samples of the batch), C channels, T time samples, F frequencies, W samples of a
window, `outputs` numbers that the loss needs for each element of x, such as a mean and a variance.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from aeframe.errors import AeframeError
from aeframe.parts.activations import MakeActivation
from aeframe.parts.networks.base import Decoder, Encoder
from aeframe.parts.networks.blocks import InputChannels, LatentProjection, check_sizes, output_channels
from aeframe.tensors import autocast_disabled
from aeframe.types import Batch, Domain, Shape
from aeframe_audio.causal import TimeConv, TimeResidual

_MAX_LOG_AMPLITUDE = 4.0
"""Bounds the amplitudes of the decoder's spectra by e^4 = 55, against excessive values of the exponential. The spectrum
of a sine of full scale has the amplitude W / 4 at its frequency, 64 in a window of 256 samples: the bound can reduce
loud tones.
"""
_EPSILON = 1e-4
"""Added to powers |S|^2 in the encoder, so that the gradient is bounded in silence."""


class SpectrogramEncoder(Encoder):
    """Convolutions over complex spectra with amplitudes to the power 0.3: ``(B, C, T)`` -> ``(B, channels, frames)``.

    There is one frame per `hop` samples, rounded up. All convolutions work at the rate of frames, which requires much
    less computation than the encoder `wave_conv`, whose first layers work at the rate of samples.

    Args:
        shape: ``(C, T)``.
        domain: Domain of the values.
        window: Samples of the Hann window.
        hop: Samples from one frame to the next.
        channels: Channels of all convolutions.
        blocks: Number of residual units.
        kernel: Width of the convolutions in the residual units, in frames, odd.
        activation: In the residual units and at the end; null uses that of the model.
    """

    def __init__(
        self,
        shape: Shape,
        domain: Domain,
        *,
        window: int = 256,
        hop: int = 64,
        channels: int = 128,
        blocks: int = 3,
        kernel: int = 3,
        activation: MakeActivation | None = None,
    ) -> None:
        super().__init__()
        who = "encoder spectrogram"
        make_activation = _check_options(who, window, hop, channels, kernel, blocks, activation)
        # A module that converts a batch to waves (B, C, T); here `positions` is [T].
        self.channels = InputChannels(who, shape, domain)
        channels_in, *positions = self.channels.shape
        self.stft = ShortTimeFourier(who, positions, window, hop)
        self.out_shape = (channels, self.stft.num_frames)
        # Real and imaginary parts of all frequencies are channels.
        layers: list[nn.Module] = [TimeConv(channels_in * 2 * self.stft.num_bins, channels, 1, causal=False)]
        layers += [TimeResidual(channels, kernel, 1, make_activation, causal=False) for _ in range(blocks)]
        self.layers = nn.Sequential(*layers, make_activation())
        self._mirror = {
            "name": "spectrogram",
            "window": window,
            "hop": hop,
            "channels": channels,
            "blocks": blocks,
            "kernel": kernel,
            "activation": activation,
        }

    def forward(self, batch: Batch) -> Tensor:
        weight = next(self.parameters())
        with autocast_disabled(weight.device):
            x: Tensor = self.channels(batch).to(torch.promote_types(weight.dtype, torch.float32))
            spectrum = self.stft(x)
            real_and_imaginary = torch.stack([spectrum.real, spectrum.imag], 2)
            power = real_and_imaginary.square().sum(2, keepdim=True)
            # |S| times (|S|^2)^-0.35 is |S|^0.3.
            compressed = real_and_imaginary * (power + _EPSILON).pow(-0.35)
        return self.layers(compressed.flatten(1, 3).to(weight.dtype))

    def mirrored_decoder_config(self) -> dict[str, Any]:
        return self._mirror


class SpectrogramDecoder(Decoder):
    """Convolutions over frames to amplitudes and phases, then an inverse short-time Fourier transform (Siuzdak 2023,
    arXiv 2306.00814): ``(B, *z_shape)`` -> ``(B, outputs, C, T)``.

    Args:
        z_shape: ``(dim,)``, or ``(dim, frames)``.
        out_shape: ``(outputs, C, T)``.
        window: Samples of the Hann window.
        hop: Samples from one frame to the next.
        channels: Channels of all convolutions.
        blocks: Number of residual units.
        kernel: Width of the convolutions in the residual units, in frames, odd.
        activation: In the residual units and after them; null uses that of the model.
    """

    def __init__(
        self,
        z_shape: Shape,
        out_shape: Shape,
        *,
        window: int = 256,
        hop: int = 64,
        channels: int = 128,
        blocks: int = 3,
        kernel: int = 3,
        activation: MakeActivation | None = None,
    ) -> None:
        super().__init__()
        who = "decoder spectrogram"
        make_activation = _check_options(who, window, hop, channels, kernel, blocks, activation)
        # `num_waves` is outputs * C, and `positions` is (T,).
        num_waves, positions = output_channels(who, out_shape)
        self.stft, self.out_shape = ShortTimeFourier(who, positions, window, hop), out_shape
        layers: list[nn.Module] = [
            LatentProjection(who, z_shape, (channels, self.stft.num_frames), make_activation, None)
        ]
        layers += [TimeResidual(channels, kernel, 1, make_activation, causal=False) for _ in range(blocks)]
        layers += [make_activation(), TimeConv(channels, num_waves * 2 * self.stft.num_bins, 1, causal=False)]
        self.layers = nn.Sequential(*layers)

    def forward(self, z: Tensor, batch: Batch | None = None) -> Tensor:
        values: Tensor = self.layers(z)
        with autocast_disabled(values.device):
            precise = values.to(torch.promote_types(values.dtype, torch.float32))
            log_amplitude, phase = precise.unflatten(1, (-1, 2, self.stft.num_bins)).unbind(2)
            wave = self.stft.inverse(torch.polar(log_amplitude.clamp(max=_MAX_LOG_AMPLITUDE).exp(), phase))
        return wave.reshape(z.shape[0], *self.out_shape).to(values.dtype)


class ShortTimeFourier(nn.Module):
    """Short-time Fourier transform of waves of one length, ``(B, C, T)`` -> ``(B, C, F, frames)``, and its inverse.

    Args:
        who: The name of the network, for error messages.
        positions: ``(T,)``; of any other length if the data are no waves, which is an error.
        window: Samples of the Hann window, W.
        hop: Samples from one frame to the next.
    """

    window: Tensor
    overlap: Tensor
    """``(1, T)``: the sum of the squared windows at each sample, by which `inverse` divides."""

    def __init__(self, who: str, positions: Shape | list[int], window: int, hop: int) -> None:
        super().__init__()
        if len(positions) != 1:
            raise AeframeError(
                f"{who} requires data of shape (C, T), found {len(positions)} axes of positions, {tuple(positions)}"
            )
        self.length, self.size, self.hop = positions[0], window, hop
        self.num_frames, self.num_bins = -(-self.length // hop), window // 2 + 1
        self.pad_start = (window - hop) // 2
        self.register_buffer("window", torch.hann_window(window), persistent=False)
        squares = self.window.square()[None, :, None].expand(1, window, self.num_frames)
        self.register_buffer("overlap", self._overlap_add(squares).clamp(min=1e-3), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Return the complex spectra ``(B, C, F, frames)`` of waves ``(B, C, T)``."""
        padded = F.pad(x, (self.pad_start, self._padded_length() - self.pad_start - self.length))
        framed = padded.unfold(-1, self.size, self.hop) * self.window.to(x.dtype)
        return torch.fft.rfft(framed).movedim(-1, -2)

    def inverse(self, spectra: Tensor) -> Tensor:
        """Return the waves ``(B, C, T)`` of complex spectra ``(B, C, F, frames)``, by overlap-add."""
        framed = torch.fft.irfft(spectra, self.size, dim=-2)
        windowed = framed * self.window.to(framed.dtype).unsqueeze(-1)
        waves = self._overlap_add(windowed.flatten(0, 1)) / self.overlap.to(framed.dtype)
        return waves.unflatten(0, spectra.shape[:2])

    def _padded_length(self) -> int:
        """Return the number of samples that all frames cover."""
        return (self.num_frames - 1) * self.hop + self.size

    def _overlap_add(self, frames: Tensor) -> Tensor:
        """Return waves ``(N, T)``: the sum of overlapping frames ``(N, W, frames)``, without the padding."""
        waves = F.fold(frames, (1, self._padded_length()), (1, self.size), stride=(1, self.hop)).flatten(1)
        return waves[:, self.pad_start : self.pad_start + self.length]


def _check_options(
    who: str, window: int, hop: int, channels: int, kernel: int, blocks: int, activation: MakeActivation | None
) -> MakeActivation:
    """Check the options that the encoder and the decoder share, and return the factory of the activation.

    `who` is the name of the network in error messages.
    """
    check_sizes(who, (channels,), kernel, None, blocks)
    if hop < 1 or window < 2 * hop or window % 2:
        raise AeframeError(
            f"{who} requires an even window of at least two hops, found a window of {window} and a hop of {hop}"
        )
    # `same_shape` rejects an activation that changes the shape, such as glu.
    return (activation or MakeActivation.named("relu")).same_shape(who)
