"""The categorical latent: relaxed one-hot classes."""

from __future__ import annotations

import torch
from torch import Tensor

from aeframe.batch import Clock, Latent, Shape, single
from aeframe.errors import AeframeError
from aeframe.parts.distributions.one_hot import OneHot
from aeframe.parts.latents.base import Head, LatentSpace, drawn
from aeframe.parts.schedules import Schedule, fixed


class Categorical(LatentSpace):
    """q(z|x) is `dim` independent variables of `classes` classes (Gumbel-softmax; Jang et al. 2017, arXiv 1611.01144).

    z is their rows of `classes` numbers, side by side: ``(dim * classes,)``. Its mean is their probabilities. In
    evaluation a draw is one-hot, so the bound is that of the model of classes, and not of its relaxation, which
    Maddison et al. (2017, arXiv 1611.00712) take the densities of; Jang et al. are followed, with the KL of the
    classes in both.

    Args:
        feature_shape: ``(C, *positions)``.
        dim: How many variables there are.
        classes: How many classes each has.
        temperature: Of the rows drawn in training, above 0; a number or a schedule.
        hard: Rows are one-hot in training too, with the gradient of the relaxed ones (straight through).
    """

    gives = frozenset({"posterior"})
    space = "simplex"
    tau: Tensor

    def __init__(
        self,
        feature_shape: Shape,
        *,
        dim: int = 16,
        classes: int = 10,
        temperature: Schedule = fixed(2 / 3),
        hard: bool = False,
    ) -> None:
        super().__init__()
        if dim < 1 or classes < 2:
            raise AeframeError(
                f"classes of a latent need dim of at least 1 and classes of at least 2, found {dim} and {classes}"
            )
        self.head = Head(feature_shape, dim * classes, spatial=False)
        self.shape, self.groups = (dim * classes,), (classes,) * dim
        self.temperature, self.hard = temperature, hard
        self.register_buffer("tau", torch.ones(()))
        self.on_clock(Clock(planned=1))

    def on_clock(self, clock: Clock) -> None:
        """Take the temperature of this moment."""
        tau = self.temperature(clock)
        if tau <= 0:
            raise AeframeError(f"classes of a latent need a temperature above 0, found {tau:g} at batch {clock.batch}")
        self.tau.fill_(tau)

    def forward(self, features: Tensor, *, sample: bool, num_samples: int | None = None) -> Latent:
        logits = single(self.head(features)).unflatten(1, (len(self.groups), -1))
        posterior = OneHot(logits, self.tau, hard=self.hard or not self.training)
        return drawn(posterior, posterior.mean, sample=sample, num_samples=num_samples)
