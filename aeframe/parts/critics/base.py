"""The base class of critics: networks with an optimizer and loss terms of their own."""

from __future__ import annotations

from typing import ClassVar

from torch import nn

from aeframe.types import ForwardOutput, LossTerms, Model, TrainingProgress


class Critic(nn.Module):
    """A network that is trained next to the autoencoder, such as the discriminator of a GAN.

    Its parameters are an optimizer group, named after its label in ``critics:``; that group minimises `terms` and
    nothing else. The objective and the penalties share it: they name it by label in an option ``critic``, and list the
    methods that they call in `used_critics`. The methods of the built-in parts are ``logit(z)`` (objectives adversarial
    and total_correlation), ``generator_loss(batch)`` (penalty adversarial) and ``features(batch)`` (penalty
    feature_matching).
    """

    batch_terms: ClassVar[frozenset[str]] = frozenset()
    """Names of terms that compare the samples of a batch, so that a sample's value depends on the others."""
    start: int = 0
    """First training batch with an update, from ``optimizers.LABEL.start``."""

    def has_started(self, progress: TrainingProgress) -> bool:
        """Return whether training of the critic has begun; before that, terms computed with it have weight 0."""
        return progress.batch >= self.start

    def terms(self, model: Model, out: ForwardOutput, progress: TrainingProgress) -> LossTerms:
        """Return the terms that the critic minimises, each ``(B,)``; `out` is detached from the graph."""
        raise NotImplementedError
