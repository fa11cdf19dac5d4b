"""The base class of critics: networks with an optimizer and loss terms of their own."""

from __future__ import annotations

from typing import ClassVar

from torch import nn

from aeframe.types import ForwardOutput, LossTerms, Model, TrainingProgress


class Critic(nn.Module):
    """A network that is trained next to the autoencoder, such as the discriminator of a GAN.

    Its parameters form an optimizer group, named after the critic's label in the config section ``critics:``; that
    group minimises the loss terms of `terms` and nothing else. The objective and the penalties share the critic: they
    name it by label in an option ``critic``, and list the methods that they call in `used_critics`. The built-in parts
    call ``logit(z)`` (objectives adversarial and total_correlation), ``generator_loss(batch)`` (penalty adversarial)
    and ``features(batch)`` (penalty feature_matching).
    """

    feeds_reconstruction: ClassVar[bool] = False
    """Whether it receives the reconstruction, with a gradient, which data with classes do not have."""
    batch_terms: ClassVar[frozenset[str]] = frozenset()
    """Names of loss terms that compare the samples of a batch, so that a sample's value depends on the others."""
    start: int = 0
    """Index of the first training batch on which the critic is updated; the config sets it as
    ``optimizers.LABEL.start``.
    """

    def has_started(self, progress: TrainingProgress) -> bool:
        """Return whether training of the critic has begun; before that, terms computed with it have weight 0."""
        return progress.batch >= self.start

    def terms(self, model: Model, out: ForwardOutput, progress: TrainingProgress) -> LossTerms:
        """Return the loss terms that the critic minimises, ``(B,)`` each.

        `out` is the autoencoder's forward output, detached from its graph.
        """
        raise NotImplementedError
