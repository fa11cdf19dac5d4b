"""The picture, in order and in pure torch.

x -> corruption -> encoder -> latent -> decoder -> loss
                                |                   |
                              prior -> objective <--+
                                          ^
                                 penalties, critics
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor, nn

from aeframe.errors import AeframeError
from aeframe.parts.corruptions import Corruption
from aeframe.parts.critics.base import Critic
from aeframe.parts.latents.base import LatentSpace
from aeframe.parts.losses.base import Loss
from aeframe.parts.networks.base import Decoder, Encoder
from aeframe.parts.objectives.base import Objective, is_computed
from aeframe.parts.penalties.base import Penalty
from aeframe.parts.priors.base import Prior
from aeframe.types import Batch, DataSpec, ForwardOutput, Latent, LossTerms, Shape, TrainingProgress


class Autoencoder(nn.Module):
    """A recipe of parts, wired.

    `condition_encoder` lets the encoder see the condition too, as channels beside x; the decoder always sees it,
    beside z.
    """

    def __init__(
        self,
        spec: DataSpec,
        *,
        corruption: Corruption,
        encoder: Encoder,
        latent: LatentSpace,
        prior: Prior,
        decoder: Decoder,
        loss: Loss,
        objective: Objective,
        penalties: Mapping[str, Penalty] | None = None,
        critics: Mapping[str, Critic] | None = None,
        condition_encoder: bool = True,
    ) -> None:
        super().__init__()
        self.spec = spec
        self.condition_encoder = condition_encoder and spec.condition > 0
        self.corruption = corruption
        self.encoder = encoder
        self.latent = latent
        self.prior = prior
        self.decoder = decoder
        self.loss = loss
        self.objective = objective
        self.penalties = nn.ModuleDict(dict(penalties or {}))
        self.critics = nn.ModuleDict(dict(critics or {}))

    # -- the picture ---------------------------------------------------------------------------------------------

    def forward(
        self,
        batch: Batch,
        *,
        sample: bool | None = None,
        num_samples: int | None = None,
        features: Tensor | None = None,
    ) -> ForwardOutput:
        """Take a batch all the way.

        Args:
            batch: x ``(B, *shape)``.
            sample: Draw z from its posterior, or take the mean; by default drawn in training and the mean otherwise.
            num_samples: K importance samples for each x.
            features: `ForwardOutput.features` of the same batch and corruption; the encoder is not run again.
        """
        seen = self.corruption(batch) if self.training or self.corruption.in_evaluation else batch
        draw = self.training if sample is None else sample
        if features is None:
            features = self.encode_features(seen)
        latent: Latent = self.latent(features, sample=draw, num_samples=num_samples)
        if draw:
            latent = self.latent.refine_posterior(latent, self, batch)
        latent = self.objective.combine_posteriors(self, latent, batch, sample=draw)
        output = self._decoded(latent.z, latent.decoder_input, batch)
        return ForwardOutput(batch, seen, latent, output, self.loss(output, batch), features)

    def embed(self, batch: Batch, *, sample: bool = False, num_samples: int | None = None) -> Latent:
        """Return the code of a batch as it is, with no corruption."""
        latent: Latent = self.latent(self.encode_features(batch), sample=sample, num_samples=num_samples)
        return latent

    def encode_features(self, batch: Batch) -> Tensor:
        """Return the encoder's features ``(B, C, *positions)`` of a batch as it is."""
        if self.condition_encoder:
            batch = replace(
                batch, x=append_condition(batch.x, batch.condition), mask=_widened(batch.mask, self.spec.condition)
            )
        features: Tensor = self.encoder(batch)
        return features

    def decode(
        self,
        z: Tensor,
        batch: Batch | None = None,
        *,
        condition: Tensor | None = None,
        like: Batch | None = None,
        draw: bool = False,
    ) -> Tensor:
        """Return the loss's parameters ``(B, outputs, *shape)`` of z ``(B, *z_shape)``.

        With importance samples, ``(K, B, *z_shape)`` gives ``(K, B, outputs, *shape)``.

        Args:
            z: The codes.
            batch: The clean samples, for a decoder that is taught by them; None where something new is decoded.
            condition: ``(B, C)``, in place of the batch's.
            like: The samples whose own sizes the output takes (see `Loss.postprocess`), in place of the batch.
            draw: What is new is drawn, by a decoder that goes on from what it has said itself (see `Decoder.generate`).
        """
        return self._decoded(z, None, batch, condition=condition, like=like, draw=draw)

    def _decoded(
        self,
        z: Tensor,
        read: Tensor | None,
        batch: Batch | None,
        *,
        condition: Tensor | None = None,
        like: Batch | None = None,
        draw: bool = False,
    ) -> Tensor:
        if z.ndim > len(self.latent.shape) + 1:
            # Samples become rows: no decoder needs to know of them.
            k = z.shape[0]

            def repeated(t: Tensor) -> Tensor:
                return t.expand(k, *t.shape).flatten(0, 1)

            output = self._decoded(
                z.flatten(0, 1),
                None if read is None else read.flatten(0, 1),
                None if batch is None else batch.map(repeated),
                condition=None if condition is None else repeated(condition),
                like=None if like is None else like.map(repeated),
                draw=draw,
            )
            return output.unflatten(0, (k, -1))
        read = self.latent.decoder_input(z) if read is None else read
        if condition is None and batch is not None:
            condition = batch.condition
        if self.spec.condition:
            read = append_condition(read, condition)
        output = self.decoder.generate(read, draw=draw) if batch is None else self.decoder(read, batch)
        return self.loss.postprocess(output, batch if like is None else like, condition)

    def terms(self, out: ForwardOutput, progress: TrainingProgress) -> LossTerms:
        """Return the terms that the autoencoder minimises, without those of its critics.

        In training a penalty of weight 0 is not computed and has no term; in evaluation every penalty has one.
        """
        terms: LossTerms = self.objective(self, out, progress)
        for name, penalty in self.penalties.items():
            assert isinstance(penalty, Penalty)
            weight = penalty.weight_at(self, progress)
            if is_computed(self, weight):
                terms.add(name, penalty(self, out), weight)
        return terms

    def critic_terms(self, out: ForwardOutput, progress: TrainingProgress) -> dict[str, LossTerms]:
        """Return the terms that each critic minimises, by the critic's label; no gradient reaches the autoencoder."""
        terms = {}
        for label, critic in self.critics.items():
            assert isinstance(critic, Critic)
            terms[label] = critic.terms(self, out.detach(), progress)
        return terms

    def set_progress(self, progress: TrainingProgress) -> None:
        """Tell the latent where the run stands; called before each training batch.

        What it makes of that (a temperature, ...) is kept in buffers, so that evaluation, a checkpoint and a saved
        model have it as training left it.
        """
        self.latent.on_progress(progress)

    @property
    def batch_terms(self) -> frozenset[str]:
        """The names of the terms that compare the samples of a batch; those of a critic follow its label."""
        names = {label for label, penalty in self.penalties.items() if penalty.batch_term}
        for label, critic in self.critics.items():
            assert isinstance(critic, Critic)
            names |= {f"{label}/{name}" for name in critic.batch_terms}
        return self.objective.batch_terms | self.latent.batch_terms | names

    # -- sampling ------------------------------------------------------------------------------------------------

    @torch.no_grad()
    def generate(
        self, z: Tensor, *, condition: Tensor | None = None, like: Batch | None = None, draw: bool = False
    ) -> Tensor:
        """Return data ``(B, *shape)`` of z: the mean of the likelihood, or a draw from it.

        What lies beyond the bounds of the domain is brought back to them: a Gaussian does not know that a pixel
        cannot be blacker than black.
        """
        output = self.decode(z, condition=condition, like=like, draw=draw)
        x = self.loss.sample(output) if draw else self.loss.mean(output)
        low, high = self.spec.domain.bounds
        return x if math.isinf(low) and math.isinf(high) else x.clamp(low, high)


def append_condition(value: Tensor, condition: Tensor | None) -> Tensor:
    """Put the condition ``(B, C)`` beside a value ``(B, channels, *positions)``, the same at every position."""
    if condition is None:
        raise AeframeError("this model was built for data with a condition; give one, of shape (B, C)")
    positions = value.shape[2:]
    spread = condition.to(value.dtype).reshape(*condition.shape, *[1] * len(positions)).expand(-1, -1, *positions)
    return torch.cat([value, spread], dim=1)


def _widened(mask: Tensor | None, condition: int) -> Tensor | None:
    """Return the mask of x with a condition beside it, which always counts."""
    if mask is None or mask.ndim == 1:
        return mask
    return torch.cat([mask, mask.new_ones(mask.shape[0], condition, *mask.shape[2:])], dim=1)


def shape_with_condition(shape: Shape, condition: int) -> Shape:
    """Return the shape that `join` gives."""
    return (shape[0] + condition, *shape[1:])
