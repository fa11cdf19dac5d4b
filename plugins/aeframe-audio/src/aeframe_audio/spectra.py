"""Short-time power spectra, mel bands and decibels, with bounded gradients in silence.

Shapes: N waves, B samples, C channels, T time samples, F frequencies, M mel bands.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

FLOOR_DB = -80.0
"""Lowest level of `DecibelSpectrogram`, in dB of full scale."""
NUM_MEL_BANDS = 40
WINDOW_SECONDS, HOPS_PER_WINDOW = 0.032, 4


class PowerSpectrogram(nn.Module):
    """Power of the short-time Fourier transform with a Hann window: ``(N, T)`` -> ``(N, F, T // hop + 1)``.

    Frames are centred on every `hop`-th sample; the wave is zero-padded at both ends. A sine of full scale has power 1
    at its frequency.
    """

    window: Tensor

    def __init__(self, size: int, hop: int) -> None:
        super().__init__()
        self.size, self.hop = size, hop
        self.register_buffer("window", torch.hann_window(size), persistent=False)

    def forward(self, wave: Tensor) -> Tensor:
        window = self.window.to(wave.dtype)
        spectrum = torch.stft(
            wave, self.size, self.hop, window=window, center=True, pad_mode="constant", return_complex=True
        )
        # `abs` would have no gradient at 0.
        return (spectrum.real.square() + spectrum.imag.square()) * (2 / window.sum()).square()


class MelBands(nn.Module):
    """Mean power in triangular mel bands: ``(N, F, frames)`` -> ``(N, M, frames)``.

    Bands are evenly spaced on the scale 2595 log10(1 + f / 700), from 0 to the Nyquist frequency. A band narrower than
    the spacing of the frequencies contains the frequency nearest to its centre.
    """

    weights: Tensor

    def __init__(self, size: int, bands: int, rate: float) -> None:
        super().__init__()
        # `size` samples of a window; `top` is the Nyquist frequency on the mel scale.
        top = 2595 * torch.log10(torch.tensor(1 + rate / 2 / 700, dtype=torch.float64))
        edges = 700 * (10 ** (torch.linspace(0, float(top), bands + 2, dtype=torch.float64) / 2595) - 1)
        frequencies = torch.linspace(0, rate / 2, size // 2 + 1, dtype=torch.float64)
        low, centre, high = (edges[k : k + bands].unsqueeze(1) for k in range(3))
        rising, falling = (frequencies - low) / (centre - low), (high - frequencies) / (high - centre)
        weights = torch.minimum(rising, falling).clamp(min=0)
        nearest = nn.functional.one_hot((frequencies - centre).abs().argmin(1), len(frequencies))
        weights = torch.where(weights.sum(1, keepdim=True) > 0, weights, nearest)
        self.register_buffer("weights", (weights / weights.sum(1, keepdim=True)).float(), persistent=False)

    def forward(self, power: Tensor) -> Tensor:
        return self.weights.to(power.dtype) @ power


class DecibelSpectrogram(nn.Module):
    """Spectra of waves in dB of full scale, at least -80: ``(B, C, T)`` -> ``(B, C, F, frames)``.

    The Hann window is the power of two nearest to 32 ms (on a logarithmic scale), and windows overlap by three
    quarters.

    Args:
        rate: Samples per second.
        mel: Return 40 mel bands instead of the F frequencies.
    """

    def __init__(self, rate: float, *, mel: bool) -> None:
        super().__init__()
        size = max(16, 2 ** round(torch.tensor(rate * WINDOW_SECONDS).log2().item()))
        self.spectrogram = PowerSpectrogram(size, size // HOPS_PER_WINDOW)
        self.bands = MelBands(size, min(NUM_MEL_BANDS, size // 4), rate) if mel else nn.Identity()

    def forward(self, wave: Tensor) -> Tensor:
        power = self.bands(self.spectrogram(wave.flatten(0, 1))).unflatten(0, wave.shape[:2])
        return 10 * power.clamp(min=power_of_decibels(FLOOR_DB)).log10()

    def frame_mask(self, mask: Tensor) -> Tensor:
        """Return ``(B, C, frames)``: the mask ``(B, C, T)`` of samples at the centre of each frame."""
        return nn.functional.pad(mask, (0, 1))[..., :: self.spectrogram.hop]


def power_of_decibels(decibels: float) -> float:
    """Return the power at a level in dB of full scale."""
    return float(10 ** (decibels / 10))


def log_amplitude(power: Tensor, floor: float) -> Tensor:
    """Return log sqrt(power + floor), in nats; `floor` is a power. The gradient is bounded, and 0 in silence."""
    return 0.5 * (power + floor).log()


def amplitude(power: Tensor, floor: float) -> Tensor:
    """Return sqrt(power + floor) - sqrt(floor), a smooth amplitude that is 0 in silence; `floor` is a power."""
    return (power + floor).sqrt() - floor**0.5
