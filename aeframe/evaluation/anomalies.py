"""Anomaly scores: how badly a model reconstructs a sample, and where this lies among the samples of its training."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from aeframe.data.modality import Source
from aeframe.data.score_quantiles import ScoreQuantiles
from aeframe.data.subset import random_batches
from aeframe.errors import AeframeError, did_you_mean
from aeframe.model.autoencoder import Autoencoder
from aeframe.parts.losses.base import Loss
from aeframe.tensors import at_least_float32, broadcast_mask, per_sample
from aeframe.types import Batch

SCORES = ("reconstruction", "bound", "likelihood")
"""Kinds of score: `reconstruction_errors`, `TrainedModel.score`, and `TrainedModel.score` with importance samples."""
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
    if batch.mask is None:
        num_observed = torch.full_like(total, batch.x[0].numel())
    else:
        num_observed = per_sample(broadcast_mask(batch.mask, batch.x.ndim).expand_as(batch.x).to(total.dtype))
    score = torch.where(num_observed > 0, total / num_observed.clamp(min=1), torch.nan)
    return score, _element_errors(loss, output, batch)


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


def make_scale(
    who: str, by: str, score: Callable[[Batch], Tensor], train: Source, validation: Source, *, seed: int
) -> ScoreScale | None:
    """Return the distribution of scores over random subsets of two splits; None if a split has no finite score.

    Args:
        who: The model's name for error messages.
        by: The kind of score.
        score: Returns the scores ``(B,)`` of a batch.
        train: The training split.
        validation: The validation split.
        seed: The seed of the subsets.

    Raises:
        AeframeError: An unknown kind of score.
    """
    _check_kind(who, by)
    distributions, nums = [], []
    for source in (train, validation):
        first = source.batch(torch.zeros(1, dtype=torch.long))
        num = min(_MAX_SAMPLES, max(1, _MAX_VALUES // max(1, first.x.numel())))
        batches = random_batches(source, num, seed, _BATCH_SIZE)
        scores = torch.cat([score(batch).cpu().double() for batch in batches]).numpy()
        distribution = ScoreQuantiles.of(scores, _MAX_LEVELS)
        if distribution is None:
            return None
        distributions.append(distribution)
        nums.append(int(np.isfinite(scores).sum()))
    return ScoreScale(distributions[0], distributions[1], (nums[0], nums[1]))


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
