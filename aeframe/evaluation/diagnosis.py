"""Short checks of a trained model on held-out samples, which the advice on a run is derived from."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.distributions import Normal

from aeframe.data.modality import Source
from aeframe.evaluation.metrics.base import SUM_DTYPE
from aeframe.evaluation.metrics.reconstruction import evaluated_elements
from aeframe.evaluation.step import evaluation_mode
from aeframe.model.autoencoder import Autoencoder
from aeframe.noise import EVALUATION, noise_of, random_rows
from aeframe.parts.priors.normal import StandardNormal
from aeframe.types import Batch, ForwardOutput

_MAX_SAMPLES = 512
"""Largest number of samples. The standard error of a share is then at most 2.2 %."""
_MIN_SAMPLES = 20
"""Smallest number of samples from which the moments of codes are estimated."""
_MAX_VALUES = 1 << 23
"""Largest number of elements of all samples together: two forward passes of a small image model in about a second."""
_AT_BOUND, _AWAY = 0.01, 0.1
"""Fractions of the output's range: a reconstruction this near to a bound is at the bound, an x this far is not."""


@torch.no_grad()
def diagnose(model: Autoencoder, source: Source, *, batch_size: int, seed: int) -> dict[str, float]:
    """Return what is measured on a random subset of `source`, by name; what is not defined for the model is left out.

    - ``code_size``: numbers in the code of one sample.
    - ``code_positions``: positions of a quantised code, each of which holds one code of every level.
    - ``prior_kl``: for a standard normal prior, the KL in nats of a dimension of the code from the normal with its mean
      and variance over all samples to the prior, averaged over dimensions. 0 where codes and prior agree so far.
    - ``largest_variance``: the share of the largest element in the variance of x, the sum over its elements.
    - ``variance_ratio``: the largest variance of an element, divided by the median over elements.
    - ``at_bound``: where the range of the reconstruction is bounded, the share of reconstructions at a bound among the
      elements whose x is not near that bound, over both bounds.
    - ``condition_effect``: the mean squared change of the reconstruction if the decoder receives the condition of
      another sample, divided by the variance of reconstructions. It is 2 if the reconstruction depends on the condition
      only.

    Args:
        model: The trained model.
        source: Held-out samples.
        batch_size: Samples in a batch.
        seed: The seed of the subset, and of a corruption that is part of the evaluation.
    """
    limit = max(2, min(_MAX_SAMPLES, _MAX_VALUES // max(1, math.prod(model.spec.shape))))
    device = next(model.parameters()).device
    values = {"code_size": float(math.prod(model.latent.shape))}
    means, variances = [], []
    sums: _Sums | None = None
    for index, rows in enumerate(random_rows(len(source), limit, seed).split(batch_size)):
        batch = source.batch(rows).to(device)
        with evaluation_mode(model), noise_of(device, seed, EVALUATION, index):
            out: ForwardOutput = model(batch, sample=False)
            swapped = _with_other_condition(model, out)
        q = out.latent.posterior
        means.append(out.latent.mean.flatten(1).to(SUM_DTYPE))
        variances.append(q.scale.flatten(1).to(SUM_DTYPE).square() if isinstance(q, Normal) else means[-1] * 0)
        if (codes := out.latent.codes) is not None:
            values["code_positions"] = float(codes[0].numel() / max(1, codes.shape[-1]))
        if not _compares_elements(model):
            continue
        sums = sums or _Sums.zeros(batch.x[0])
        sums.add(model, out, swapped)
    num = sum(map(len, means))
    if num >= _MIN_SAMPLES and isinstance(model.prior, StandardNormal) and _has_normal_codes(model):
        values["prior_kl"] = _kl_of_moments(torch.cat(means), torch.cat(variances))
    values |= {} if sums is None else sums.values()
    return {name: value for name, value in values.items() if math.isfinite(value)}


def _kl_of_moments(means: Tensor, variances: Tensor) -> float:
    """Return the KL to N(0, 1) of the normal with the moments of a mixture of normals ``(N, D)``, averaged over D."""
    variance = (means.var(0) + variances.mean(0)).clamp(min=torch.finfo(means.dtype).tiny)
    return float(0.5 * (variance + means.mean(0).square() - 1 - variance.log()).mean())


def _has_normal_codes(model: Autoencoder) -> bool:
    """Return whether the codes are points of Euclidean space that may be normal."""
    return model.latent.space == "euclidean" and not model.latent.provides & {"codes", "sparse", "hierarchy"}


def _compares_elements(model: Autoencoder) -> bool:
    """Return whether elements are numbers that are compared with the reconstruction at the same position."""
    spec = model.spec
    return not spec.domain.has_classes and not spec.unordered and model.loss.by_position and not model.loss.any_length


def _with_other_condition(model: Autoencoder, out: ForwardOutput) -> Tensor | None:
    """Return the decoder's output for the conditions of other samples; None without a condition."""
    condition = out.batch.condition
    if not model.spec.condition or condition is None or not _compares_elements(model):
        return None
    return model.decode(out.latent.z, out.batch, condition=_shifted(condition))


def _shifted(condition: Tensor) -> Tensor:
    """Return conditions ``(B, C)`` of other samples: half a batch away, since neighbours may be of one class."""
    return condition.roll(max(1, len(condition) // 2), 0)


@dataclass(slots=True)
class _Sums:
    """Sums over samples; the first five have the shape of a sample, the others are scalars."""

    count: Tensor
    total: Tensor
    squares: Tensor
    mean_total: Tensor
    """Sum of the reconstructions, ``(*shape)``."""
    mean_squares: Tensor
    num_away: Tensor
    """Elements that are not near a bound of the reconstruction, ``()``."""
    num_stuck: Tensor
    """Those of them whose reconstruction is at the bound."""
    changes: Tensor
    """Sum of squared changes of the reconstruction with the condition, ``()``."""
    num_changed: Tensor
    """Elements of samples whose condition was replaced by another one."""
    is_bounded: bool = field(default=False, kw_only=True)
    has_condition: bool = field(default=False, kw_only=True)

    @classmethod
    def zeros(cls, x: Tensor) -> _Sums:
        by_element = [torch.zeros(x.shape, dtype=SUM_DTYPE, device=x.device) for _ in range(5)]
        scalars = [torch.zeros((), dtype=SUM_DTYPE, device=x.device) for _ in range(4)]
        return cls(*by_element, *scalars)

    def add(self, model: Autoencoder, out: ForwardOutput, swapped: Tensor | None) -> None:
        """Add the samples of a batch; `swapped` is the output for other conditions."""
        evaluated = evaluated_elements(out)
        mean = torch.where(evaluated, model.loss.mean(out.output).to(SUM_DTYPE), 0.0)
        x = torch.where(evaluated, out.batch.x.to(SUM_DTYPE), 0.0)
        self.count += evaluated.sum(0)
        self.total, self.squares = self.total + x.sum(0), self.squares + x.square().sum(0)
        self.mean_total, self.mean_squares = self.mean_total + mean.sum(0), self.mean_squares + mean.square().sum(0)
        self._add_bounds(model, mean, x, evaluated)
        if swapped is not None:
            self._add_changes(torch.where(evaluated, model.loss.mean(swapped).to(SUM_DTYPE), 0.0) - mean, out.batch)

    def _add_bounds(self, model: Autoencoder, mean: Tensor, x: Tensor, evaluated: Tensor) -> None:
        low, high = model.loss.output_range.low, model.loss.output_range.high
        if math.isinf(low) and math.isinf(high):
            return
        self.is_bounded = True
        # A range with one bound has no width; the spread of the data takes its place.
        width = high - low if math.isfinite(high - low) else float(x.std())
        for bound, direction in ((low, 1.0), (high, -1.0)):
            if math.isfinite(bound):
                away = evaluated & (direction * (x - bound) > _AWAY * width)
                stuck = away & (direction * (mean - bound) < _AT_BOUND * width)
                self.num_away, self.num_stuck = self.num_away + away.sum(), self.num_stuck + stuck.sum()

    def _add_changes(self, change: Tensor, batch: Batch) -> None:
        assert batch.condition is not None
        self.has_condition = True
        differs = (batch.condition != _shifted(batch.condition)).any(1)
        self.changes = self.changes + change[differs].square().sum()
        self.num_changed = self.num_changed + differs.sum() * change[0].numel()

    def values(self) -> dict[str, float]:
        """Return the values of elements and conditions that `diagnose` returns."""
        count = self.count.clamp(min=1)
        variance = (self.squares / count - (self.total / count).square()).clamp(min=0).flatten()
        varies = variance[variance > 0]
        values = {}
        if len(varies):
            values["largest_variance"] = float(variance.max() / variance.sum())
            values["variance_ratio"] = float(variance.max() / varies.median())
        if self.is_bounded:
            values["at_bound"] = float(self.num_stuck / self.num_away)
        if self.has_condition:
            spread = (self.mean_squares / count - (self.mean_total / count).square()).clamp(min=0).mean()
            values["condition_effect"] = float(self.changes / self.num_changed / spread)
        return values
