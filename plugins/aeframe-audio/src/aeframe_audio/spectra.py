"""Short-time spectra and mel bands, safe where a sound is silent.

Shapes: N waves, T samples, F frequencies, M mel bands.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class PowerSpectrogram(nn.Module):
    """The power of a short-time Fourier transform with a Hann window: ``(N, T)`` -> ``(N, F, T // hop + 1)``.

    Frames are centred at every `hop` samples from the first on, with silence before and after the sound. A sine of full
    scale has power 1 at its frequency.
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
        # Not the square of abs(), whose gradient at 0 is none.
        return (spectrum.real.square() + spectrum.imag.square()) * (2 / window.sum()).square()


class MelBands(nn.Module):
    """The mean power in triangular bands that are evenly spread in mel, 2595 log10(1 + f / 700), from 0 to half the
    rate: ``(N, F, frames)`` -> ``(N, M, frames)``.

    A band that is narrower than the distance of two frequencies takes the one nearest to its middle.
    """

    weights: Tensor

    def __init__(self, size: int, bands: int, rate: float) -> None:
        super().__init__()
        top = 2595 * torch.log10(torch.tensor(1 + rate / 2 / 700, dtype=torch.float64))
        edges = 700 * (10 ** (torch.linspace(0, float(top), bands + 2, dtype=torch.float64) / 2595) - 1)
        frequencies = torch.linspace(0, rate / 2, size // 2 + 1, dtype=torch.float64)
        low, middle, high = (edges[k : k + bands].unsqueeze(1) for k in range(3))
        rising, falling = (frequencies - low) / (middle - low), (high - frequencies) / (high - middle)
        weights = torch.minimum(rising, falling).clamp(min=0)
        nearest = nn.functional.one_hot((frequencies - middle).abs().argmin(1), len(frequencies))
        weights = torch.where(weights.sum(1, keepdim=True) > 0, weights, nearest)
        self.register_buffer("weights", (weights / weights.sum(1, keepdim=True)).float(), persistent=False)

    def forward(self, power: Tensor) -> Tensor:
        return self.weights.to(power.dtype) @ power


def floor_of(decibels: float) -> float:
    """Return the power at so many dB of full scale."""
    return float(10 ** (decibels / 10))


def log_amplitude(power: Tensor, floor: float) -> Tensor:
    """Return log sqrt(power + floor), in nats: its gradient is bounded, and 0 in silence."""
    return 0.5 * (power + floor).log()


def amplitude(power: Tensor, floor: float) -> Tensor:
    """Return sqrt(power + floor) - sqrt(floor): the amplitude, smooth and 0 in silence."""
    return (power + floor).sqrt() - floor**0.5
