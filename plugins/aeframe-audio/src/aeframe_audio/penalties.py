"""Distances of spectra, as terms beside the loss of the wave.

A term is summed over time: each frame counts for the samples between two of them (the hop) and is a mean over
frequencies, so that a term means the same at every resolution, and doubles with the length of a sound.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from aeframe.errors import AeframeError
from aeframe.parts.penalties.base import Penalty, first_importance_sample
from aeframe.parts.schedules import Schedule, fixed
from aeframe.tensors import at_least_float32, autocast_disabled
from aeframe.types import Batch, DataSpec, ForwardOutput, Model
from aeframe_audio.spectra import MelBands, PowerSpectrogram, amplitude, floor_of, log_amplitude


class STFTDistance(Penalty):
    """The distance of short-time spectra at several resolutions, the mean over them (Yamamoto, Song & Kim 2020,
    arXiv 1910.11480): |log S - log S_hat|, and the spectral convergence ||S - S_hat|| / ||S|| over the whole sound
    times its number of samples.

    S are amplitudes. Both terms are smooth down to silence and 0 there, in value and gradient. What the mask hides is
    silence on both sides. Of K importance samples the first counts.

    Args:
        spec: Of the data, ``(C, T)``; each channel counts for itself.
        weight: A number or a schedule.
        windows: Samples of the Hann windows; hops are a quarter of each.
        logarithm: Weight of the first term.
        convergence: Weight of the second term.
        floor: In dB of full scale: what lies below it counts little.
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
        _check("penalty stft", spec, windows)
        self.weight, self.logarithm, self.convergence = weight, logarithm, convergence
        self.floor = floor_of(floor)
        self.spectrograms = nn.ModuleList(PowerSpectrogram(size, size // 4) for size in windows)

    def forward(self, model: Model, out: ForwardOutput) -> Tensor:
        x, x_hat = waves(model, first_importance_sample(out), out.batch)
        samples = x.new_tensor(float(x[0].numel())) if out.batch.mask is None else _counted(out.batch)
        with autocast_disabled(x.device):
            found = [self._at(each, x, x_hat, samples) for each in resolutions(self.spectrograms)]
        return torch.stack(found).mean(0)

    def _at(self, spectrogram: PowerSpectrogram, x: Tensor, x_hat: Tensor, samples: Tensor) -> Tensor:
        real, made = (_by_channel(spectrogram, wave) for wave in (x, x_hat))
        hop, bins = spectrogram.hop, real.shape[-2]
        apart = (log_amplitude(real, self.floor) - log_amplitude(made, self.floor)).abs()
        value = self.logarithm * hop * apart.mean(-2).flatten(1).sum(1)
        if self.convergence:
            size = amplitude(real, self.floor).square().flatten(1).sum(1) + self.floor * bins * samples / hop
            error = (amplitude(real, self.floor) - amplitude(made, self.floor)).square().flatten(1).sum(1)
            # A root has no gradient at 0; this one has, and is 0 there.
            ratio = (error / size + _TINY).sqrt() - _TINY**0.5
            value = value + self.convergence * samples * ratio
        return value


class MelDistance(Penalty):
    """The distance |log S - log S_hat| of mel spectra at several resolutions, the mean over them (Kumar et al. 2023,
    arXiv 2306.06546, who use more and narrower windows).

    S are root mean squares of bands, one band for each eight samples of a window, 80 at most. Smooth down to silence,
    and 0 there. What the mask hides is silence on both sides. Of K importance samples the first counts.

    Args:
        spec: Of the data, ``(C, T)``, with a rate; each channel counts for itself.
        weight: A number or a schedule.
        windows: Samples of the Hann windows; hops are a quarter of each.
        floor: In dB of full scale: what lies below it counts little.
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
        _check("penalty mel", spec, windows)
        if spec.rate is None:
            raise AeframeError(
                "penalty mel needs data that say their sampling rate; choose penalties.stft, which does not"
            )
        self.weight, self.floor = weight, floor_of(floor)
        self.spectrograms = nn.ModuleList(PowerSpectrogram(size, size // 4) for size in windows)
        self.bands = nn.ModuleList(MelBands(size, min(80, size // 8), spec.rate) for size in windows)

    def forward(self, model: Model, out: ForwardOutput) -> Tensor:
        x, x_hat = waves(model, first_importance_sample(out), out.batch)
        found = []
        with autocast_disabled(x.device):
            for spectrogram, bands in zip(resolutions(self.spectrograms), self.bands, strict=True):
                real, made = (log_amplitude(bands(_by_channel(spectrogram, wave)), self.floor) for wave in (x, x_hat))
                found.append(spectrogram.hop * (real - made).abs().mean(-2).flatten(1).sum(1))
        return torch.stack(found).mean(0)


_TINY = 1e-10


def resolutions(spectrograms: nn.ModuleList) -> list[PowerSpectrogram]:
    """Return the spectrograms of a penalty, by their type."""
    return [each for each in spectrograms if isinstance(each, PowerSpectrogram)]


def waves(model: Model, output: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
    """Return x and its reconstruction ``(B, C, T)`` in float32 at least, silent where the mask hides them."""
    x, x_hat = model.loss.visible(output, batch)
    return at_least_float32(x.to(x_hat.dtype)), at_least_float32(x_hat)


def _by_channel(spectrogram: PowerSpectrogram, wave: Tensor) -> Tensor:
    """Return the spectrograms ``(B, C, F, frames)`` of waves ``(B, C, T)``, with all frames that hear any of it: they
    are the same however much silence follows a sound.
    """
    heard = nn.functional.pad(wave.flatten(0, 1), (0, spectrogram.size // 2))
    found: Tensor = spectrogram(heard)
    return found.unflatten(0, wave.shape[:2])


def _counted(batch: Batch) -> Tensor:
    assert batch.mask is not None
    mask = batch.mask.reshape(*batch.mask.shape, *[1] * (batch.x.ndim - batch.mask.ndim)).expand_as(batch.x)
    return mask.flatten(1).sum(1).float()


def _check(who: str, spec: DataSpec, windows: tuple[int, ...]) -> None:
    if len(spec.shape) != 2 or spec.domain.classes is not None:
        raise AeframeError(f"{who} needs waves of shape (C, T), found {spec.domain} data of shape {spec.shape}")
    if not windows or any(size < 16 or size % 4 for size in windows):
        raise AeframeError(f"{who} needs windows of 16 samples or more, multiples of 4, found {list(windows)}")
