"""Poisson and negative binomial likelihoods of counts, parameterised as in scVI (Lopez et al. 2018).

x are counts of genes in cells: a gene is a feature, and a cell is a sample.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor, distributions, nn
from torch.nn import functional as F

from aeframe.errors import AeframeError
from aeframe.parts.activations import ActivationTraits
from aeframe.parts.losses.base import Loss
from aeframe.tensors import at_least_float32
from aeframe.types import Batch, DataSpec, Shape

# No data have e^30 counts, and e^89 overflows float32.
_MAX_LOG_MEAN = 30.0
_MAX_LOG_DISPERSION = 20.0
_MIN_LIBRARY = 1e-6
# The learned log r is its initial value plus a parameter times this factor. Adam changes a parameter by about the
# learning rate in each step, which is too slow for log r itself: it has to change by several units.
_LOG_R_FACTOR = 10.0


class Poisson(Loss):
    """Poisson likelihood: variance equals mean. The loss includes the constant log x!.

    The mean of feature g is ``library * rho_g``. rho is the softmax of the decoder's first output over the features;
    the library is the total count of the sample (scVI: Lopez et al. 2018, Nature Methods 15). It is read from
    ``extras["library"] (B,)`` if the data provide it, and is otherwise the sum of x where the mask is True.

    Args:
        shape: Shape of one sample.
        library: ``observed``: the mean is as above; ``none``: the mean is the exponential of the output.
        default_library: Total count of new samples, which have no x.
    """

    domains = frozenset({"count"})

    def __init__(
        self, shape: Shape, *, library: Literal["observed", "none"] = "observed", default_library: float = 1e4
    ) -> None:
        super().__init__()
        if default_library <= 0:
            raise AeframeError(f"a loss of counts needs default_library > 0, found {default_library}")
        self.ndim, self.library, self.default_library = len(shape), library, default_library

    @property
    def output_range(self) -> ActivationTraits:
        return ActivationTraits(0.0, saturates=True)

    def postprocess(self, output: Tensor, batch: Batch | None, condition: Tensor | None = None) -> Tensor:
        if self.library == "none":
            return output
        output = at_least_float32(output)
        if batch is None:
            library = output.new_full((output.shape[0],), self.default_library)
        elif "library" in batch.extras:
            library = batch.extras["library"].to(output.dtype)
        else:
            library = batch.masked_x().to(output.dtype).flatten(1).sum(1)
        first = output[:, 0].flatten(1).log_softmax(1) + library.clamp(min=_MIN_LIBRARY).log().unsqueeze(1)
        return torch.cat([first.reshape_as(output[:, :1]), output[:, 1:]], 1)

    def elements(self, output: Tensor, x: Tensor) -> Tensor:
        log_mean = self._log_mean(output)
        return _loss_of_counts(x.to(output.dtype), _poisson, log_mean.exp(), log_mean)

    def mean(self, output: Tensor) -> Tensor:
        return self._log_mean(at_least_float32(output)).exp()

    def sample(self, output: Tensor) -> Tensor:
        return torch.poisson(self.mean(output))

    def _log_mean(self, output: Tensor) -> Tensor:
        return output.select(-1 - self.ndim, 0).clamp(max=_MAX_LOG_MEAN)


class NegativeBinomial(Poisson):
    """Negative binomial likelihood: mean m as in `Poisson`, variance m + m^2 / r with the inverse dispersion r.

    Args:
        shape: Shape of one sample.
        spec: Specification of the data, which has the size of the condition.
        dispersion: ``gene``: one r for each feature. ``gene_batch``: one r for each feature and category of the
            condition ``(B, C)``; log r is linear in the condition. ``gene_cell``: one r for each element, from a second
            output of the decoder.
        initial_r: Initial value of each r, except for ``gene_cell``.
        library: ``observed``: the mean is ``library * rho``; ``none``: it is the exponential of the first output.
        default_library: Total count of new samples, which have no x.
    """

    def __init__(
        self,
        shape: Shape,
        spec: DataSpec,
        *,
        dispersion: Literal["gene", "gene_batch", "gene_cell"] = "gene",
        initial_r: float = 10.0,
        library: Literal["observed", "none"] = "observed",
        default_library: float = 1e4,
    ) -> None:
        super().__init__(shape, library=library, default_library=default_library)
        if initial_r <= 0:
            raise AeframeError(f"a loss of counts needs initial_r > 0, found {initial_r}")
        if dispersion == "gene_batch" and not spec.condition:
            raise AeframeError(
                "a loss of counts with dispersion=gene_batch needs data with a condition, these have none; "
                "set loss.dispersion=gene"
            )
        self.dispersion, self.log_initial = dispersion, math.log(initial_r)
        self.num_outputs = 2 if dispersion == "gene_cell" else 1
        if dispersion != "gene_cell":
            categories = (spec.condition,) if dispersion == "gene_batch" else ()
            self.raw_r = nn.Parameter(torch.zeros(*categories, *shape))

    def postprocess(self, output: Tensor, batch: Batch | None, condition: Tensor | None = None) -> Tensor:
        output = super().postprocess(output, batch, condition)
        if self.dispersion != "gene_batch":
            return output
        assert condition is not None  # Without a condition, the decoder has raised an error.
        log_r = self.log_initial + _LOG_R_FACTOR * torch.tensordot(condition.to(self.raw_r.dtype), self.raw_r, 1)
        # Log r becomes the second output, which for gene_cell comes from the decoder.
        return torch.cat([output[:, :1], log_r.unsqueeze(1), output[:, 1:]], 1)

    def elements(self, output: Tensor, x: Tensor) -> Tensor:
        log_mean, log_r = self._log_mean(output), self._log_r(output)
        zero_loss = log_r.exp() * F.softplus(log_mean - log_r)
        return _loss_of_counts(x.to(output.dtype), _negative_binomial, zero_loss, log_mean, log_r)

    def sample(self, output: Tensor) -> Tensor:
        output = at_least_float32(output)
        log_r = self._log_r(output)
        logits = self._log_mean(output) - log_r
        return distributions.NegativeBinomial(
            log_r.exp().expand_as(logits), logits=logits, validate_args=False
        ).sample()

    def _log_r(self, output: Tensor) -> Tensor:
        log_r = (
            self.log_initial + _LOG_R_FACTOR * self.raw_r.float()
            if self.dispersion == "gene"
            else output.select(-1 - self.ndim, 1)
        )
        return log_r.clamp(-_MAX_LOG_DISPERSION, _MAX_LOG_DISPERSION)


class ZeroInflated(NegativeBinomial):
    """Zero-inflated negative binomial: 0 with probability pi, otherwise negative binomial (Lopez et al. 2018).

    The logit of pi is the decoder's last output; the reconstruction is (1 - pi) m. See `NegativeBinomial` for the
    options.
    """

    def __init__(
        self,
        shape: Shape,
        spec: DataSpec,
        *,
        dispersion: Literal["gene", "gene_batch", "gene_cell"] = "gene",
        initial_r: float = 10.0,
        library: Literal["observed", "none"] = "observed",
        default_library: float = 1e4,
    ) -> None:
        super().__init__(
            shape, spec, dispersion=dispersion, initial_r=initial_r, library=library, default_library=default_library
        )
        self.num_outputs += 1

    def elements(self, output: Tensor, x: Tensor) -> Tensor:
        logit, count_loss = self._logit(output), super().elements(output, x)
        return torch.where(x > 0, count_loss + F.softplus(logit), F.softplus(-logit) - F.softplus(-logit - count_loss))

    def mean(self, output: Tensor) -> Tensor:
        return super().mean(output) * (-self._logit(at_least_float32(output))).sigmoid()

    def sample(self, output: Tensor) -> Tensor:
        return super().sample(output) * (-self._logit(at_least_float32(output))).sigmoid().bernoulli()

    def _logit(self, output: Tensor) -> Tensor:
        return output.select(-1 - self.ndim, -1)


def _loss_of_counts(x: Tensor, loss: Callable[..., Tensor], zero_loss: Tensor, *parameters: Tensor) -> Tensor:
    """Return ``loss(x, *parameters)`` where x is above 0, and `zero_loss` where it is 0."""
    positive = (x > 0).expand_as(zero_loss)
    if _is_faster_by_index(x):
        index = positive.flatten().nonzero().squeeze(1)
        selected = (value.expand_as(zero_loss).flatten().index_select(0, index) for value in (x, *parameters))
        return zero_loss.flatten().index_copy(0, index, loss(*selected)).view_as(zero_loss)
    return torch.where(positive, loss(x.clamp(min=1), *parameters), zero_loss)


def _is_faster_by_index(x: Tensor) -> bool:
    """Return whether it is faster to select the positive counts, which are few, than to compute the loss of all.

    A selection synchronises a GPU with the CPU, so it is faster on the CPU only.
    """
    return x.is_cpu


def _poisson(x: Tensor, log_mean: Tensor) -> Tensor:
    """Return -log p(x) for counts x above 0."""
    # -log p(x) = -log p(x | mean = x) + deviance. The terms of x log m - m - log x! are much larger than their sum.
    return _stirling(x) + 0.5 * (2 * math.pi * x).log() + _deviance(x, log_mean - x.log())


def _negative_binomial(x: Tensor, log_mean: Tensor, log_r: Tensor) -> Tensor:
    """Return -log p(x) for counts x above 0, in the same form as `_poisson`, with the mean m = exp(log_mean)."""
    r = log_r.exp()
    # log((x + r) / (m + r)), accurate for x and m much smaller than r; and log((m / x) (x + r) / (m + r)).
    log_ratio_r = torch.log1p(x / r) - F.softplus(log_mean - log_r)
    log_ratio_x = log_mean - x.log() + log_ratio_r
    log_p = _stirling(r + x) - _stirling(r) - _stirling(x) - _deviance(r, log_ratio_r) - _deviance(x, log_ratio_x)
    return 0.5 * (2 * math.pi * x * (r + x)).log() - 0.5 * log_r - log_p


def _deviance(x: Tensor, log_ratio: Tensor) -> Tensor:
    """Return m - x - x log(m / x), with `log_ratio` = log(m / x): 0 where m = x, otherwise positive."""
    return x * (torch.expm1(log_ratio) - log_ratio)


def _stirling(n: Tensor) -> Tensor:
    """Return the error of Stirling's formula, log n! - (n + 1/2) log n + n - log(2 pi) / 2, for n > 0.

    The saddle-point form of these probabilities (Loader 2000, as in R) uses it. No term is much larger than the result,
    so float32 is accurate enough.
    """
    small, large = n.clamp(max=4.0), n.clamp(min=4.0)
    exact = torch.lgamma(small + 1) - (small + 0.5) * small.log() + small - 0.5 * math.log(2 * math.pi)
    series = (1 / 12 - 1 / 360 / large.square()) / large
    return torch.where(n < 4.0, exact, series)
