"""Distances between new samples of a model and held-out ones, in a named feature space."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from aeframe.data.modality import Modality, Source
from aeframe.data.sample_comparison import SampleComparison
from aeframe.errors import AeframeError
from aeframe.evaluation.feature_spaces import FeatureSpace
from aeframe.evaluation.frechet import frechet_distance
from aeframe.evaluation.neighbourhoods import density_and_coverage, precision_and_recall
from aeframe.noise import FITTING, mix, noise_of, random_rows
from aeframe.tensors import broadcast_mask
from aeframe.types import Batch, DataSpec

_MAX_TRAIN = 10_000
"""The largest number of training samples that a feature space is fitted to."""
_MAX_VALUES = 1 << 26
"""The largest number of values of them that are in memory."""
_MAX_DEFAULT = 5_000
"""The largest number of samples that are compared unless another number is chosen: memory grows with its square."""
_MAX_COMPARED = 50_000
"""The largest number of samples of each set that a modality compares."""
_MIN_SAMPLES = 10
"""The smallest half of held-out samples."""
_PRECISION_NEIGHBOURS, _COVERAGE_NEIGHBOURS = 3, 5
"""k in the papers."""
MEASURES = ("frechet", "precision", "recall", "density", "coverage")


@dataclass(frozen=True, slots=True)
class SampleQuality:
    """Values of `MEASURES` for three sets of equal size, each compared with the same half of the held-out samples."""

    space: str
    """The feature space, with the number of its components or the classifier: ``pca-32``."""
    num_features: int
    num: int
    """Number of samples in each set."""
    samples: dict[str, float]
    """Of new samples of the model."""
    reconstructions: dict[str, float]
    """Of reconstructions of the other half of the held-out samples."""
    floor: dict[str, float]
    """Of the other half itself: what samples of the true distribution have at this size."""

    def protocol(self) -> str:
        """Return in words what was compared."""
        return (
            f"{self.num} of each, compared with {self.num} held-out samples in feature space {self.space}, "
            f"{self.num_features} numbers; floor: the other held-out samples; k = {_PRECISION_NEIGHBOURS} (precision, "
            f"recall), {_COVERAGE_NEIGHBOURS} (density, coverage)"
        )

    def as_dict(self) -> dict[str, Any]:
        """Return plain values, for JSON."""
        sets = {"samples": self.samples, "reconstructions": self.reconstructions, "floor": self.floor}
        return {"num": self.num, "num_features": self.num_features, "protocol": self.protocol(), **sets}


def sample_quality(
    name: str,
    space: FeatureSpace,
    spec: DataSpec,
    *,
    sample: Callable[[int, Tensor | None], Tensor],
    reconstruct: Callable[[Batch], Tensor],
    train: Source,
    held_out: Source,
    num: int | None = None,
    seed: int = 0,
) -> SampleQuality:
    """Compare new samples and reconstructions with held-out samples in a feature space.

    The held-out samples are divided at random into halves A and B. New samples, reconstructions of B, and B itself (the
    floor) are each compared with A: all sets have the same size, on which these measures depend.

    Args:
        name: The registered name of the space.
        space: The feature space; it is fitted to at most 10,000 training samples.
        spec: Shape and domain of the samples.
        sample: Returns new samples ``(num, *shape)`` from their number and the conditions ``(num, C)`` of A.
        reconstruct: Returns the deterministic reconstructions of a batch.
        train: The training split.
        held_out: The split that samples are compared with.
        num: Number of samples in each set, at most half of the split; None takes as many, up to 5,000.
        seed: Seed of the halves.

    Raises:
        AeframeError: There are too few held-out samples.
    """
    size = min(len(held_out) // 2, num or _MAX_DEFAULT)
    if size < _MIN_SAMPLES:
        raise AeframeError(
            f"feature space {name} compares at least {_MIN_SAMPLES} samples with as many others, found "
            f"{len(held_out)} held-out samples and num {num}; choose a larger split, or a larger number"
        )
    rows = random_rows(len(held_out), 2 * size, seed)
    order = torch.randperm(2 * size, generator=torch.Generator().manual_seed(mix(seed) >> 1))
    halves = [held_out.batch(rows[part.sort().values]) for part in order.split(size)]
    a, b = halves
    num_train = max(_MIN_SAMPLES, min(_MAX_TRAIN, _MAX_VALUES // max(1, a.x[0].numel())))
    # Training splits may draw random numbers, such as those of an augmentation.
    with noise_of(torch.device("cpu"), seed, FITTING):
        space.fit(_filled(train.batch(random_rows(len(train), num_train, seed)), spec))
    sets = {
        "samples": _filled(a.with_x(sample(size, a.condition)), spec),
        "reconstructions": _filled(b.with_x(reconstruct(b)), spec),
        "floor": _filled(b, spec),
    }
    real = space.features(_filled(a, spec))
    if size <= real.shape[1]:
        raise AeframeError(
            f"feature space {name} has {real.shape[1]} features, whose covariance requires more than "
            f"{real.shape[1]} samples in each half of the split, found {size}; choose a larger split, or "
            "fewer features such as features.pca.components=8"
        )
    values = {each: measures(real, space.features(x)) for each, x in sets.items()}
    return SampleQuality("-".join(filter(None, (name, space.label))), real.shape[1], size, **values)


def has_own_measures(modality: Modality) -> bool:
    """Return whether a modality compares new samples by measures of its own."""
    return type(modality).compare_samples is not Modality.compare_samples


def compare_by_modality(
    modality: Modality,
    sample: Callable[[int, Tensor | None], Tensor],
    reconstruct: Callable[[Batch], Tensor],
    train: Source,
    held_out: Source,
    *,
    num: int | None = None,
    seed: int = 0,
) -> SampleComparison:
    """Compare `num` new samples, at most 50,000, with as many held-out samples by the measures of the modality.

    The arguments are those of `sample_quality`.

    Raises:
        AeframeError: The modality has no measures.
    """
    check_has_measures(modality)
    real = held_out.batch(random_rows(len(held_out), num or _MAX_COMPARED, seed))
    with noise_of(torch.device("cpu"), seed, FITTING):
        trained = train.batch(random_rows(len(train), _MAX_COMPARED, seed))
    new = sample(len(real), real.condition)
    compared = modality.compare_samples(
        new, real.nan_masked_x(), trained.nan_masked_x(), reconstructions=reconstruct(real), seed=seed
    )
    if compared is None:
        raise _without_measures(modality)
    return compared


def check_has_measures(modality: Modality) -> None:
    """Raise the error of `compare_by_modality` for a modality without measures, before anything is computed."""
    if not has_own_measures(modality):
        raise _without_measures(modality)


def _without_measures(modality: Modality) -> AeframeError:
    return AeframeError(
        f"modality {type(modality).__name__} has no measures of its own for new samples; compare them in a feature "
        f"space: --features {','.join(modality.feature_spaces) or 'NAME'}"
    )


def measures(real: Tensor, generated: Tensor) -> dict[str, float]:
    """Return the values of `MEASURES` by name, of features ``(N, F)`` and ``(M, F)``."""
    precision, recall = precision_and_recall(real, generated, neighbours=_PRECISION_NEIGHBOURS)
    density, coverage = density_and_coverage(real, generated, neighbours=_COVERAGE_NEIGHBOURS)
    return dict(zip(MEASURES, (frechet_distance(real, generated), precision, recall, density, coverage), strict=True))


def _filled(batch: Batch, spec: DataSpec) -> Tensor:
    """Return x on the CPU, with 0 where the mask is False. Categories mark their end themselves, so they stay."""
    x = batch.x.cpu()
    if batch.mask is None or spec.domain.kind == "category":
        return x
    return x.masked_fill(~broadcast_mask(batch.mask.cpu(), x.ndim), 0)
