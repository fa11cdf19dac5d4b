"""What people measure on reconstructed sounds, by sample.

Shapes: B samples, C channels, T samples of time.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from aeframe_audio.spectra import MelBands, PowerSpectrogram, floor_of

FLOOR_DB = -80.0
CAP_DB = 100.0
MEL_BANDS = 40
WINDOW_SECONDS, HOPS = 0.032, 4
"""The window of both spectral distances, a power of 2 near 32 ms, and how many frames overlap."""


def si_sdr(x_hat: Tensor, x: Tensor, counts: Tensor | None = None) -> Tensor:
    """Return the scale-invariant signal-to-distortion ratio ``(B,)`` in dB, without means, of all channels together
    (Le Roux, Wisdom, Erdogan & Hershey 2019, arXiv 1811.02508).

    Within +-100 dB; a silent x gives -100.

    Args:
        x_hat: ``(B, *any)``.
        x: ``(B, *any)``.
        counts: ``(B, *any)``, True for what is compared.
    """
    x_hat, x = _centred(x_hat, counts), _centred(x, counts)
    tiny = torch.finfo(x.dtype).tiny
    scale = (x_hat * x).sum(1) / x.square().sum(1).clamp(min=tiny)
    wanted = scale.unsqueeze(1) * x
    least = 10 ** (-CAP_DB / 10)
    signal, noise = wanted.square().sum(1), (x_hat - wanted).square().sum(1)
    whole = (signal + noise).clamp(min=tiny)
    return 10 * ((signal / whole).clamp(min=least).log10() - (noise / whole).clamp(min=least).log10())


class Spectral(nn.Module):
    """Spectra of waves ``(B, C, T)`` in dB, down to -80: frequencies ``(B, C, F, frames)``, or mel bands."""

    def __init__(self, rate: float, *, mel: bool) -> None:
        super().__init__()
        size = max(16, 2 ** round(torch.tensor(rate * WINDOW_SECONDS).log2().item()))
        self.spectrogram = PowerSpectrogram(size, size // HOPS)
        self.bands = MelBands(size, min(MEL_BANDS, size // 4), rate) if mel else nn.Identity()

    def forward(self, wave: Tensor) -> Tensor:
        power = self.bands(self.spectrogram(wave.flatten(0, 1))).unflatten(0, wave.shape[:2])
        return 10 * power.clamp(min=floor_of(FLOOR_DB)).log10()

    def frames(self, counts: Tensor) -> Tensor:
        """Return ``(B, C, frames)``, True for a frame whose middle is counted; `counts` are of samples."""
        return nn.functional.pad(counts, (0, 1))[..., :: self.spectrogram.hop]


def _centred(wave: Tensor, counts: Tensor | None) -> Tensor:
    flat = wave.flatten(1)
    if counts is None:
        return flat - flat.mean(1, keepdim=True)
    used = counts.flatten(1)
    flat = flat.masked_fill(~used, 0.0)
    return (flat - flat.sum(1, keepdim=True) / used.sum(1, keepdim=True).clamp(min=1)).masked_fill(~used, 0.0)
