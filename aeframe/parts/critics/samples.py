"""Critics of x: a discriminator between data and reconstructions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from aeframe.devices import mean_over_batch
from aeframe.factory import build
from aeframe.parts.activations import MakeActivation
from aeframe.parts.critics.base import Critic
from aeframe.parts.networks.discriminators import PatchDiscriminator, mean_over_patches
from aeframe.parts.networks.features import MakeEncoder
from aeframe.parts.penalties.base import with_reconstruction
from aeframe.parts.penalties.jacobian import squared_jacobian
from aeframe.parts.schedules import Schedule, fixed
from aeframe.types import Batch, DataSpec, ForwardOutput, LossTerms, Model, TrainingProgress

GanLossName = Literal["hinge", "vanilla", "non_saturating", "least_squares"]


class GanLoss(NamedTuple):
    """Functions of the discriminator's logits: its losses for data (`real`) and for reconstructions (`fake`), and the
    generator's loss for reconstructions.
    """

    real: Callable[[Tensor], Tensor]
    fake: Callable[[Tensor], Tensor]
    generator: Callable[[Tensor], Tensor]


GAN_LOSSES: dict[GanLossName, GanLoss] = {
    "hinge": GanLoss(lambda real: F.relu(1 - real), lambda fake: F.relu(1 + fake), lambda fake: -fake),
    "vanilla": GanLoss(lambda real: F.softplus(-real), F.softplus, lambda fake: -F.softplus(fake)),
    "non_saturating": GanLoss(lambda real: F.softplus(-real), F.softplus, lambda fake: F.softplus(-fake)),
    "least_squares": GanLoss(lambda real: (real - 1).square(), torch.square, lambda fake: (fake - 1).square()),
}


class DiscriminatorX(Critic):
    """A classifier of data against reconstructions (VAE-GAN: Larsen et al. 2016, arXiv 1512.09300; VQGAN: Esser et al.
    2021, arXiv 2012.09841).

    It returns a logit for each patch of a sample. Every loss term is the mean over patches, so its scale does not
    depend on the size of x or of a patch.

    Args:
        loss: ``hinge``: max(0, 1 - D(x)) + max(0, 1 + D(x_hat)), the autoencoder minimises -D(x_hat) (Lim & Ye 2017,
            arXiv 1705.02894). ``vanilla``: cross-entropy, the autoencoder minimises log(1 - sigmoid D(x_hat));
            ``non_saturating``: the same, but -log sigmoid D(x_hat) (both Goodfellow et al. 2014, arXiv 1406.2661).
            ``least_squares``: squared distance from 1 and 0 (Mao et al. 2017, arXiv 1611.04076).
        lecam: Weight of LeCam regularisation: the squared distance of the logits of data from the running average of
            the logits of reconstructions, and vice versa (Tseng et al. 2021, arXiv 2104.03310). The authors' code
            clips each distance on one side; here, as in the paper, it is not clipped. 0 leaves it out.
        lecam_decay: Decay of the running averages, per batch.
        r1: Weight of half the squared norm of the logit's gradient at data (Mescheder, Geiger & Nowozin 2018,
            arXiv 1801.04406). 0 leaves it out.
        network: The encoder that extracts the features; null takes strided convolutions, or dense layers for flat data.
        scales: Number of networks; each receives x at half the resolution of the previous one.
    """

    feeds_reconstruction = True

    averages: Tensor
    """``(3,)``: exponentially decayed sums over batches of the mean logit of data, the mean logit of reconstructions,
    and 1. The first two divided by the third are the running averages, without bias from the initial zeros."""

    def __init__(
        self,
        spec: DataSpec,
        activation: MakeActivation,
        *,
        loss: GanLossName = "hinge",
        lecam: Schedule = fixed(0.0),
        lecam_decay: float = 0.99,
        r1: Schedule = fixed(0.0),
        network: MakeEncoder | None = None,
        scales: int = 1,
    ) -> None:
        super().__init__()
        self.network = PatchDiscriminator(spec, network or MakeEncoder.usual(spec, build), activation, scales=scales)
        self.loss, self.lecam, self.decay, self.r1 = loss, lecam, lecam_decay, r1
        self.register_buffer("averages", torch.zeros(3))

    def features(self, batch: Batch) -> list[Tensor]:
        """Return the network's features after each stage: ``(B, C, *positions)`` each."""
        return self.network.features(batch)

    def generator_loss(self, batch: Batch) -> Tensor:
        """Return ``(B,)``: the generator's loss for a batch with reconstructions as x."""
        return mean_over_patches(GAN_LOSSES[self.loss].generator, self.network(batch))

    def terms(self, model: Model, out: ForwardOutput, progress: TrainingProgress) -> LossTerms:
        """Return the loss terms ``real`` and ``fake``, and ``lecam`` and ``r1`` while their weights are above 0."""
        real = self.network(out.batch)
        fake = self.network(with_reconstruction(model, out.output, out.batch))
        loss = GAN_LOSSES[self.loss]
        terms = LossTerms().add("real", mean_over_patches(loss.real, real))
        terms.add("fake", mean_over_patches(loss.fake, fake))
        if (weight := self.lecam(progress)) > 0:
            terms.add("lecam", self._lecam(real, fake), weight)
        if (weight := self.r1(progress)) > 0:
            squared_norm = squared_jacobian(
                lambda x: _mean_logit(self.network(out.batch.with_x(x))).unsqueeze(1), out.batch.x
            )
            terms.add("r1", 0.5 * squared_norm, weight)
        return terms

    def _lecam(self, real: list[Tensor], fake: list[Tensor]) -> Tensor:
        """Return the LeCam term ``(B,)``, computed with the averages over earlier batches.

        In training, the averages are updated afterwards.
        """
        average_real, average_fake = self.averages[:2] / self.averages[2].clamp(min=1e-12)
        value = mean_over_patches(lambda logit: (logit - average_fake).square(), real)
        value = value + mean_over_patches(lambda logit: (logit - average_real).square(), fake)
        if self.training and torch.is_grad_enabled():
            batch_means = [_mean_logit(real).mean(), _mean_logit(fake).mean(), self.averages.new_ones(())]
            self.averages.lerp_(mean_over_batch(torch.stack(batch_means)), 1 - self.decay)
        return value


def _mean_logit(logits: list[Tensor]) -> Tensor:
    """Return ``(B,)``: the logit averaged over patches and scales."""
    return mean_over_patches(lambda logit: logit, logits)
