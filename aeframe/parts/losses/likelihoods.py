"""Bernoulli, categorical, normal and simplex losses: -log p(x | z) in nats, with parameters from the decoder."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor, distributions
from torch.nn import functional as F

from aeframe.errors import AeframeError
from aeframe.parts.activations import ActivationTraits
from aeframe.parts.losses.base import Likelihood, Loss, split_outputs
from aeframe.parts.losses.location_scale import LocationScale
from aeframe.tensors import at_least_float32, broadcast_mask, per_sample
from aeframe.types import Batch, Domain, Shape


class Bernoulli(Likelihood):
    """Bernoulli likelihood with the decoder's output as logits: the cross-entropy -x log p - (1 - x) log(1 - p).

    On x in [0, 1] the cross-entropy is not a normalised density (Loaiza-Ganem & Cunningham 2019, arXiv 1907.06845):
    compare such values with each other, but not with those of densities. Samples are 0 or 1.
    """

    domains = frozenset({"binary", "unit"})

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.ndim = len(shape)

    @property
    def output_range(self) -> ActivationTraits:
        return ActivationTraits(0.0, 1.0, saturates=True)

    def distribution(self, output: Tensor) -> distributions.Bernoulli:
        return distributions.Bernoulli(logits=split_outputs(output, self.ndim)[0], validate_args=False)

    def elements(self, output: Tensor, x: Tensor) -> Tensor:
        # As log_prob, but without its two negations, which cost time in every step of an image model.
        (logits,) = split_outputs(output, self.ndim)
        x = x.to(logits.dtype)
        if not logits.requires_grad:
            # The same up to rounding, in half the time. Its backward pass takes longer, so training does without.
            return F.softplus(logits).addcmul_(x, logits, value=-1)
        return F.binary_cross_entropy_with_logits(logits, x.expand_as(logits), reduction="none")


class Categorical(Likelihood):
    """One of n classes at each element, with n logits from the decoder: the cross-entropy -log p(x).

    x has integers from 0 to n - 1. The reconstruction is the most probable class.
    """

    domains = frozenset({"category"})

    def __init__(self, shape: Shape, domain: Domain) -> None:
        super().__init__()
        if domain.classes is None:
            raise AeframeError(f"loss categorical needs data of domain category(n), found {domain}")
        self.ndim, self.num_outputs = len(shape), domain.classes

    @property
    def output_range(self) -> ActivationTraits:
        return ActivationTraits(0.0, self.num_outputs - 1.0, (True, True), elementwise=False)

    def distribution(self, output: Tensor) -> distributions.Categorical:
        return distributions.Categorical(logits=output.movedim(-1 - self.ndim, -1), validate_args=False)

    def elements(self, output: Tensor, x: Tensor) -> Tensor:
        # As log_prob, but without storing normalised logits, which are large for a vocabulary.
        logits = output.movedim(-1 - self.ndim, -1)
        classes = x.long().expand(logits.shape[:-1])
        losses = F.cross_entropy(logits.flatten(0, -2), classes.flatten(), reduction="none")
        return losses.reshape(classes.shape)

    def mean(self, output: Tensor) -> Tensor:
        return output.argmax(-1 - self.ndim)


class Gaussian(LocationScale):
    """Normal likelihood whose mean is the activation of the decoder's first output.

    ``variance=optimal`` is the per-image optimal sigma of sigma-VAE (Rybkin, Daniilidis & Levine 2021,
    arXiv 2006.13202): sigma^2 is the mean of (x - mean)^2 over one sample. It is computed from x, so nothing
    can be drawn from the likelihood of a new sample, and losses can only be compared between models with this option.

    Args:
        shape: Shape of one sample.
        domain: The set of values that x can take.
        variance: ``fixed``: the standard deviation is `scale`. ``shared``: one learned standard deviation for all
            elements, initially `scale`. ``learned``: one standard deviation s for each element, from a second output of
            the decoder, log((s / `scale`)^2) (Kingma & Welling 2014, arXiv 1312.6114). ``optimal``: see above.
        scale: The standard deviation or its initial value, in the units of x.
        min_scale: Lower bound of learned and optimal standard deviations, since the loss of a perfect reconstruction
            would be minus infinity. The bound of a learned one is soft, so that the gradient does not vanish.
        activation: Activation that bounds the mean; null takes steep_sigmoid for data in [0, 1], tanh for [-1, 1],
            and the identity for others.
    """

    def __init__(
        self,
        shape: Shape,
        domain: Domain,
        *,
        variance: Literal["fixed", "shared", "learned", "optimal"] = "fixed",
        scale: float = 1.0,
        min_scale: float = 1e-3,
        activation: str | None = None,
    ) -> None:
        if variance == "optimal" and scale != 1.0:
            raise AeframeError(
                f"loss gaussian with variance=optimal computes its scale from x, found scale={scale}; leave it out"
            )
        super().__init__("gaussian", shape, variance, scale, min_scale, domain, activation)

    def distribution(self, output: Tensor) -> distributions.Normal:
        if self.variance == "optimal":
            raise AeframeError(
                "loss gaussian with variance=optimal computes the variance from x and has no distribution without x; "
                "choose variance=shared or learned"
            )
        return distributions.Normal(*self.location_and_scale(output), validate_args=False)

    @property
    def can_draw(self) -> bool:
        return self.variance != "optimal"

    def sample(self, output: Tensor) -> Tensor:
        return self.mean(output) if self.variance == "optimal" else super().sample(output)

    def forward(self, output: Tensor, batch: Batch) -> Tensor:
        if self.variance != "optimal" or batch.mask is None:
            return super().forward(output, batch)
        # The mask must be applied before the variance of the sample is computed.
        mask = broadcast_mask(batch.mask, batch.x.ndim).expand_as(batch.x)
        # The number of dimensions before the shape of a sample: 1, or 2 with importance samples.
        lead = output.ndim - batch.x.ndim
        return per_sample(self._optimal(at_least_float32(output), batch.x.masked_fill(~mask, 0), mask), lead)

    def elements(self, output: Tensor, x: Tensor) -> Tensor:
        if self.variance == "optimal":
            return self._optimal(output, x, torch.ones_like(x, dtype=torch.bool))
        return super().elements(output, x)

    def _optimal(self, output: Tensor, x: Tensor, mask: Tensor) -> Tensor:
        """Return -log N(x; mean, sigma) of each element with the optimal sigma of its sample, and 0 where masked."""
        squared_error = torch.where(mask, (x.to(output.dtype) - self.mean(output)).square(), 0.0)
        lead = squared_error.ndim - self.ndim
        variance = per_sample(squared_error, lead) / per_sample(mask).clamp(min=1)
        variance = variance.clamp(min=math.exp(self.min_log_variance))
        variance = variance.reshape(*variance.shape, *[1] * self.ndim)
        return torch.where(mask, 0.5 * ((2 * math.pi * variance).log() + squared_error / variance), 0.0)


class KLDivergence(Loss):
    """KL(x || softmax(output)) for x that are distributions along the last axis.

    It is the cross-entropy minus the entropy of x, so a perfect reconstruction has the loss 0. The loss of one element,
    x log(x / x_hat), may be negative; the sum over the last axis is not.
    """

    domains = frozenset({"simplex"})

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.ndim = len(shape)

    @property
    def output_range(self) -> ActivationTraits:
        return ActivationTraits(0.0, 1.0, saturates=True, elementwise=False)

    def mean(self, output: Tensor) -> Tensor:
        return split_outputs(at_least_float32(output), self.ndim)[0].softmax(-1)

    def elements(self, output: Tensor, x: Tensor) -> Tensor:
        x = x.to(output.dtype)
        return torch.xlogy(x, x) - x * split_outputs(output, self.ndim)[0].log_softmax(-1)
