"""Scores of samples: the bound of the objective, with noise that depends on the sample only."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from aeframe.errors import AeframeError, did_you_mean
from aeframe.evaluation.score_kinds import PER
from aeframe.model.autoencoder import Autoencoder
from aeframe.noise import INCREMENT, mix_elements, to_signed
from aeframe.parts.objectives.base import Objective
from aeframe.parts.objectives.importance import Importance
from aeframe.row_noise import RowNoise, padded_rows
from aeframe.tensors import broadcast_mask
from aeframe.types import Batch, ForwardOutput, TrainingProgress


def check_scorable(who: str, model: Autoencoder, draws: int, importance: int | None, per: str = "sample") -> None:
    """Raise an error for arguments of `score_batch` that are out of range or do not fit the model."""
    for name, value in {"draws": draws, "importance": importance}.items():
        if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < 1):
            raise AeframeError(f"{who} takes {name} of at least 1, found {value!r}")
    if per not in PER:
        raise AeframeError(f"{who} scores per {' or '.join(PER)}, found '{per}'{did_you_mean(per, PER)}; choose one")
    if importance is None:
        return
    if "posterior" not in model.latent.provides:
        raise AeframeError(
            f"{who} draws importance samples from a posterior, found the latent {type(model.latent).__name__} without "
            "one; leave out importance"
        )
    if not model.objective.bounds_likelihood:
        raise AeframeError(
            f"{who} takes importance where its bound is one on the likelihood, found the objective "
            f"{type(model.objective).__name__}; leave out importance"
        )


def score_batch(
    who: str,
    model: Autoencoder,
    batch: Batch,
    progress: TrainingProgress,
    *,
    batch_size: int,
    draws: int,
    importance: int | None,
    seed: int,
    per: str = "sample",
) -> Tensor:
    """Return the score ``(B,)`` of each sample, on the model's device; see `TrainedModel.score`.

    Args:
        who: The model's name for error messages.
        model: The model, in evaluation mode.
        batch: The samples, on the model's device.
        progress: The training progress.
        batch_size: Pairs of a sample and a draw that are decoded at a time.
        draws: Number of bounds that are averaged.
        importance: Number of importance samples of each bound; None takes the objective's own bound.
        seed: The seed of the noise.
        per: ``sample``, or ``element`` to divide the score as `per_element` does.

    Raises:
        AeframeError: The objective has no bound.
    """
    sample = "posterior" in model.latent.provides
    corrupts = model.corruption.in_evaluation
    if not sample and not corrupts:
        # Without noise, all draws are the same.
        draws = 1
    objective = model.objective if importance is None else Importance(num_samples=1)
    num_samples = objective.num_samples
    # Each sample is repeated for each draw, and the copies have noise of their own.
    copies = draws * (importance or 1)
    keys = content_keys(batch).cpu()
    features = None
    if not corrupts:
        with RowNoise(keys, seed=seed):
            features = model.encode_features(batch)
    bounds = []
    for pairs in torch.arange(len(batch) * copies).split(batch_size):
        padded = pairs[padded_rows(len(pairs))]
        rows, draw = padded // copies, padded % copies
        on_device = rows.to(batch.x.device)
        with RowNoise(mix_elements(keys[rows] + draw), seed=seed, num_samples=num_samples):
            out: ForwardOutput = model(
                # Several times as fast as indexing by a tensor.
                batch.map(lambda t, rows=on_device: t.index_select(0, rows)),  # type: ignore[misc]
                sample=sample,
                num_samples=num_samples,
                features=None if features is None else features.index_select(0, on_device),
            )
            bound = _bound(who, objective, model, out, progress)
        bounds.append(bound[: len(pairs)])
    by_draw = torch.cat(bounds).unflatten(0, (len(batch), draws, -1))
    # With importance samples these are -log w of each; otherwise the last dimension has one bound.
    score = (math.log(by_draw.shape[2]) - (-by_draw).logsumexp(2)).mean(1)
    return score if per == "sample" else per_element(score, batch)


def per_element(total: Tensor, batch: Batch) -> Tensor:
    """Divide a sum over the elements of each sample ``(B,)`` by their number; NaN for a sample of masked elements.

    Only elements where the mask is True count.
    """
    num = num_observed(batch).to(total.dtype)
    return torch.where(num > 0, total / num.clamp(min=1), torch.nan)


def num_observed(batch: Batch) -> Tensor:
    """Return the number ``(B,)`` of elements of each sample where the mask is True."""
    if batch.mask is None:
        # The length of a batch as a plain number would fix the batch size of an exported program.
        return torch.full((batch.x.shape[0],), batch.x[0].numel(), device=batch.x.device)
    return broadcast_mask(batch.mask, batch.x.ndim).expand_as(batch.x).flatten(1).sum(1)


def content_keys(batch: Batch) -> Tensor:
    """Return a hash ``(B,)`` of the content of each sample: x where the mask is True, mask and condition.

    It does not depend on the other samples, the device, or the position in the batch. It is on the device of x, or on
    the CPU where the device has no double precision.
    """
    device = torch.device("cpu") if batch.x.device.type == "mps" else batch.x.device
    keys = torch.zeros(len(batch), dtype=torch.int64, device=device)
    for value in (batch.masked_x(), batch.mask, batch.condition):
        if value is not None:
            keys = mix_elements(keys + _hash_rows(value.to(device)))
    return keys


def _hash_rows(value: Tensor) -> Tensor:
    """Return a hash ``(B,)`` of each row ``(B, ...)``: the sum of the hashes of its elements and their positions."""
    # Adding 0 turns -0 into 0.
    bits = (value.double() + 0.0).view(torch.int64) if value.is_floating_point() else value.long()
    bits = bits.reshape(len(bits), -1)
    positions = mix_elements(to_signed(INCREMENT) * torch.arange(bits.shape[1], device=bits.device))
    return mix_elements(bits ^ positions).sum(1)


def _bound(
    who: str, objective: Objective, model: Autoencoder, out: ForwardOutput, progress: TrainingProgress
) -> Tensor:
    bound: Tensor | None = objective(model, out, progress).bound
    if bound is None:
        raise AeframeError(f"{who} has an objective without a bound, so nothing can be scored")
    return bound
