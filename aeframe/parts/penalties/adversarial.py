"""The adversarial penalty: a discriminator makes the reconstructions look like data."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from aeframe.devices import mean_over_devices
from aeframe.factory import build
from aeframe.parts.activations import MakeActivation
from aeframe.parts.networks.discriminators import PatchDiscriminator, by_sample
from aeframe.parts.networks.features import MakeEncoder
from aeframe.parts.objectives.base import Critic
from aeframe.parts.penalties.base import Penalty, first_output, reconstructed
from aeframe.parts.penalties.jacobian import squared_jacobian
from aeframe.parts.schedules import Schedule, fixed
from aeframe.tensors import per_sample
from aeframe.types import Batch, DataSpec, ForwardOutput, LossTerms, Model, TrainingProgress

Game = Literal["hinge", "vanilla", "non_saturating", "least_squares"]
_OfLogits = Callable[[Tensor], Tensor]
# What is minimised of the logits of data, of the logits of reconstructions, and by whoever made them.
_GAMES: dict[Game, tuple[_OfLogits, _OfLogits, _OfLogits]] = {
    "hinge": (lambda real: F.relu(1 - real), lambda fake: F.relu(1 + fake), lambda fake: -fake),
    "vanilla": (lambda real: F.softplus(-real), F.softplus, lambda fake: -F.softplus(fake)),
    "non_saturating": (lambda real: F.softplus(-real), F.softplus, lambda fake: F.softplus(-fake)),
    "least_squares": (lambda real: (real - 1).square(), torch.square, lambda fake: (fake - 1).square()),
}
_LARGEST = 1e4


class SampleDiscriminator(Critic):
    """Tell data from reconstructions: the second player of a VAE-GAN or a VQGAN. Options are those of the penalty."""

    def __init__(self, network: PatchDiscriminator, game: Game, lecam: Schedule, decay: float, r1: Schedule) -> None:
        super().__init__()
        self.network, self.game, self.lecam, self.decay, self.r1 = network, game, lecam, decay, r1
        # Sums of the logits of data, of reconstructions, and of ones, each older batch counting less: their ratios
        # are averages from the first batch on.
        self.register_buffer("averages", torch.zeros(3))

    def features(self, batch: Batch) -> list[Tensor]:
        """Return what it sees in samples, stage by stage, for feature matching: ``(B, C, *positions)`` each."""
        return self.network.features(batch)

    def fooled(self, batch: Batch) -> Tensor:
        """Return ``(B,)``: what a generator of this batch minimises."""
        return by_sample(_GAMES[self.game][2], self.network(batch))

    def terms(self, model: Model, out: ForwardOutput, progress: TrainingProgress) -> LossTerms:
        """Return ``real`` and ``fake``, and ``lecam`` and ``r1`` where they have a weight."""
        real, fake = self.network(out.batch), self.network(reconstructed(model, first_output(out), out.batch))
        of_real, of_fake, _ = _GAMES[self.game]
        terms = LossTerms().add("real", by_sample(of_real, real)).add("fake", by_sample(of_fake, fake))
        if (weight := self.lecam(progress)) > 0:
            terms.add("lecam", self._lecam(real, fake), weight)
        if (weight := self.r1(progress)) > 0:
            slope = squared_jacobian(lambda x: _mean(self.network(out.batch.with_x(x))).unsqueeze(1), out.batch.x)
            terms.add("r1", 0.5 * slope, weight)
        return terms

    def _lecam(self, real: list[Tensor], fake: list[Tensor]) -> Tensor:
        """Return ``(B,)``, with the averages of the batches before this one; then take this one into them."""
        averages: Tensor = self.averages  # type: ignore[assignment]
        of_real, of_fake = averages[:2] / averages[2].clamp(min=1e-12)
        value = by_sample(lambda logit: (logit - of_fake).square(), real)
        value = value + by_sample(lambda logit: (logit - of_real).square(), fake)
        if self.training and torch.is_grad_enabled():
            newest = mean_over_devices(torch.stack([_mean(real).mean(), _mean(fake).mean(), averages.new_ones(())]))
            averages.lerp_(newest, 1 - self.decay)
        return value


class AdversarialX(Penalty):
    """Reconstruct so that a discriminator of x takes it for data (Larsen et al. 2016, arXiv 1512.09300; VQGAN: Esser
    et al. 2021, arXiv 2012.09841).

    The discriminator is a player named ``discriminator_x``, beside the ``discriminator`` of z that an objective may
    hold; ``players.discriminator_x`` has its learning rate and its start. Its terms are the mean over a sample's
    patches, as are those it trains the autoencoder by: so a weight means the same at every size of x and of patch.
    Of K importance samples the first is judged.

    Args:
        weight: Of the term; for a start later in the run ``{name: linear, end: 0.1, over: 0, delay: 0.25}``.
        loss: ``hinge``: max(0, 1 - D(x)) + max(0, 1 + D(x_hat)), the autoencoder minimises -D(x_hat) (Lim & Ye 2017,
            arXiv 1705.02894). ``vanilla``: cross-entropy, the autoencoder minimises log(1 - sigmoid D(x_hat));
            ``non_saturating``: the same, but -log sigmoid D(x_hat) (both Goodfellow et al. 2014, arXiv 1406.2661).
            ``least_squares``: squared distance from 1 and 0 (Mao et al. 2017, arXiv 1611.04076).
        adaptive: Weigh each sample's term so that it pulls as hard as its reconstruction loss (times `weight`).
            VQGAN's ratio of gradient norms is by the decoder's last weights, one number for a batch; here it is by
            the decoder's output, |d rec / d output| / (|d adv / d output| + 1e-4), at most 1e4, which is a sample's
            own. The term then has the unit of the reconstruction.
        lecam: Weight of LeCam regularisation, the squared distance of the logits of data from the average of those of
            reconstructions, and the other way round (Tseng et al. 2021, arXiv 2104.03310); 0 leaves it
            out. Their code takes one side of each distance only; here it is the paper's, of which their theory is.
        lecam_decay: Of those averages, for each batch.
        r1: Weight of half the squared norm of the discriminator's gradient at data (Mescheder, Geiger & Nowozin 2018,
            arXiv 1801.04406); 0 leaves it out.
        network: The discriminator's body, an encoder; null takes strided convolutions, or dense layers for flat data.
        scales: Discriminators, each of x at half the size of the one before.
    """

    def __init__(
        self,
        spec: DataSpec,
        activation: MakeActivation,
        *,
        weight: Schedule = fixed(0.1),
        loss: Game = "hinge",
        adaptive: bool = False,
        lecam: Schedule = fixed(0.0),
        lecam_decay: float = 0.99,
        r1: Schedule = fixed(0.0),
        network: MakeEncoder | None = None,
        scales: int = 1,
    ) -> None:
        super().__init__()
        self.weight, self.adaptive = weight, adaptive
        body = PatchDiscriminator(spec, network or MakeEncoder.usual(spec, build), activation, scales=scales)
        self.discriminator_x = SampleDiscriminator(body, loss, lecam, lecam_decay, r1)

    def weight_at(self, model: Model, progress: TrainingProgress) -> float:
        return self.discriminator_x.weight_from_start(self.weight, progress)

    def forward(self, model: Model, out: ForwardOutput) -> Tensor:
        output = first_output(out)
        if not self.adaptive:
            return self.discriminator_x.fooled(reconstructed(model, output, out.batch))
        # In evaluation gradients are off around us, but the weight is made of them.
        with torch.enable_grad():
            output = output if output.requires_grad else output.detach().requires_grad_()
            value = self.discriminator_x.fooled(reconstructed(model, output, out.batch))
            (pull,) = torch.autograd.grad(model.loss(output, out.batch).sum(), output)
            (push,) = torch.autograd.grad(value.sum(), output, retain_graph=True)
        return value * (_norm(pull) / (_norm(push) + 1e-4)).clamp(max=_LARGEST)


def _mean(logits: list[Tensor]) -> Tensor:
    return by_sample(lambda logit: logit, logits)


def _norm(gradient: Tensor) -> Tensor:
    return per_sample(gradient.square()).sqrt()
