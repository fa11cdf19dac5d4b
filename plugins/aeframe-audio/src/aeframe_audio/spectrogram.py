"""Networks on short-time spectra: frames of a wave in, frames added up to a wave out.

Shapes: B samples, C channels, T samples of time, F frequencies, W samples of a window.
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

_LARGEST = 4.0
"""Of a logarithm of an amplitude: e^4 is far beyond what a full scale needs."""
_SMALL = 1e-4


class SpectrogramEncoder(Encoder):
    """The complex spectrum of each frame, its amplitudes compressed to the power 0.3, and convolutions over frames:
    ``(B, C, T)`` -> ``(B, channels, frames)``, one frame for each `hop` samples, rounded up.

    All of the network works at the rate of frames, which is much less to compute than wave_conv.

    Args:
        shape: ``(C, T)``.
        domain: Of the data.
        window: Samples of the Hann window.
        hop: Samples from one frame to the next.
        channels: Of the convolutions.
        blocks: Residual units.
        kernel: Width of their convolutions, odd.
        activation: In the units and at the end; null takes the run's own.
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
        make = _checked(who, window, hop, channels, kernel, blocks, activation)
        self.channels = InputChannels(who, shape, domain)
        channels_in, *positions = self.channels.shape
        self.frames = Frames(who, positions, window, hop)
        self.out_shape = (channels, self.frames.count)
        made: list[nn.Module] = [TimeConv(channels_in * 2 * self.frames.bins, channels, 1, causal=False)]
        made += [TimeResidual(channels, kernel, 1, make, causal=False) for _ in range(blocks)]
        self.layers = nn.Sequential(*made, make())
        self._mirrored_decoder = {
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
            spectrum = self.frames.spectra(x)
            parts = torch.stack([spectrum.real, spectrum.imag], 2)
            # To the power 0.3, with a gradient in silence.
            parts = parts * (parts.square().sum(2, keepdim=True) + _SMALL).pow(-0.35)
        return self.layers(parts.flatten(1, 3).to(weight.dtype))

    def mirrored_decoder_config(self) -> dict[str, Any]:
        return self._mirrored_decoder


class SpectrogramDecoder(Decoder):
    """Convolutions over frames, then amplitudes and phases, whose waves are added up where frames overlap (Siuzdak
    2023, arXiv 2306.00814): ``(B, *z_shape)`` -> ``(B, outputs, C, T)``.

    Args:
        z_shape: ``(dim,)``, or ``(dim, frames)``.
        out_shape: ``(outputs, C, T)``.
        window: Samples of the Hann window.
        hop: Samples from one frame to the next.
        channels: Of the convolutions.
        blocks: Residual units.
        kernel: Width of their convolutions, odd.
        activation: In the units and after them; null takes the run's own.
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
        make = _checked(who, window, hop, channels, kernel, blocks, activation)
        self.waves, positions = output_channels(who, out_shape)
        self.frames, self.out_shape = Frames(who, positions, window, hop), out_shape
        made: list[nn.Module] = [LatentProjection(who, z_shape, (channels, self.frames.count), make, None)]
        made += [TimeResidual(channels, kernel, 1, make, causal=False) for _ in range(blocks)]
        made += [make(), TimeConv(channels, self.waves * 2 * self.frames.bins, 1, causal=False)]
        self.layers = nn.Sequential(*made)

    def forward(self, z: Tensor, batch: Batch | None = None) -> Tensor:
        found: Tensor = self.layers(z)
        with autocast_disabled(found.device):
            parts = found.to(torch.promote_types(found.dtype, torch.float32))
            logarithm, phase = parts.unflatten(1, (self.waves, 2, self.frames.bins)).unbind(2)
            wave = self.frames.waves(torch.polar(logarithm.clamp(max=_LARGEST).exp(), phase))
        return wave.reshape(z.shape[0], *self.out_shape).to(found.dtype)


class Frames(nn.Module):
    """Overlapping windows of waves of one length, and back; back again they are the same waves."""

    window: Tensor
    overlap: Tensor

    def __init__(self, who: str, positions: Shape | list[int], window: int, hop: int) -> None:
        super().__init__()
        if len(positions) != 1:
            raise AeframeError(f"{who} needs one dimension of positions, (C, T), found {tuple(positions)}")
        self.length, self.size, self.hop = positions[0], window, hop
        self.count, self.bins = -(-self.length // hop), window // 2 + 1
        self.before = (window - hop) // 2
        self.register_buffer("window", torch.hann_window(window), persistent=False)
        squares = self.window.square()[None, :, None].expand(1, window, self.count)
        self.register_buffer("overlap", self._added(squares).clamp(min=1e-3), persistent=False)

    def spectra(self, x: Tensor) -> Tensor:
        """Return the complex spectra ``(B, C, F, frames)`` of waves ``(B, C, T)``."""
        padded = F.pad(x, (self.before, (self.count - 1) * self.hop + self.size - self.before - self.length))
        framed = padded.unfold(-1, self.size, self.hop) * self.window.to(x.dtype)
        return torch.fft.rfft(framed).movedim(-1, -2)

    def waves(self, spectra: Tensor) -> Tensor:
        """Return the waves ``(B, C, T)`` that windows with these spectra ``(B, C, F, frames)`` add up to."""
        framed = torch.fft.irfft(spectra, self.size, dim=-2)
        windowed = framed * self.window.to(framed.dtype).unsqueeze(-1)
        added = self._added(windowed.flatten(0, 1)) / self.overlap.to(framed.dtype)
        return added.unflatten(0, spectra.shape[:2])

    def _added(self, windowed: Tensor) -> Tensor:
        """Add up ``(N, W, frames)`` where they overlap: ``(N, T)``."""
        whole = (self.count - 1) * self.hop + self.size
        added = F.fold(windowed, (1, whole), (1, self.size), stride=(1, self.hop)).flatten(1)
        return added[:, self.before : self.before + self.length]


def _checked(
    who: str, window: int, hop: int, channels: int, kernel: int, blocks: int, activation: MakeActivation | None
) -> MakeActivation:
    check_sizes(who, (channels,), kernel, None, blocks)
    if hop < 1 or window < 2 * hop or window % 2:
        raise AeframeError(
            f"{who} needs an even window of at least two hops, found a window of {window} and a hop of {hop}"
        )
    return (activation or MakeActivation.named("relu")).same_shape(who)
