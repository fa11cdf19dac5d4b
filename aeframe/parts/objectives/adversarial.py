"""The adversarial objective: a discriminator makes the aggregate posterior look like the prior."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from aeframe.parts.activations import MakeActivation
from aeframe.parts.networks.mlp import dense_layers
from aeframe.parts.objectives.base import Critic, Objective, is_needed, reconstruction_terms
from aeframe.parts.schedules import Schedule, fixed
from aeframe.tensors import at_least_float32
from aeframe.types import ForwardOutput, LossTerms, Model, Shape, TrainingProgress


class CodeDiscriminator(Critic):
    """Tell draws from the prior from codes of data: the second player of an adversarial autoencoder."""

    def __init__(self, z_shape: Shape, hidden: tuple[int, ...], activation: MakeActivation | None) -> None:
        super().__init__()
        sizes = [math.prod(z_shape), *hidden]
        self.layers = nn.Sequential(
            nn.Flatten(), dense_layers(sizes, activation, norm=False, dropout=0.0), nn.Linear(sizes[-1], 1)
        )

    def forward(self, z: Tensor) -> Tensor:
        """Return ``(B,)``, the logit that z ``(B, *z_shape)`` was drawn from the prior."""
        return self.layers(at_least_float32(z)).squeeze(1)

    def terms(self, model: Model, out: ForwardOutput, progress: TrainingProgress) -> LossTerms:
        """Return the cross-entropy of telling both kinds apart, in nats, one draw from the prior for each sample."""
        with torch.no_grad():
            real = self.real(model, out.latent.z)
        return LossTerms().add("real", F.softplus(-self(real))).add("fake", F.softplus(self(out.latent.z)))

    def real(self, model: Model, z: Tensor) -> Tensor:
        """Return what codes z ``(B, *z_shape)`` are to be taken for, as many."""
        return model.prior.sample(len(z))


class Adversarial(Objective):
    """Reconstruct, and fool a discriminator of z (Makhzani et al. 2016, arXiv 1511.05644).

    The autoencoder minimises reconstruction + weight * -log D(z), the non-saturating form (Goodfellow et al. 2014,
    arXiv 1406.2661), in the same step; the paper alternates two steps of the same two losses.

    Args:
        weight: Of the term that fools; a number or a schedule.
        hidden: Sizes of the discriminator's dense layers.
        activation: Of the discriminator; null takes the run's.
    """

    def __init__(
        self,
        z_shape: Shape,
        *,
        weight: Schedule = fixed(1.0),
        hidden: tuple[int, ...] = (256, 256),
        activation: MakeActivation | None = None,
    ) -> None:
        super().__init__()
        self.weight = weight
        self.discriminator = CodeDiscriminator(z_shape, hidden, activation)

    def forward(self, model: Model, out: ForwardOutput, progress: TrainingProgress) -> LossTerms:
        terms = reconstruction_terms(model, out, progress)
        weight = self.discriminator.weight_from_start(self.weight, progress)
        if is_needed(model, weight):
            terms.add("adversarial", F.softplus(-self.discriminator(out.latent.z)), weight)
        return terms
