"""What people measure on reconstructed sounds."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor

from aeframe.evaluation.metrics.base import SUM_DTYPE, ModelMetric
from aeframe.evaluation.metrics.reconstruction import evaluated_elements
from aeframe.types import ForwardOutput
from aeframe_audio.measures import Spectral, si_sdr

if TYPE_CHECKING:
    from aeframe.model.autoencoder import Autoencoder


class _Mean(ModelMetric):
    """A mean over what is counted."""

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
        counted = evaluated_elements(out)
        x, x_hat = (
            wave.to(SUM_DTYPE).masked_fill(~counted, 0.0) for wave in (out.batch.x, model.loss.mean(out.output))
        )  # fmt: skip
        values, used = self.measure(x_hat, x, counted)
        self.total = self.total + torch.where(used, values, 0.0).sum()
        self.count = self.count + used.sum()

    def measure(self, x_hat: Tensor, x: Tensor, counted: Tensor) -> tuple[Tensor, Tensor]:
        """Return numbers of any shape, and which of them count; all three arguments are ``(B, C, T)``."""
        raise NotImplementedError

    def compute(self) -> Tensor:
        return self.total / self.count


class SISDR(_Mean):
    """The scale-invariant signal-to-distortion ratio in dB, the mean over segments (Le Roux et al. 2019,
    arXiv 1811.02508): means are taken off first, and silent segments are left out.
    """

    higher_is_better = True

    def measure(self, x_hat: Tensor, x: Tensor, counted: Tensor) -> tuple[Tensor, Tensor]:
        return si_sdr(x_hat, x, counted), x.square().flatten(1).sum(1) > 0


class _SpectralMean(_Mean):
    mel: ClassVar[bool] = False

    def __init__(self, model: Autoencoder) -> None:
        super().__init__()
        # Not a module of the metric, which would move it to single precision with a model.
        self._spectral = (Spectral(model.spec.rate or 1.0, mel=self.mel).double(),)

    def decibels(self, wave: Tensor) -> Tensor:
        """Return spectra in dB, ``(B, C, F, frames)``."""
        return self._spectral[0].to(wave.device, wave.dtype)(wave)


class MelDB(_SpectralMean):
    """The mean absolute difference of mel spectra in dB: 40 bands, Hann windows of about 32 ms that overlap by three
    quarters, power down to -80 dB of full scale, over all bands of all frames whose middle counts.
    """

    mel = True
    higher_is_better = False

    def measure(self, x_hat: Tensor, x: Tensor, counted: Tensor) -> tuple[Tensor, Tensor]:
        apart = (self.decibels(x_hat) - self.decibels(x)).abs().mean(-2)
        return apart, self._spectral[0].frames(counted)


class LogSpectral(_SpectralMean):
    """The log-spectral distance in dB (Gray & Markel 1976, IEEE Trans. ASSP 24): the root mean square over frequencies
    of the difference of spectra in dB, down to -80, the mean over frames whose middle counts.
    """

    higher_is_better = False

    def measure(self, x_hat: Tensor, x: Tensor, counted: Tensor) -> tuple[Tensor, Tensor]:
        apart = (self.decibels(x_hat) - self.decibels(x)).square().mean(-2).sqrt()
        return apart, self._spectral[0].frames(counted)


class Bitrate(ModelMetric):
    """Bits per second of a quantiser's codes: ``bitrate`` with as many bits for each code as its codebook asks for, and
    ``bitrate_entropy`` with as many as codes that are as frequent as these need, each level for itself.
    """

    chosen: Tensor

    def __init__(self, model: Autoencoder) -> None:
        super().__init__()
        latent, spec = model.latent, model.spec
        self.add_state(
            "chosen", torch.zeros(latent.num_levels, latent.num_codes, dtype=torch.long), dist_reduce_fx="sum"
        )
        self._positions = math.prod(latent.shape[1:]) * (spec.rate or 1.0) / spec.shape[-1]

    @classmethod
    def applies(cls, model: Autoencoder) -> bool:
        return "codes" in model.latent.provides and model.latent.num_codes > 0 and model.spec.rate is not None

    def update(self, model: Autoencoder, out: ForwardOutput) -> None:
        assert out.latent.codes is not None
        codes = out.latent.codes.long().flatten(0, -2).T
        self.chosen = self.chosen.scatter_add(1, codes.clamp(min=0), (codes >= 0).long())

    def compute(self) -> dict[str, Tensor]:
        levels, codes = self.chosen.shape
        share = self.chosen.to(SUM_DTYPE) / self.chosen.sum(1, keepdim=True).clamp(min=1)
        entropy = -torch.special.xlogy(share, share).sum() / math.log(2)
        nominal = torch.tensor(levels * math.log2(codes) * self._positions, dtype=SUM_DTYPE)
        return {"bitrate": nominal, "bitrate_entropy": entropy * self._positions}
