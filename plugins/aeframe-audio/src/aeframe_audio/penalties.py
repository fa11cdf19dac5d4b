"""The penalties `stft` and `mel`: distances between spectra of x and its reconstruction.

Each penalty is a sum over time: a frame has the weight of one hop in samples, and its distance is a mean over
frequencies. Values are therefore comparable between resolutions, and proportional to the length of a sound.

Shapes: B samples, C channels, T time samples, F frequencies.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import cast

import torch
from torch import Tensor, nn

from aeframe.errors import AeframeError
from aeframe.parts.penalties.base import Penalty
from aeframe.parts.schedules import Schedule, fixed
from aeframe.tensors import at_least_float32, autocast_disabled, broadcast_mask
from aeframe.types import Batch, DataSpec, ForwardOutput, Model
from aeframe_audio.spectra import MelBands, PowerSpectrogram, amplitude, log_amplitude, power_of_decibels

_EPSILON = 1e-10
"""Added to a squared ratio before its square root, whose gradient at 0 is infinite."""


class STFTDistance(Penalty):
    """The multi-resolution STFT distance (Yamamoto, Song & Kim 2020, arXiv 1910.11480), a mean over resolutions.

    With the amplitudes S of x and S_hat of its reconstruction, it has two terms: |log S - log S_hat|, summed over
    frames as above, and the spectral convergence ||S - S_hat|| / ||S||, times the number of samples of all channels.
    Both terms and their gradients are 0 where both sounds are silent. Masked samples are replaced by silence. With K
    importance samples only the first is used.

    Args:
        spec: The format of the data, of shape ``(C, T)``; channels are compared separately.
        weight: A number or a schedule.
        windows: Number of samples of each Hann window; the hop is a quarter of it.
        logarithm: Weight of the first term.
        convergence: Weight of the second term.
        floor: A power in dB of full scale; differences below it have little effect.
    """

    def __init__(
        self,
        spec: DataSpec,
        *,
        weight: Schedule = fixed(0.1),
        windows: tuple[int, ...] = (128, 256, 512, 1024),
        logarithm: float = 1.0,
        convergence: float = 1.0,
        floor: float = -80.0,
    ) -> None:
        super().__init__()
        _check_options("penalty stft", spec, windows)
        self.weight, self.logarithm, self.convergence = weight, logarithm, convergence
        self.floor_power = power_of_decibels(floor)
        self.spectrograms = _spectrograms(windows)

    def forward(self, model: Model, out: ForwardOutput) -> Tensor:
        x, x_hat = _waves(model, out.output, out.batch)
        num_samples = x.new_tensor(float(x[0].numel())) if out.batch.mask is None else _num_unmasked(out.batch)
        with autocast_disabled(x.device):
            spectrograms = cast("Iterable[PowerSpectrogram]", self.spectrograms)
            distances = [self._distance(spectrogram, x, x_hat, num_samples) for spectrogram in spectrograms]
        return torch.stack(distances).mean(0)

    def _distance(self, spectrogram: PowerSpectrogram, x: Tensor, x_hat: Tensor, num_samples: Tensor) -> Tensor:
        """Return the distance ``(B,)`` at one resolution."""
        power, power_hat = (_power(spectrogram, wave) for wave in (x, x_hat))
        hop, num_bins = spectrogram.hop, power.shape[-2]
        log_distance = (log_amplitude(power, self.floor_power) - log_amplitude(power_hat, self.floor_power)).abs()
        distance = self.logarithm * hop * log_distance.mean(-2).flatten(1).sum(1)
        if self.convergence:
            # Squared norms; the floor of the denominator is that of all bins of all frames.
            floor_size = self.floor_power * num_bins * num_samples / hop
            size = amplitude(power, self.floor_power).square().flatten(1).sum(1) + floor_size
            error = (
                (amplitude(power, self.floor_power) - amplitude(power_hat, self.floor_power)).square().flatten(1).sum(1)
            )
            # Unlike sqrt(error / size), it has a finite gradient at 0.
            ratio = (error / size + _EPSILON).sqrt() - _EPSILON**0.5
            distance = distance + self.convergence * num_samples * ratio
        return distance


class MelDistance(Penalty):
    """The multi-resolution mel distance |log S - log S_hat| (Kumar et al. 2023, arXiv 2306.06546, who use more and
    narrower windows), a mean over resolutions.

    S are root mean squares of mel bands: one band per eight samples of a window, at most 80. The distance and its
    gradient are 0 where both sounds are silent. Masked samples are replaced by silence. With K importance samples only
    the first is used.

    Args:
        spec: The format of the data, of shape ``(C, T)`` with a sampling rate; channels are compared separately.
        weight: A number or a schedule.
        windows: Number of samples of each Hann window; the hop is a quarter of it.
        floor: A power in dB of full scale; differences below it have little effect.
    """

    def __init__(
        self,
        spec: DataSpec,
        *,
        weight: Schedule = fixed(0.1),
        windows: tuple[int, ...] = (128, 256, 512, 1024),
        floor: float = -80.0,
    ) -> None:
        super().__init__()
        _check_options("penalty mel", spec, windows)
        if spec.rate is None:
            raise AeframeError("penalty mel requires data with a sampling rate; choose penalties.stft for other data")
        self.weight, self.floor_power = weight, power_of_decibels(floor)
        self.spectrograms = _spectrograms(windows)
        self.bands = nn.ModuleList(MelBands(size, min(80, size // 8), spec.rate) for size in windows)

    def forward(self, model: Model, out: ForwardOutput) -> Tensor:
        waves = _waves(model, out.output, out.batch)
        distances = []
        with autocast_disabled(waves[0].device):
            spectrograms = cast("Iterable[PowerSpectrogram]", self.spectrograms)
            for spectrogram, bands in zip(spectrograms, self.bands, strict=True):
                mel, mel_hat = (log_amplitude(bands(_power(spectrogram, wave)), self.floor_power) for wave in waves)
                distances.append(spectrogram.hop * (mel - mel_hat).abs().mean(-2).flatten(1).sum(1))
        return torch.stack(distances).mean(0)


def _spectrograms(windows: tuple[int, ...]) -> nn.ModuleList:
    return nn.ModuleList(PowerSpectrogram(size, size // 4) for size in windows)


def _waves(model: Model, output: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
    """Return x and its reconstruction ``(B, C, T)`` in at least float32, 0 where masked."""
    x, x_hat = model.loss.masked_x_and_reconstruction(output, batch)
    return at_least_float32(x.to(x_hat.dtype)), at_least_float32(x_hat)


def _power(spectrogram: PowerSpectrogram, wave: Tensor) -> Tensor:
    """Return the power spectra ``(B, C, F, frames)`` of waves ``(B, C, T)``.

    Half a window of padding yields all frames that overlap the wave, so that trailing silence adds nothing.
    """
    padded = nn.functional.pad(wave.flatten(0, 1), (0, spectrogram.size // 2))
    power: Tensor = spectrogram(padded)
    return power.unflatten(0, wave.shape[:2])


def _num_unmasked(batch: Batch) -> Tensor:
    """Return ``(B,)``: the number of elements of each sample that the mask includes."""
    assert batch.mask is not None
    return broadcast_mask(batch.mask, batch.x.ndim).expand_as(batch.x).flatten(1).sum(1).float()


def _check_options(who: str, spec: DataSpec, windows: tuple[int, ...]) -> None:
    """Raise an error for data or windows that do not fit; `who` is the name of the penalty in it."""
    if len(spec.shape) != 2 or spec.domain.classes is not None:
        raise AeframeError(f"{who} requires waves of shape (C, T), found {spec.domain} data of shape {spec.shape}")
    if not windows or any(size < 16 or size % 4 for size in windows):
        raise AeframeError(f"{who} requires windows of at least 16 samples, multiples of 4, found {list(windows)}")
