"""`TrainedModel`: encode, decode, reconstruct, sample and score with a trained model."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.distributions import Distribution

from aeframe.data.conditions import encode_known_categories, for_each_sample
from aeframe.data.fingerprint import DataRecord
from aeframe.data.modality import Modality, Source
from aeframe.data.samples import Samples
from aeframe.errors import AeframeError
from aeframe.evaluation.anomalies import (
    Anomalies,
    ScoreScale,
    anomaly_scores,
    known_scale,
    make_scale,
    reconstruction_errors,
)
from aeframe.evaluation.reconstruction import reconstruct_batch
from aeframe.evaluation.scoring import check_scorable, score_batch
from aeframe.evaluation.step import evaluation_mode
from aeframe.model.autoencoder import Autoencoder
from aeframe.model.density import build_sampler, fit_sampler
from aeframe.model_store.inputs import (
    Array,
    Condition,
    Data,
    Labels,
    as_batch,
    as_codes,
    as_condition,
    check_batch_size,
    check_draw,
    encode_condition,
    in_dtype,
    warn_if_far,
)
from aeframe.model_store.modality_state import check_reading_options, with_options
from aeframe.model_store.paths import path_between
from aeframe.noise import PICTURES, noise_of
from aeframe.parts.samplers.base import Sampler
from aeframe.types import Batch, DataSpec, Latent, TrainingProgress


@dataclass(frozen=True, slots=True)
class TrainedModel:
    """A trained model with its modality, in evaluation mode and without gradients.

    Samples are a tensor or an array ``(N, *shape)`` of values in the domain of the training data, or the batch that
    ``modality.read(path)`` returns; `batch_size` of them are processed at a time. Results are on the device of the
    argument. A model with a condition requires ``condition`` ``(N, C)``; one that was trained with ``label_classes``
    also takes the labels of the samples, by name or as integers, or one label for all. Without ``condition``, the
    labels of a batch are taken. ``mask`` ``(N, *leading dims of shape)`` is False where x is padding or missing; a
    batch has its own. Samples of unordered elements (`DataSpec.unordered`) may have fewer elements than in training;
    those that a model returns may have another number than `shape`, if the loss accepts it. Shapes: N samples, `shape`
    of one sample, `z_shape` of one code z, C numbers of a condition.
    """

    model: Autoencoder
    modality: Modality
    sampler: Sampler
    config: dict[str, Any]
    """The config that the model was saved with, in plain values."""
    spec: DataSpec
    progress: TrainingProgress
    """The training progress when the model was saved."""
    device: torch.device
    data: DataRecord = field(default_factory=DataRecord)
    """Fingerprint, split and label names of the training data."""
    scales: Mapping[str, ScoreScale] = field(default_factory=dict)
    """The distributions of anomaly scores in training, by kind of score (see `anomalies`)."""

    @property
    def name(self) -> str:
        """The name of the model's recipe."""
        return str(self.config["model"]["name"])

    @property
    def label_names(self) -> tuple[str, ...] | None:
        """The names of the labels 0, 1, ... of the training data; None if the labels have no names."""
        return self.data.label_names

    @property
    def labels(self) -> Labels:
        """The labels that are the condition of the model, or its last part; number 0 for a model without."""
        return Labels(int(self.config.get("label_classes", 0)), self.label_names)

    def prepare(self, x: Any, *, condition: Any = None) -> Batch:
        """Return samples in memory as a batch, prepared as in training: scaled, tokenised, columns matched by name.

        ```python
        codes = model.encode(model.prepare(frame))
        ```

        Args:
            x: Samples in the form and unit of the training data, as `aeframe.fit` takes them. Labels, in a pair
                ``(x, y)`` or in the column of a data frame that had them in training, become ``extras["label"]``.
            condition: Their condition, for a model with one: numbers ``(N, C)``, or categories by their names.

        Raises:
            AeframeError: A sample is refused as in training, a column is missing, or a category is unknown.
        """
        samples = Samples.of(x)
        batch = self.modality.prepare_samples(samples.x)
        if samples.y is not None:
            label = encode_known_categories(samples.y, self.label_names)
            batch = replace(batch, extras={**batch.extras, "label": label})
        given = samples.condition if condition is None else condition
        if given is not None:
            return replace(batch, condition=self.encoded(given, len(batch)))
        coding = self.data.condition
        if coding is not None and coding.is_in(samples.x):
            return replace(batch, condition=coding.encode(self._who(), samples.x))
        return batch

    def restore(self, x: Tensor) -> Any:
        """Return samples ``(N, *shape)`` as `prepare` took them, in their unit: a frame, strings, pictures, ...

        ```python
        frame = model.restore(model.sample(100))
        ```
        """
        return self.modality.restore_samples(x)

    def encode(
        self, x: Data, *, condition: Condition | None = None, mask: Array | None = None, batch_size: int = 256
    ) -> Tensor:
        """Return the codes ``(N, *z_shape)``, deterministic: the mean of the posterior where there is one."""
        batch = self.batch_of(x, condition, mask)
        return torch.cat([latent.mean.to(batch.x.device) for latent in self._latents(batch, batch_size)])

    def posterior(self, x: Data, *, condition: Condition | None = None, mask: Array | None = None) -> Distribution:
        """Return q(z|x) with batch shape ``(N, *z_shape)``, on the model's device; all samples are one batch.

        Raises:
            AeframeError: The latent has no posterior.
        """
        batch = self.batch_of(x, condition, mask)
        (latent,) = self._latents(batch, len(batch))
        if latent.posterior is None:
            raise AeframeError(f"{self._who()} has a latent without a posterior; use encode")
        return latent.posterior

    def codes(
        self, x: Data, *, condition: Condition | None = None, mask: Array | None = None, batch_size: int = 256
    ) -> Tensor:
        """Return the integer codes of a quantiser ``(N, *positions, levels)``: `levels` codes at each position of z.

        Raises:
            AeframeError: The latent has no integer codes.
        """
        batch = self.batch_of(x, condition, mask)
        chunks = [latent.codes for latent in self._latents(batch, batch_size) if latent.codes is not None]
        if not chunks:
            raise AeframeError(f"{self._who()} has a latent without integer codes; use encode")
        return torch.cat([codes.to(batch.x.device) for codes in chunks])

    @torch.no_grad()
    def decode(
        self, z: Array, *, condition: Condition | None = None, batch_size: int = 256, draw: bool = False
    ) -> Tensor:
        """Decode codes ``(N, *z_shape)`` to data ``(N, *shape)``: the mean of the likelihood, or with `draw` a draw.
        A draw from a loss without noise (`Loss.can_draw`) is an error.
        """
        check_batch_size(self._who(), batch_size)
        check_draw(self._who(), self.model.loss, self.spec, draw=draw)
        codes = as_codes(self._who(), z, self.model.latent.shape)
        conditions = as_condition(self._who(), self.encoded(condition, len(codes)), self.spec, len(codes), self.labels)
        decoded = []
        with evaluation_mode(self.model):
            for start in range(0, len(codes), batch_size):
                rows = slice(start, start + batch_size)
                chunk_condition = None if conditions is None else conditions[rows].to(self.device)
                z = codes[rows].to(self.device, self._dtype)
                x = self.model.generate(z, condition=chunk_condition, draw=draw)
                decoded.append(x.to(codes.device))
        return torch.cat(decoded)

    def reconstruct(
        self,
        x: Data,
        *,
        condition: Condition | None = None,
        mask: Array | None = None,
        batch_size: int = 256,
        draw: bool = False,
        seed: int | None = None,
    ) -> Tensor:
        """Return the reconstructions ``(N, *shape)`` of x; they are complete, also where x is masked.

        z is the posterior mean. Units whose posterior variance is above 0.75 are hardly used, and are drawn twice
        instead (see `aeframe.evaluation.reconstruction.decode_posterior`). A reconstruction is the same in any batch.

        Args:
            x: The samples.
            condition: ``(N, C)``, or labels, for a model with a condition.
            mask: ``(N, *leading dims of shape)``, False where x is padding or missing.
            batch_size: Samples that are processed at a time.
            draw: Draw x from the likelihood instead of taking its mean.
            seed: The seed of all random draws; None is that of the run, as for its metrics.

        Raises:
            AeframeError: `draw`, and the loss does not draw (`Loss.can_draw`).
        """
        batch = self.batch_of(x, condition, mask)
        check_draw(self._who(), self.model.loss, self.spec, draw=draw)
        seed = self._seed if seed is None else seed
        with evaluation_mode(self.model):
            chunks = self._chunks(batch, batch_size)
            parts = [reconstruct_batch(self.model, rows, seed=seed, draw=draw) for rows in chunks]
        return torch.cat([x_hat.to(batch.x.device) for x_hat in parts])

    def sample(
        self,
        num: int,
        *,
        seed: int | None = None,
        condition: Condition | None = None,
        batch_size: int = 256,
        draw: bool | None = None,
    ) -> Tensor:
        """Return `num` new samples ``(num, *shape)`` on the model's device.

        Args:
            num: The number of samples, at least 1.
            seed: Makes the samples repeatable; without it, torch's global generator is used.
            condition: For a model with a condition: ``(num, C)``, or labels.
            batch_size: Samples that are decoded at a time.
            draw: Draw from the likelihood, an error without `Loss.can_draw`, or take its mean; None does what
                `Loss.draws_samples` states.
        """
        if num < 1:
            raise AeframeError(f"{self._who()} makes at least one sample, found num {num}")
        draws = self.model.loss.draws_samples if draw is None else draw
        with nullcontext() if seed is None else noise_of(self.device, seed, PICTURES):
            return self.decode(self.sample_codes(num), condition=condition, batch_size=batch_size, draw=draws)

    @torch.no_grad()
    def sample_codes(self, num: int) -> Tensor:
        """Return the codes ``(num, *z_shape)`` of new samples, drawn from the sampler with torch's global generator."""
        with evaluation_mode(self.model):
            return self.sampler.sample(self.model, num)

    def with_sampler(
        self,
        sampler: str | Mapping[str, Any],
        x: Data | Iterable[Batch] | None = None,
        *,
        condition: Condition | None = None,
        seed: int = 0,
    ) -> TrainedModel:
        """Return the same model with another ex-post density, from which `sample` draws codes.

        ```python
        model.with_sampler("gmm", x_train).sample(16)
        ```

        Args:
            sampler: The name of a registered sampler (an ex-post density), or ``{name: ..., options}``.
            x: Samples, or batches of samples, to whose codes the density is fitted: usually the training samples. The
                sampler ``prior`` needs none.
            condition: The condition of these samples: ``(N, C)``, or labels.
            seed: The seed of random draws during the fit.

        Raises:
            AeframeError: The sampler does not fit the latent, or `x` is missing.
        """
        config = {"name": sampler} if isinstance(sampler, str) else dict(sampler)
        density = build_sampler(self._who(), config, self.model)
        if density.requires_fit:
            if x is None:
                raise AeframeError(f"sampler '{config['name']}' is fitted to codes, found no x; pass samples as x")
            if isinstance(x, (Batch, Tensor, np.ndarray)):
                x = self._chunks(self.batch_of(x, condition), 256)
            with evaluation_mode(self.model):
                fit_sampler(density, self.model, x, seed)
        return replace(self, sampler=density.to(self.device).eval(), config={**self.config, "sampler": config})

    def interpolate(
        self, a: Data, b: Data, steps: int = 10, *, condition: Condition | None = None, batch_size: int = 256
    ) -> Tensor:
        """Return samples between a and b, ``(N, *shape)`` each, as ``(N, steps, *shape)``.

        The codes follow the shortest path of the latent space: a great circle of the hypersphere, a geodesic of the
        Poincaré ball, a straight line elsewhere. Conditions follow a straight line. The first and last steps are
        decoded from the codes of a and b.

        Args:
            a: The first samples; a batch with conditions for a model with a condition.
            b: The last samples, as many as in `a`.
            steps: Number of samples on a path, both ends included.
            condition: One condition for a and b.
            batch_size: Samples that are processed at a time.
        """
        path, between = path_between(self, a, b, steps, condition=condition, batch_size=batch_size)
        return self.decode(path, condition=between, batch_size=batch_size).unflatten(0, (-1, steps))

    @torch.no_grad()
    def score(
        self,
        x: Data,
        *,
        condition: Array | None = None,
        mask: Array | None = None,
        batch_size: int = 256,
        draws: int = 1,
        importance: int | None = None,
        per: str = "sample",
        seed: int = 0,
    ) -> Tensor:
        """Return the bound ``(N,)`` of each sample, such as minus the ELBO; lower means more likely under the model.

        A score is a function of the sample and the arguments: it is the same alone and in any batch, up to rounding.
        The noise of z is a function of `seed` and of the sample's values, and independent for different samples.

        The unit is nats if the loss is a likelihood (`Loss.unit` is ``nats``); otherwise it is that of the loss, and
        for a VAE the sum of that loss and a KL in nats, whose level is comparable within one model only. For objectives
        without a bound on the likelihood, such as those of deterministic models, it is the reconstruction loss.

        Args:
            x: The samples.
            condition: ``(N, C)``, for a model with a condition.
            mask: ``(N, *leading dims of shape)``, False where x is padding or missing.
            batch_size: Samples that are processed at a time.
            draws: Number of draws of z whose bounds are averaged; the variance falls as 1 / `draws`.
            importance: K, for the importance-weighted bound (Burda et al. 2016, arXiv 1509.00519): minus the log of the
                mean of K weights p(x|z) p(z) / q(z|x). In expectation it falls with K towards -log p(x). With `draws`,
                so many of these bounds are averaged. None takes the bound of the model's objective.
            per: ``sample`` for the sum over its elements; ``element`` divides it by the number of those where the mask
                is True, such as the tokens of a text, so that long samples compare with short ones.
            seed: The seed of the noise; scores of different seeds are independent estimates.

        Raises:
            AeframeError: The objective has no bound, or `importance` does not fit the latent or the objective.
        """
        who, batch, scores = self._who(), self.batch_of(x, condition, mask), []
        check_scorable(who, self.model, draws, importance, per)
        options: Any = {"batch_size": batch_size, "draws": draws, "importance": importance, "seed": seed, "per": per}
        with evaluation_mode(self.model):
            for rows in self._chunks(batch, batch_size):
                score = score_batch(who, self.model, rows, self.progress, **options)
                scores.append(score.to(batch.x.device))
        return torch.cat(scores)

    def anomalies(
        self,
        x: Data,
        *,
        by: str = "reconstruction",
        quantile: float = 0.99,
        condition: Array | None = None,
        mask: Array | None = None,
        batch_size: int = 256,
        locate: bool = True,
    ) -> Anomalies:
        """Return the anomaly score of each sample, its percentile among training samples, and whether it is high.

        Args:
            x: The samples.
            by: ``reconstruction``, the loss of the reconstruction from the mean of z, divided by the number of observed
                elements; ``bound``, see `score`; ``likelihood``, `score` with 64 importance samples; or
                ``mahalanobis``, the squared distance of reconstruction and residual from those of training samples.
            quantile: The quantile of the scores of the validation split that is the threshold.
            condition: ``(N, C)``, for a model with a condition.
            mask: ``(N, *leading dims of shape)``, False where x is padding or missing.
            batch_size: Samples that are processed at a time.
            locate: Whether to describe where the errors of each sample are, which takes Python code for each.

        Raises:
            AeframeError: An unknown score, or one without a known distribution (see `with_scale`).
        """
        scale = known_scale(self._who(), self.scales, by)
        if not 0 < quantile < 1:
            raise AeframeError(f"{self._who()} takes a quantile between 0 and 1, found {quantile!r}")
        batch = self.batch_of(x, condition, mask)
        chunks, find = self._chunks(batch, batch_size), self.modality.locate_errors if locate else None
        options: Any = {"distance": scale.distance, "per": scale.per, "draws": scale.draws, "locate": find}
        scores, where = anomaly_scores(self._who(), self.model, chunks, by, self.progress, **options)
        percentile, threshold = scale.train.percentile(scores.double().numpy()), scale.validation.at(quantile)
        scores = scores.to(batch.x.device)
        return Anomalies(scores, torch.from_numpy(percentile), scores > threshold, threshold, where)

    def element_errors(
        self, x: Data, *, condition: Array | None = None, mask: Array | None = None, batch_size: int = 256
    ) -> Tensor | None:
        """Return the reconstruction error of each element ``(N, *shape)``, from the mean of z; 0 where it is masked.

        It is the loss of the element, minus the smallest of the sample where densities make it negative; the squared
        difference for a loss that is no sum over elements; None for one that does not compare by position.
        """
        batch = self.batch_of(x, condition, mask)
        with evaluation_mode(self.model):
            parts = [reconstruction_errors(self.model, rows)[1] for rows in self._chunks(batch, batch_size)]
        known = [errors.to(batch.x.device) for errors in parts if errors is not None]
        return torch.cat(known) if known else None

    def with_scale(
        self,
        by: str,
        train: Source,
        validation: Source,
        *,
        per: str | None = None,
        draws: int = 1,
        required: bool = True,
    ) -> TrainedModel:
        """Return the model with the distribution of another anomaly score, over at most 2,048 samples of each split.

        Args:
            by: The kind of score, see `anomalies`.
            train: Samples like those of the training, such as ``aeframe.data.TensorSource(x)``.
            validation: Samples whose scores are to be the thresholds.
            per: ``sample`` or ``element``, see `score`; by default ``element`` for ``reconstruction``, else ``sample``.
            draws: Number of draws of z whose bounds are averaged, for ``bound`` and ``likelihood``.
            required: Raise an error if a score is finite for no sample of a split; otherwise return the same model.

        Raises:
            AeframeError: An unknown score, one that the model cannot compute, or one that is finite for no sample.
        """
        options: Any = {"seed": self._seed, "per": per, "draws": draws, "on_device": self.on_device}
        scale = make_scale(self._who(), self.model, by, self.progress, train, validation, **options)
        if scale is None and required:
            raise AeframeError(f"{self._who()} has no finite score by {by} for a split; choose another score")
        return self if scale is None else replace(self, scales={**self.scales, by: scale})

    def with_reading_options(self, **options: Any) -> TrainedModel:
        """Return the model with other options of its modality for unusual samples, see `Modality.reading_options`.

        ```python
        model.with_reading_options(too_long="cut").modality.read("long.txt")
        ```

        Raises:
            AeframeError: The modality has no such option, or it must be that of training.
        """
        check_reading_options(self._who(), self.modality, options)
        return replace(self, modality=with_options(self.modality, self.config["modality"], options))

    def double(self) -> TrainedModel:
        """Return the model in double precision.

        Results of a sample in batches of different sizes then agree to some 1e-15 of their value, instead of 1e-7.
        """
        return replace(self, model=copy.deepcopy(self.model).double())

    @property
    def _dtype(self) -> torch.dtype:
        return next((parameter.dtype for parameter in self.model.parameters()), torch.float32)

    @property
    def _seed(self) -> int:
        return int(self.config.get("seed", 0))

    def _who(self) -> str:
        return f"model '{self.name}'"

    def batch_of(self, x: Any, condition: Condition | None, mask: Array | None = None) -> Batch:
        """Return samples as a batch, with the condition and the type of values that the model takes."""
        is_prepared = not isinstance(x, (Tensor, np.ndarray))
        # Frames, strings and pictures are in the unit of the training data; arrays are prepared already.
        x = x if isinstance(x, (Batch, Tensor, np.ndarray)) else self.prepare(x)
        num = len(x) if isinstance(x, Batch) or x.ndim else 1
        batch = as_batch(self._who(), x, self.encoded(condition, num), self.spec, self.labels, mask)
        if self.data.value_range is not None:
            warn_if_far(self._who(), batch, self.data.value_range, is_prepared=is_prepared)
        return batch

    def encoded(self, condition: Any, num: int) -> Any:
        """Return the condition of `num` samples, as numbers ``(N, C)`` if modality or data encode its categories."""
        if condition is None or self.labels.num_classes:
            return condition
        return encode_condition(self._who(), for_each_sample(condition, num), self.modality, self.data.condition)

    def _chunks(self, batch: Batch, batch_size: int) -> Iterator[Batch]:
        check_batch_size(self._who(), batch_size)
        for start in range(0, len(batch), batch_size):
            yield self.on_device(batch.rows(slice(start, start + batch_size)))

    def on_device(self, batch: Batch) -> Batch:
        """Return a batch on the device of the model, in its precision."""
        batch = batch.to(self.device)
        return batch if self._dtype == torch.float32 else in_dtype(batch, self._dtype)

    @torch.no_grad()
    def _latents(self, batch: Batch, batch_size: int) -> list[Latent]:
        with evaluation_mode(self.model):
            return [self.model.embed(rows) for rows in self._chunks(batch, batch_size)]
