"""`Autoencoder`: the parts of a model connected, in pure torch.

x -> corruption -> encoder -> latent -> decoder -> loss
                                |                   |
                              prior -> objective <--+
                                          ^
                                 penalties, critics
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from aeframe.batch_noise import call_with_own_noise
from aeframe.errors import AeframeError
from aeframe.parts.corruptions import Corruption
from aeframe.parts.critics.base import Critic
from aeframe.parts.latents.base import LatentSpace
from aeframe.parts.losses.base import Loss
from aeframe.parts.networks.base import Decoder, Encoder
from aeframe.parts.objectives.base import Objective, is_computed
from aeframe.parts.penalties.base import Penalty
from aeframe.parts.priors.base import Prior
from aeframe.tensors import repeat_rows
from aeframe.types import Batch, DataSpec, ForwardOutput, Latent, LossTerms, Shape, TrainingProgress


class Autoencoder(nn.Module):
    """The parts of a model, connected.

    With `condition_encoder` the encoder receives the condition as additional channels of x, or along the axis that
    `DataSpec.condition_axis` names. The decoder always receives it as additional channels of its input.
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
        self.is_compiled = False
        """Whether encoder and decoder are compiled, so that no mode of torch may be active within them."""
        self.penalties = nn.ModuleDict(dict(penalties or {}))
        self.critics = nn.ModuleDict(dict(critics or {}))

    # -- forward pass ---------------------------------------------------------------------------------------------

    def forward(
        self,
        batch: Batch,
        *,
        sample: bool | None = None,
        num_samples: int | None = None,
        features: Tensor | None = None,
        decode: Callable[[Latent, Batch], Tensor] | None = None,
    ) -> ForwardOutput:
        """Return everything from the corrupted input to the reconstruction loss of a batch.

        Args:
            batch: The clean samples, x ``(B, *shape)``.
            sample: Sample z from the posterior instead of taking its mean; by default in training only.
            num_samples: K importance samples of z for each x. Then `latent`, `output` and `reconstruction` of the
                result have K * B rows, see `ForwardOutput`.
            features: `ForwardOutput.features` of the same batch and corruption, to skip the encoder.
            decode: Returns what `Autoencoder.decode` does, of a latent and its samples; by default that of z.

        Raises:
            AeframeError: Importance samples are requested, and the latent has no posterior.
        """
        encoder_input = self.corruption(batch) if self.training or self.corruption.in_evaluation else batch
        sample = self.training if sample is None else sample
        if features is None:
            features = self.encode_features(encoder_input)
        rows, row_features = batch, features
        if num_samples is not None:
            if "posterior" not in self.latent.provides:
                raise AeframeError(
                    f"importance samples need a latent that provides a posterior, found {type(self.latent).__name__}"
                )
            rows = batch.map(lambda t: repeat_rows(t, num_samples))
            row_features = repeat_rows(features, num_samples)
        latent: Latent = self.latent(row_features, sample=sample)
        if sample:
            latent = self.latent.refine_posterior(latent, self.objective.log_joint(self, rows))
            # A frozen latent is in evaluation mode while the model is in training mode.
            if self.latent.training and torch.is_grad_enabled():
                # The first B of K * B rows, since the rows of one x have the same mean.
                self.latent.observe(latent.mean[: len(batch)])
        latent = self.objective.combine_posteriors(self, latent, rows, sample=sample)
        output = self._decode(latent.z, latent.decoder_input, rows) if decode is None else decode(latent, rows)
        return ForwardOutput(
            batch,
            encoder_input,
            latent,
            output,
            reconstruction=self.loss(output, rows),
            features=features,
            num_samples=num_samples,
        )

    def _call(self, network: nn.Module, *args: Any) -> Any:
        return call_with_own_noise(network, *args) if self.is_compiled else network(*args)

    def embed(self, batch: Batch, *, sample: bool = False) -> Latent:
        """Return the latent of a batch, without corruption; z is the mean, or with `sample` from the posterior."""
        latent: Latent = self.latent(self.encode_features(batch), sample=sample)
        return latent

    def encode_features(self, batch: Batch) -> Tensor:
        """Return the encoder's features ``(B, C, *positions)`` of a batch; x is not corrupted here."""
        if self.condition_encoder:
            axis = self.spec.encoder_condition_axis
            batch = replace(
                batch,
                x=append_condition(batch.x, batch.condition, axis),
                mask=_mask_with_condition(batch.mask, self.spec.condition, axis),
            )
        features: Tensor = self._call(self.encoder, batch)
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
        """Return ``(B, outputs, *shape)`` of z: the parameters of the likelihood, ``outputs`` for each element of x.

        Args:
            z: The codes ``(B, *z_shape)``.
            batch: The clean samples, for teacher forcing by an autoregressive decoder; None to decode new samples.
            condition: Replaces the batch's condition ``(B, C)``.
            like: Samples whose extras (such as the total count of a cell) `Loss.postprocess` reads instead of those of
                `batch`; the decoder does not see them.
            draw: Sample tokens instead of taking the argmax, for an autoregressive decoder (see `Decoder.generate`).
        """
        return self._decode(z, None, batch, condition=condition, like=like, draw=draw)

    def _decode(
        self,
        z: Tensor,
        decoder_input: Tensor | None,
        batch: Batch | None,
        *,
        condition: Tensor | None = None,
        like: Batch | None = None,
        draw: bool = False,
    ) -> Tensor:
        if decoder_input is None:
            decoder_input = self.latent.decoder_input(z)
        if condition is None and batch is not None:
            condition = batch.condition
        if self.spec.condition:
            decoder_input = append_condition(decoder_input, condition)
        output = (
            self.decoder.generate(decoder_input, draw=draw)
            if batch is None
            else self._call(self.decoder, decoder_input, batch)
        )
        return self.loss.postprocess(output, batch if like is None else like, condition)

    def terms(self, out: ForwardOutput, progress: TrainingProgress) -> LossTerms:
        """Return the terms that the autoencoder minimises, without those of its critics.

        Penalties receive the first importance sample of each x. In training a penalty of weight 0 is not computed and
        has no term; in evaluation every penalty has one.
        """
        terms: LossTerms = self.objective(self, out, progress)
        first = out.first_sample()
        for name, penalty in self.penalties.items():
            assert isinstance(penalty, Penalty)
            weight = penalty.weight_at(self, progress)
            if is_computed(self, weight):
                terms.add(name, penalty(self, first), weight)
        return terms

    def critic_terms(self, out: ForwardOutput, progress: TrainingProgress) -> dict[str, LossTerms]:
        """Return the terms that each critic minimises, by the critic's label; no gradient reaches the autoencoder."""
        terms = {}
        for label, critic in self.critics.items():
            assert isinstance(critic, Critic)
            terms[label] = critic.terms(self, out.detach(), progress)
        return terms

    def set_progress(self, progress: TrainingProgress) -> None:
        """Set what depends on schedules in the latent, such as a temperature; called before each training batch.

        The latent stores it in buffers, so that evaluation, checkpoints and saved models use the last value.
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
        """Return data ``(B, *shape)`` of z, see `decode` and `data`."""
        return self.data(self.decode(z, condition=condition, like=like, draw=draw), draw=draw)

    @torch.no_grad()
    def data(self, output: Tensor, *, draw: bool = False) -> Tensor:
        """Return data ``(B, *shape)`` of what `decode` returned: the mean of the likelihood, or with `draw` a sample.

        Values are clamped to the bounds of the domain, since a Gaussian likelihood has none.
        """
        x = self.loss.sample(output) if draw else self.loss.mean(output)
        low, high = self.spec.domain.bounds
        return x if math.isinf(low) and math.isinf(high) else x.clamp(low, high)


def append_condition(value: Tensor, condition: Tensor | None, axis: int = 0) -> Tensor:
    """Append the condition ``(B, C)`` to the channels of ``(B, channels, *positions)``, the same at every position.

    With another `axis` of a sample, at least 0, it is appended along that one.
    """
    if condition is None:
        raise AeframeError("this model was built for data with a condition; give one, of shape (B, C)")
    dim, num = axis + 1, condition.shape[1]
    shape = [size if number else condition.shape[0] for number, size in enumerate(value.shape)]
    aligned = condition.to(value.dtype).reshape(condition.shape[0], *[1] * axis, num, *[1] * (value.ndim - dim - 1))
    return torch.cat([value, aligned.expand(*shape[:dim], num, *shape[dim + 1 :])], dim)


def _mask_with_condition(mask: Tensor | None, num: int, axis: int) -> Tensor | None:
    """Return the mask of x with the `num` appended values of a condition along `axis`, where it is True.

    A mask without that axis, which has one value for all that lies along it, stays as it is.
    """
    dim = axis + 1
    if mask is None or mask.ndim <= dim:
        return mask
    return torch.cat([mask, mask.new_ones(*mask.shape[:dim], num, *mask.shape[dim + 1 :])], dim)


def shape_with_condition(shape: Shape, condition: int, axis: int = 0) -> Shape:
    """Return the shape that `append_condition` makes of `shape` with a condition of `condition` numbers."""
    return (*shape[:axis], shape[axis] + condition, *shape[axis + 1 :])
