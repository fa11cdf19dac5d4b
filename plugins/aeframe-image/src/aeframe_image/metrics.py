"""Metrics of reconstructed images: PSNR, SSIM and bits per dimension."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from aeframe.evaluation.metrics.base import SUM_DTYPE, ModelMetric
from aeframe.evaluation.metrics.reconstruction import evaluated_elements
from aeframe.parts.losses.likelihoods import Bernoulli, Categorical
from aeframe.parts.losses.logistic_mixture import LogisticMixture
from aeframe.tensors import broadcast_mask
from aeframe.types import ForwardOutput, TrainingProgress
from aeframe_image.similarity import ssim, value_span

if TYPE_CHECKING:
    from aeframe.model.autoencoder import Autoencoder

_MAX_DB = 100.0


def psnr(reconstruction: Tensor, x: Tensor, span: float) -> Tensor:
    """Return the peak signal-to-noise ratio ``(B,)`` of images ``(B, C, H, W)`` in dB: 10 log10(span^2 / MSE).

    `span` is the width of the value range. The ratio is capped at 100 dB; a perfect reconstruction would be infinite.
    """
    error = (reconstruction - x).square().flatten(1).mean(1) / span**2
    return -10 * error.clamp_min(10 ** (-_MAX_DB / 10)).log10()


class _PerImage(ModelMetric):
    """The base class of metrics that are a mean over images.

    Masked pixels count as reconstructed without error. So do pixels that a corruption left visible, if it hides pixels
    from the encoder.
    """

    total: Tensor
    num_images: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.add_state("total", torch.zeros((), dtype=SUM_DTYPE), dist_reduce_fx="sum")
        self.add_state("num_images", torch.zeros((), dtype=SUM_DTYPE), dist_reduce_fx="sum")

    @classmethod
    def applies(cls, model: Autoencoder) -> bool:
        return len(model.spec.shape) == 3 and math.isfinite(value_span(model.spec.domain))

    def update(self, model: Autoencoder, out: ForwardOutput) -> None:
        is_evaluated, x = evaluated_elements(out), out.batch.masked_x().float()
        reconstruction = torch.where(is_evaluated, model.loss.mean(out.output).float(), x)
        values = self.measure(reconstruction, x, value_span(model.spec.domain))
        self.total = self.total + values.sum(dtype=SUM_DTYPE)
        self.num_images = self.num_images + len(values)

    def measure(self, reconstruction: Tensor, x: Tensor, span: float) -> Tensor:
        """Return the metric ``(B,)`` of each image; `span` is the width of the value range."""
        raise NotImplementedError

    def compute(self) -> Tensor:
        return self.total / self.num_images


class PSNR(_PerImage):
    """Peak signal-to-noise ratio in dB with the value range of the domain as the peak, averaged over images.

    The PSNR of the mean squared error over all images would be lower.
    """

    higher_is_better = True

    def measure(self, reconstruction: Tensor, x: Tensor, span: float) -> Tensor:
        return psnr(reconstruction, x, span)


class SSIM(_PerImage):
    """Structural similarity, at most 1, averaged over images (Wang, Bovik, Sheikh & Simoncelli 2004)."""

    higher_is_better = True

    @classmethod
    def applies(cls, model: Autoencoder) -> bool:
        # The smallest window is 3 x 3.
        return super().applies(model) and min(model.spec.shape[1:]) >= 3

    def measure(self, reconstruction: Tensor, x: Tensor, span: float) -> Tensor:
        return ssim(reconstruction, x, span)


class BitsPerDimension(ModelMetric):
    """The bound on the negative log-likelihood in bits per dimension: nats / (elements x ln 2).

    It bounds the code length of lossless compression with the model. It applies to models with a posterior whose
    likelihood is a distribution over discrete data: ``discretised_logistic_mixture`` (grey values), ``bernoulli`` on
    binary data, ``categorical``.
    """

    sampled = True
    higher_is_better = False
    total: Tensor
    count: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.add_state("total", torch.zeros((), dtype=SUM_DTYPE), dist_reduce_fx="sum")
        self.add_state("count", torch.zeros((), dtype=SUM_DTYPE), dist_reduce_fx="sum")

    @classmethod
    def applies(cls, model: Autoencoder) -> bool:
        discrete = isinstance(model.loss, (LogisticMixture, Categorical)) or (
            isinstance(model.loss, Bernoulli) and model.spec.domain.kind == "binary"
        )
        return discrete and "posterior" in model.latent.provides

    def update(self, model: Autoencoder, out: ForwardOutput) -> None:
        # Scheduled weights do not enter the bound, so any training progress serves.
        bound = model.objective(model, out, TrainingProgress()).bound
        if bound is None:
            return
        x, mask = out.batch.x, out.batch.mask
        num_elements = x.numel() if mask is None else broadcast_mask(mask, x.ndim).expand_as(x).sum()
        self.total = self.total + bound.sum(dtype=SUM_DTYPE)
        self.count = self.count + num_elements

    def compute(self) -> Tensor:
        return self.total / (self.count * math.log(2))
