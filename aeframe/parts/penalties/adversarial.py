"""The adversarial penalty: the generator's loss of a GAN, for reconstructions."""

from __future__ import annotations

import torch
from torch import Tensor

from aeframe.parts.penalties.base import Penalty, with_reconstruction
from aeframe.parts.schedules import Schedule, fixed
from aeframe.tensors import per_sample
from aeframe.types import ForwardOutput, Model, TrainingProgress

_MAX_RATIO = 1e4


class AdversarialPenalty(Penalty):
    """The generator's loss of the reconstruction, by a discriminator of x (VAE-GAN: Larsen et al. 2016, arXiv
    1512.09300; VQGAN: Esser et al. 2021, arXiv 2012.09841).

    The discriminator is a critic; its options, such as the kind of loss, are ``critics.discriminator_x.*``, its
    optimizer and start ``optimizers.discriminator_x.*``.

    Args:
        weight: Weight of the term. To start later in the run: ``{name: linear, end: 0.1, over: 0, delay: 0.25}``.
        adaptive: Scale each sample's term so that its gradient has the norm of the reconstruction's gradient (times
            `weight`). The term then has the unit of the reconstruction. The factor of a sample is
            |d rec / d output| / (|d adv / d output| + 1e-4), at most 1e4, where ``output`` is the decoder's output,
            ``rec`` the reconstruction loss and ``adv`` this term. VQGAN takes the gradients with respect to the
            decoder's last weights, and one factor for a batch.
        critic: Label of the discriminator in ``critics:``.
    """

    feeds_reconstruction = True

    def __init__(
        self, *, weight: Schedule = fixed(0.1), adaptive: bool = False, critic: str = "discriminator_x"
    ) -> None:
        super().__init__()
        self.weight, self.adaptive, self.critic = weight, adaptive, critic
        self.used_critics = {critic: ("generator_loss",)}

    def weight_at(self, model: Model, progress: TrainingProgress) -> float:
        return self.weight(progress) if model.critics[self.critic].has_started(progress) else 0.0

    def forward(self, model: Model, out: ForwardOutput) -> Tensor:
        if not self.adaptive:
            return self._generator_loss(model, out, out.output)
        # Evaluation disables gradients, but the factor needs them.
        with torch.enable_grad():
            output = out.output if out.output.requires_grad else out.output.detach().requires_grad_()
            adversarial_loss = self._generator_loss(model, out, output)
            (reconstruction_gradient,) = torch.autograd.grad(model.loss(output, out.batch).sum(), output)
            (adversarial_gradient,) = torch.autograd.grad(adversarial_loss.sum(), output, retain_graph=True)
        ratio = _norm(reconstruction_gradient) / (_norm(adversarial_gradient) + 1e-4)
        return adversarial_loss * ratio.clamp(max=_MAX_RATIO)

    def _generator_loss(self, model: Model, out: ForwardOutput, output: Tensor) -> Tensor:
        loss: Tensor = model.critics[self.critic].generator_loss(with_reconstruction(model, output, out.batch))
        return loss


def _norm(gradient: Tensor) -> Tensor:
    """Return ``(B,)``: the norm of each sample's gradient."""
    return per_sample(gradient.square()).sqrt()
