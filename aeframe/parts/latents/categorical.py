"""The categorical latent: relaxed one-hot vectors (Gumbel-softmax)."""

from __future__ import annotations

import torch
from torch import Tensor

from aeframe.errors import AeframeError
from aeframe.parts.distributions.one_hot import OneHot
from aeframe.parts.latents.base import LatentSpace, latent_of
from aeframe.parts.networks.head import Head
from aeframe.parts.schedules import Schedule, fixed
from aeframe.tensors import at_least_float32
from aeframe.types import Latent, Shape, TrainingProgress


class Categorical(LatentSpace):
    """q(z|x) is `dim` independent variables of `classes` classes (Gumbel-softmax; Jang et al. 2017, arXiv 1611.01144).

    z is the concatenation of their one-hot vectors, ``(dim * classes,)``; the mean is the class probabilities. Samples
    are relaxed in training and one-hot in evaluation, so that the evaluated bound is that of the categorical model. The
    KL is that of the categorical distributions in both, as in Jang et al.; Maddison et al. (2017, arXiv 1611.00712) use
    the densities of the relaxation.

    Args:
        feature_shape: ``(C, *positions)``.
        dim: Number of variables.
        classes: Number of classes of each variable.
        temperature: Temperature of the relaxation in training, above 0; a number or a schedule.
        hard: Sample one-hot vectors in training too, with the gradient of the relaxed ones (straight through).
    """

    provides = frozenset({"posterior"})
    space = "simplex"
    tau: Tensor
    """``()``: the temperature at present."""

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
                f"a categorical latent needs dim of at least 1 and classes of at least 2, found {dim} and {classes}"
            )
        self.head = Head(feature_shape, dim * classes, spatial=False, groups=(classes,) * dim)
        self.shape, self.groups = (dim * classes,), (classes,) * dim
        self.temperature, self.hard = temperature, hard
        self.register_buffer("tau", torch.ones(()))
        # The temperature of batch 0; a schedule in fractions of the run needs a planned length.
        self.on_progress(TrainingProgress(planned=1))

    def on_progress(self, progress: TrainingProgress) -> None:
        """Set the temperature for the next training batch."""
        tau = self.temperature(progress)
        if tau <= 0:
            raise AeframeError(
                f"a categorical latent needs a temperature above 0, found {tau:g} at batch {progress.batch}"
            )
        self.tau.fill_(tau)

    def forward(self, features: Tensor, *, sample: bool) -> Latent:
        logits = at_least_float32(self.head(features)).unflatten(1, (len(self.groups), -1))
        posterior = OneHot(logits, self.tau, hard=self.hard or not self.training)
        return latent_of(posterior, posterior.mean, sample=sample)
