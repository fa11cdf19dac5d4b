"""Metrics of reconstructed sounds: SI-SDR, spectral distances and bitrate.

Shapes: B segments, C channels, T time samples, F frequencies (or mel bands). Masks are True for elements to include.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor

from aeframe.evaluation.metrics.base import SUM_DTYPE, ModelMetric
from aeframe.evaluation.metrics.reconstruction import evaluated_elements
from aeframe.types import ForwardOutput
from aeframe_audio.spectra import DecibelSpectrogram

if TYPE_CHECKING:
    from aeframe.model.autoencoder import Autoencoder

_LIMIT_DB = 100.0
"""Bound of the absolute SI-SDR."""


def si_sdr(x_hat: Tensor, x: Tensor, mask: Tensor | None = None) -> Tensor:
    """Return the scale-invariant signal-to-distortion ratio ``(B,)`` in dB, over all channels together (Le Roux,
    Wisdom, Erdogan & Hershey 2019, arXiv 1811.02508).

    Both signals are centred first. Results are clipped to +-100 dB; a silent x has -100.

    Args:
        x_hat: The reconstructions, ``(B, *any)``.
        x: The originals, ``(B, *any)``.
        mask: ``(B, *any)``, True for elements to compare; None compares all.
    """
    x_hat, x = _centre(x_hat, mask), _centre(x, mask)
    tiny = torch.finfo(x.dtype).tiny
    scale = (x_hat * x).sum(1) / x.square().sum(1).clamp(min=tiny)
    target = scale.unsqueeze(1) * x
    minimum = 10 ** (-_LIMIT_DB / 10)
    signal, noise = target.square().sum(1), (x_hat - target).square().sum(1)
    total = (signal + noise).clamp(min=tiny)
    return 10 * ((signal / total).clamp(min=minimum).log10() - (noise / total).clamp(min=minimum).log10())


def _centre(wave: Tensor, mask: Tensor | None) -> Tensor:
    """Return ``(B, N)`` with mean 0 over the mask, and 0 outside it."""
    flat = wave.flatten(1)
    if mask is None:
        return flat - flat.mean(1, keepdim=True)
    flat_mask = mask.flatten(1)
    flat = flat.masked_fill(~flat_mask, 0.0)
    mean = flat.sum(1, keepdim=True) / flat_mask.sum(1, keepdim=True).clamp(min=1)
    return (flat - mean).masked_fill(~flat_mask, 0.0)


class _Mean(ModelMetric):
    """The mean of the values that a subclass computes for each batch."""

    total: Tensor
    count: Tensor

    def __init__(self) -> None:
        super().__init__()
        for name in ("total", "count"):
            self.add_state(name, torch.zeros((), dtype=SUM_DTYPE), dist_reduce_fx="sum")

    @classmethod
    def applies(cls, model: Autoencoder) -> bool:
        return len(model.spec.shape) == 2 and model.spec.domain.classes is None and model.spec.rate is not None

    def update(self, model: Autoencoder, out: ForwardOutput) -> None:
        mask = evaluated_elements(out)
        x, x_hat = (wave.to(SUM_DTYPE).masked_fill(~mask, 0.0) for wave in (out.batch.x, model.loss.mean(out.output)))
        values, included = self.measure(x_hat, x, mask)
        self.total = self.total + torch.where(included, values, 0.0).sum()
        self.count = self.count + included.sum()

    def measure(self, x_hat: Tensor, x: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Return values of any shape, and a mask of the same shape that is True for those to include in the mean.

        All three arguments are ``(B, C, T)``.
        """
        raise NotImplementedError

    def compute(self) -> Tensor:
        return self.total / self.count


class SISDR(_Mean):
    """The scale-invariant signal-to-distortion ratio in dB (Le Roux et al. 2019, arXiv 1811.02508), the mean over
    segments that are not silent.
    """

    higher_is_better = True

    def measure(self, x_hat: Tensor, x: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        return si_sdr(x_hat, x, mask), x.square().flatten(1).sum(1) > 0


class _SpectralMean(_Mean):
    """The mean of a distance between spectra in dB, over frames whose centre is in the mask."""

    mel: ClassVar[bool] = False

    def __init__(self, model: Autoencoder) -> None:
        super().__init__()
        # In a tuple, so that it is not a submodule, which `Metric.to` would convert to single precision.
        self._spectrogram = (DecibelSpectrogram(model.spec.rate or 1.0, mel=self.mel).double(),)

    def decibels(self, wave: Tensor) -> Tensor:
        """Return spectra in dB, ``(B, C, F, frames)``."""
        return self._spectrogram[0].to(wave.device, wave.dtype)(wave)

    def frame_mask(self, mask: Tensor) -> Tensor:
        """Return ``(B, C, frames)`` for a mask ``(B, C, T)``."""
        return self._spectrogram[0].frame_mask(mask)


class MelDB(_SpectralMean):
    """The mean absolute difference of mel spectra in dB: 40 bands, Hann windows of about 32 ms with an overlap of three
    quarters, levels of at least -80 dB of full scale.
    """

    mel = True
    higher_is_better = False

    def measure(self, x_hat: Tensor, x: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        distance = (self.decibels(x_hat) - self.decibels(x)).abs().mean(-2)
        return distance, self.frame_mask(mask)


class LogSpectral(_SpectralMean):
    """The log-spectral distance in dB (Gray & Markel 1976, IEEE Trans. ASSP 24): the root mean square over frequencies
    of the difference of spectra in dB, averaged over frames. Levels are at least -80 dB of full scale.
    """

    higher_is_better = False

    def measure(self, x_hat: Tensor, x: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        distance = (self.decibels(x_hat) - self.decibels(x)).square().mean(-2).sqrt()
        return distance, self.frame_mask(mask)


class Bitrate(ModelMetric):
    """Bits per second of the codes of a quantiser.

    ``bitrate``: log2 of the codebook size for each code. ``bitrate_entropy``: for each code the entropy of the
    empirical code frequencies of its residual level, which an entropy coder could reach.
    """

    code_counts: Tensor

    def __init__(self, model: Autoencoder) -> None:
        super().__init__()
        latent, spec = model.latent, model.spec
        self.add_state(
            "code_counts", torch.zeros(latent.num_levels, latent.num_codes, dtype=torch.long), dist_reduce_fx="sum"
        )
        self._frames_per_second = math.prod(latent.shape[1:]) * (spec.rate or 1.0) / spec.shape[-1]

    @classmethod
    def applies(cls, model: Autoencoder) -> bool:
        return "codes" in model.latent.provides and model.latent.num_codes > 0 and model.spec.rate is not None

    def update(self, model: Autoencoder, out: ForwardOutput) -> None:
        assert out.latent.codes is not None
        codes = out.latent.codes.long().flatten(0, -2).T
        # A code of -1 is a level that is not used; it adds 0 to the counts.
        self.code_counts = self.code_counts.scatter_add(1, codes.clamp(min=0), (codes >= 0).long())

    def compute(self) -> dict[str, Tensor]:
        num_levels, num_codes = self.code_counts.shape
        frequencies = self.code_counts.to(SUM_DTYPE) / self.code_counts.sum(1, keepdim=True).clamp(min=1)
        entropy = -torch.special.xlogy(frequencies, frequencies).sum() / math.log(2)
        nominal = torch.tensor(num_levels * math.log2(num_codes) * self._frames_per_second, dtype=SUM_DTYPE)
        return {"bitrate": nominal, "bitrate_entropy": entropy * self._frames_per_second}
