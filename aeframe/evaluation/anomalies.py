"""Anomaly scores: how badly a model reconstructs a sample, and where this lies among the samples of its training."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from aeframe.data.modality import Source
from aeframe.data.score_quantiles import ScoreQuantiles
from aeframe.data.subset import random_batches
from aeframe.errors import AeframeError, did_you_mean
from aeframe.evaluation.mahalanobis import MahalanobisDistance, check_mahalanobis
from aeframe.evaluation.score_kinds import PER, SCORES
from aeframe.evaluation.scoring import check_scorable, num_observed, per_element, score_batch
from aeframe.evaluation.step import evaluation_mode
from aeframe.model.autoencoder import Autoencoder
from aeframe.parts.losses.base import Loss
from aeframe.tensors import at_least_float32, broadcast_mask
from aeframe.types import Batch, TrainingProgress

_IMPORTANCE = 64
"""Importance samples of ``likelihood``."""
_MAX_SAMPLES = 2048
"""Largest number of samples of a split whose scores are compared with others."""
_MAX_VALUES = 1 << 25
"""Largest number of values that are read of each split."""
_MAX_LEVELS = 1001
"""Largest number of stored quantiles of a distribution."""
_BATCH_SIZE = 256


@dataclass(frozen=True, slots=True)
class ScoreScale:
    """The distribution of the scores of training and validation samples."""

    train: ScoreQuantiles
    validation: ScoreQuantiles
    num: tuple[int, int]
    """The numbers of training and validation samples that were scored."""
    distance: MahalanobisDistance | None = None
    """For the score ``mahalanobis``; it is not stored with a model, as the following."""
    per: str | None = None
    """What the scores are sums over, one of `PER`; None for ``element`` of ``reconstruction``, else ``sample``."""
    draws: int = 1
    """Number of draws of z whose bounds are averaged, for the scores ``bound`` and ``likelihood``."""

    def state(self) -> dict[str, Tensor]:
        """Return the distributions as tensors."""
        return {
            "train": torch.from_numpy(self.train.values),
            "validation": torch.from_numpy(self.validation.values),
            "num": torch.tensor(self.num),
        }

    @classmethod
    def from_state(cls, state: Mapping[str, Tensor]) -> ScoreScale:
        """Restore what `state` returned."""
        train, validation = (ScoreQuantiles(state[name].double().numpy()) for name in ("train", "validation"))
        num = state["num"].tolist()
        return cls(train, validation, (int(num[0]), int(num[1])))


@dataclass(frozen=True, slots=True)
class Anomalies:
    """The scores of N samples, compared with those of the training data."""

    score: Tensor
    """``(N,)``; higher is more anomalous."""
    percentile: Tensor
    """``(N,)``: the percentage of training samples with a lower score."""
    is_anomaly: Tensor
    """``(N,)`` bool: whether the score is above `threshold`."""
    threshold: float
    """The quantile of the scores of validation samples."""
    where: list[str]
    """For each sample the elements that contribute most, in the words of the modality; empty for scores of whole
    samples."""


def _check_kind(who: str, by: str) -> None:
    """Raise AeframeError unless `by` is one of `SCORES`."""
    if by not in SCORES:
        hint = did_you_mean(by, SCORES)
        raise AeframeError(f"{who} scores by {', '.join(SCORES)}, found '{by}'{hint}; choose one of them")


def _check_options(who: str, by: str, per: str | None, draws: int) -> None:
    """Raise AeframeError for options that a kind of score does not have."""
    if per is not None and per not in PER:
        raise AeframeError(f"{who} scores per {' or '.join(PER)}, found '{per}'{did_you_mean(per, PER)}; choose one")
    if per is not None and by == "mahalanobis":
        raise AeframeError(f"{who} scores whole samples by mahalanobis, found per {per}; leave it out")
    if draws != 1 and by not in ("bound", "likelihood"):
        raise AeframeError(
            f"{who} draws z for the scores bound and likelihood, found draws {draws} by {by}; leave it out"
        )


def known_scale(who: str, scales: Mapping[str, ScoreScale], by: str) -> ScoreScale:
    """Return the distribution of a kind of score.

    Raises:
        AeframeError: An unknown kind, or one whose distribution is not known.
    """
    _check_kind(who, by)
    if by not in scales:
        raise AeframeError(
            f"{who} was saved with the scores by {', '.join(scales) or 'nothing'} of its training samples, found {by}; "
            f"compute those of {by} by with_scale"
        )
    return scales[by]


@torch.no_grad()
def reconstruction_errors(model: Autoencoder, batch: Batch) -> tuple[Tensor, Tensor | None]:
    """Return the reconstruction loss of each sample, divided by its number of observed elements, and of each element.

    z is the mean of the posterior, so that the errors are deterministic. An autoregressive decoder receives the sample
    itself, so that the loss is that of each next token.

    Args:
        model: The model, in evaluation mode.
        batch: The samples ``(B, *shape)``, on the model's device.

    Returns:
        The mean loss ``(B,)``, NaN for a sample without observed elements, and the error of each element
        ``(B, *shape)``, at least 0, and 0 where the mask is False: its loss, for a sample with negative ones (of a
        density) minus the smallest; the squared difference for a loss that is no sum over elements, None for one that
        does not compare by position.
    """
    loss = model.loss
    output = model.decode(model.embed(batch).mean, batch)
    total: Tensor = loss(output, batch)
    return per_element(total, batch), _element_errors(loss, output, batch)


def _element_errors(loss: Loss, output: Tensor, batch: Batch) -> Tensor | None:
    if not loss.by_position:
        return None
    if type(loss).elements is Loss.elements:
        x, x_hat = loss.masked_x_and_reconstruction(output, batch)
        return (x_hat - x).square() if x_hat.shape == x.shape else None
    errors = loss.elements(at_least_float32(output), batch.masked_x())
    mask = torch.ones_like(batch.x, dtype=torch.bool)
    if batch.mask is not None:
        mask = broadcast_mask(batch.mask, batch.x.ndim).expand_as(batch.x)
    smallest = torch.where(mask, errors, 0.0).flatten(1).amin(1).clamp(max=0)
    return torch.where(mask, errors - smallest.reshape(-1, *[1] * (errors.ndim - 1)), 0.0)


@torch.no_grad()
def anomaly_scores(
    who: str,
    model: Autoencoder,
    batches: Iterable[Batch],
    by: str,
    progress: TrainingProgress,
    *,
    distance: MahalanobisDistance | None = None,
    per: str | None = None,
    draws: int = 1,
    locate: Callable[[Tensor, Batch], list[str]] | None = None,
) -> tuple[Tensor, list[str]]:
    """Return the score ``(N,)`` of all samples of `batches`, on the CPU, and where their errors are.

    Args:
        who: The model's name for error messages.
        model: The model.
        batches: The samples, on the model's device.
        by: The kind of score.
        progress: The training progress, on which the bound depends.
        distance: For the score ``mahalanobis``.
        per: See `ScoreScale.per`.
        draws: See `ScoreScale.draws`.
        locate: `Modality.locate_errors`, to say where the errors of each sample are; without it, and for scores of
            whole samples, they are ``""``.

    Raises:
        AeframeError: The model cannot compute the score.
    """
    scores, where = [], list[str]()
    importance = _IMPORTANCE if by == "likelihood" else None
    if by in ("bound", "likelihood"):
        check_scorable(who, model, draws, importance, per or "sample")
    with evaluation_mode(model):
        for batch in batches:
            errors = None
            if by == "reconstruction":
                score, errors = reconstruction_errors(model, batch)
                score = score * num_observed(batch) if per == "sample" else score
            elif by == "mahalanobis" and distance is not None:
                score, errors = distance(model, batch)
            else:
                score = score_batch(
                    who,
                    model,
                    batch,
                    progress,
                    batch_size=len(batch),
                    draws=draws,
                    importance=importance,
                    seed=0,
                    per=per or "sample",
                )
            scores.append(score.cpu())
            if locate is None or errors is None:
                where += [""] * len(batch)
            else:
                where += locate(errors.cpu(), batch.to(torch.device("cpu")))
    return torch.cat(scores), where


def subset_batches(source: Source, seed: int) -> Iterator[Batch]:
    """Yield the samples of a split, or a random subset of it, whose scores others are compared with."""
    first = source.batch(torch.zeros(1, dtype=torch.long))
    num = min(_MAX_SAMPLES, max(1, _MAX_VALUES // max(1, first.x.numel())))
    return random_batches(source, num, seed, _BATCH_SIZE)


def make_scale(
    who: str,
    model: Autoencoder,
    by: str,
    progress: TrainingProgress,
    train: Source,
    validation: Source,
    *,
    on_device: Callable[[Batch], Batch],
    seed: int,
    per: str | None = None,
    draws: int = 1,
) -> ScoreScale | None:
    """Return the distribution of scores over random subsets of two splits; None if a split has no finite score.

    Args:
        who: The model's name for error messages.
        model: The model.
        by: The kind of score.
        progress: The training progress, on which the bound depends.
        train: The training split.
        validation: The validation split.
        on_device: Moves a batch to the model's device and precision.
        seed: The seed of the subsets.
        per: See `ScoreScale.per`.
        draws: See `ScoreScale.draws`.

    Raises:
        AeframeError: An unknown kind of score, options that it does not have, or one that the model cannot compute.
    """
    _check_kind(who, by)
    _check_options(who, by, per, draws)
    distance = None
    if by == "mahalanobis":
        check_mahalanobis(who, model)
        distance = MahalanobisDistance.fit(model, map(on_device, subset_batches(train, seed)))
    distributions, nums = [], []
    for source in (train, validation):
        batches = map(on_device, subset_batches(source, seed))
        found, _ = anomaly_scores(who, model, batches, by, progress, distance=distance, per=per, draws=draws)
        scores = found.double().numpy()
        distribution = ScoreQuantiles.of(scores, _MAX_LEVELS)
        if distribution is None:
            return None
        distributions.append(distribution)
        nums.append(int(np.isfinite(scores).sum()))
    return ScoreScale(distributions[0], distributions[1], (nums[0], nums[1]), distance, per, draws)


def auroc_and_average_precision(scores: Tensor, flags: Tensor) -> tuple[Tensor, Tensor]:
    """Return the area under the ROC curve and the average precision of scores ``(N,)`` for binary flags ``(N,)``.

    Ties count half. Both are 0 if all flags are equal.
    """
    values, value_index = scores.unique(return_inverse=True)
    # The numbers of positives and negatives with each distinct score, in order of descending scores.
    positives = torch.zeros(len(values), dtype=torch.float64, device=scores.device)
    positives = positives.index_add_(0, value_index, flags.double())
    negatives = torch.zeros_like(positives).index_add_(0, value_index, (~flags).double())
    positives, negatives = positives.flip(0), negatives.flip(0)
    num_positives, num_negatives = positives.sum(), negatives.sum()
    if not num_positives or not num_negatives:
        return positives.new_zeros(()), positives.new_zeros(())
    true_positives = positives.cumsum(0)
    auroc = (negatives * (true_positives - 0.5 * positives)).sum() / (num_positives * num_negatives)
    precision = positives * true_positives / (true_positives + negatives.cumsum(0))
    return auroc, precision.sum() / num_positives
