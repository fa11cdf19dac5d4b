"""What people measure on reconstructed images."""

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
from aeframe_image.similarity import ssim

if TYPE_CHECKING:
    from aeframe.model.autoencoder import Autoencoder

_CAP_DB = 100.0


def psnr(reconstruction: Tensor, x: Tensor, span: float) -> Tensor:
    """Return the peak signal-to-noise ratio ``(B,)`` of images ``(B, C, H, W)`` in dB: 10 log10(span^2 / mean error^2).

    `span` is the width of the values' range. A perfect image would have infinitely many dB; 100 is the most that is
    given.
    """
    error = (reconstruction - x).square().flatten(1).mean(1) / span**2
    return -10 * error.clamp_min(10 ** (-_CAP_DB / 10)).log10()


class _PerImage(ModelMetric):
    """The mean over images of a number that each image has.

    Where a part is masked, or a corruption has left it visible, it stands in both images as it is: the number is of the
    image with the rest filled in.
    """

    total: Tensor
    num_images: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.add_state("total", torch.zeros((), dtype=SUM_DTYPE), dist_reduce_fx="sum")
        self.add_state("num_images", torch.zeros((), dtype=SUM_DTYPE), dist_reduce_fx="sum")

    @classmethod
    def applies(cls, model: Autoencoder) -> bool:
        return len(model.spec.shape) == 3 and math.isfinite(_span(model))

    def update(self, model: Autoencoder, out: ForwardOutput) -> None:
        # What a mask hides, or a corruption left visible, is no part of what was reconstructed: there is no error.
        counted, x = evaluated_elements(out), out.batch.visible().float()
        values = self.measure(torch.where(counted, model.loss.mean(out.output).float(), x), x, _span(model))
        self.total = self.total + values.sum(dtype=SUM_DTYPE)
        self.num_images = self.num_images + len(values)

    def measure(self, reconstruction: Tensor, x: Tensor, span: float) -> Tensor:
        """Return one number ``(B,)`` for each image."""
        raise NotImplementedError

    def compute(self) -> Tensor:
        return self.total / self.num_images


class PSNR(_PerImage):
    """Peak signal-to-noise ratio in dB, the mean over images of each image's own, over the range of the domain.

    It is not that of the mean error over all images, which is lower wherever images differ in difficulty.
    """

    higher_is_better = True

    def measure(self, reconstruction: Tensor, x: Tensor, span: float) -> Tensor:
        return psnr(reconstruction, x, span)


class SSIM(_PerImage):
    """Structural similarity, at most 1, the mean over images (Wang, Bovik, Sheikh & Simoncelli 2004)."""

    higher_is_better = True

    @classmethod
    def applies(cls, model: Autoencoder) -> bool:
        # The smallest window is 3 x 3.
        return super().applies(model) and min(model.spec.shape[1:]) >= 3

    def measure(self, reconstruction: Tensor, x: Tensor, span: float) -> Tensor:
        return ssim(reconstruction, x, span)


class BitsPerDimension(ModelMetric):
    """The bound in bits for each number of a sample: nats / (elements x ln 2), of models whose data are discrete.

    It bounds what the model, as a code, would need to send an image without loss. It is measured where the likelihood
    is a distribution over the values of the data themselves (``discretised_logistic_mixture`` over grey values,
    ``bernoulli`` on binary data, ``categorical``) and z has a posterior: a density of continuous values, or a
    reconstruction alone, says no such thing.
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
        bound = model.objective(model, out, TrainingProgress()).bound
        if bound is None:
            return
        x, mask = out.batch.x, out.batch.mask
        counted = x.numel() if mask is None else broadcast_mask(mask, x.ndim).expand_as(x).sum()
        self.total = self.total + bound.sum(dtype=SUM_DTYPE)
        self.count = self.count + counted

    def compute(self) -> Tensor:
        return self.total / (self.count * math.log(2))


def _span(model: Autoencoder) -> float:
    low, high = model.spec.domain.bounds
    return high - low
