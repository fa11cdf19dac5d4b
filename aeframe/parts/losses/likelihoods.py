"""Likelihoods: -log p(x | z) in nats, with p's parameters from the decoder."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor, distributions
from torch.nn import functional as F

from aeframe.errors import AeframeError
from aeframe.parts.activations import ActivationTraits
from aeframe.parts.losses.base import Likelihood, Loss, heads
from aeframe.parts.losses.location_scale import LocationScale
from aeframe.tensors import at_least_float32, broadcast_mask, per_sample
from aeframe.types import Batch, Domain, Shape


class Bernoulli(Likelihood):
    """Bernoulli with the decoder's output as logits: the binary cross-entropy, -x log p - (1 - x) log(1 - p).

    On x in [0, 1] it is the same cross-entropy, which is not a normalised density there (Loaiza-Ganem & Cunningham
    2019, arXiv 1907.06845): it ranks models, and does not compare with densities. A draw is 0 or 1.
    """

    domains = frozenset({"binary", "unit"})

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.ndim = len(shape)

    @property
    def output_range(self) -> ActivationTraits:
        return ActivationTraits(0.0, 1.0, saturates=True)

    def distribution(self, output: Tensor) -> distributions.Bernoulli:
        return distributions.Bernoulli(logits=heads(output, self.ndim)[0], validate_args=False)

    def elements(self, output: Tensor, x: Tensor) -> Tensor:
        # What log_prob computes, without its sign turned twice: this is in the step of most image models.
        (logits,) = heads(output, self.ndim)
        return F.binary_cross_entropy_with_logits(logits, x.to(logits.dtype).expand_as(logits), reduction="none")


class Categorical(Likelihood):
    """One of n classes at each element, the output's n numbers being logits: the cross-entropy, -log p(x).

    x holds whole numbers from 0 to n - 1, and so does the reconstruction: the likeliest class.
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
        # What log_prob computes, without the logits normalised in memory: of a vocabulary they are most of a step.
        logits = output.movedim(-1 - self.ndim, -1)
        classes = x.long().expand(logits.shape[:-1])
        found = F.cross_entropy(logits.flatten(0, -2), classes.flatten(), reduction="none")
        return found.reshape(classes.shape)

    def mean(self, output: Tensor) -> Tensor:
        return output.argmax(-1 - self.ndim)


class Gaussian(LocationScale):
    """Normal around the decoder's first output, after an `activation` that bounds it.

    Args:
        variance: ``fixed``: the standard deviation is `scale`. ``shared``: one standard deviation for all elements of
            all samples, learned, beginning at `scale`. ``learned``: one for each element, from a second output
            (the logarithm of its variance in units of `scale`; Kingma & Welling 2014, arXiv 1312.6114). ``optimal``:
            one for each sample, the best there is, sigma^2 = the mean of (x - mean)^2 over the sample's own elements
            (sigma-VAE: Rybkin, Daniilidis & Levine 2021, arXiv 2006.13202). Their default is one sigma for a batch,
            with which the loss of a sample would depend on its neighbours; this is their optimal sigma by image.
            It is known beside an x only, so a draw is the mean, and since it has seen x, the loss is below
            that of any density: compare such models with one another.
        scale: The standard deviation, in the data's own unit.
        min_scale: What learned and optimal standard deviations stay above, lest a perfect reconstruction end in minus
            infinity; the bound is soft where one is learned, so that its gradient does not die.
        activation: Bounds the mean: sigmoid for data in [0, 1], tanh in [-1, 1]; null is the identity.
    """

    def __init__(
        self,
        shape: Shape,
        *,
        variance: Literal["fixed", "shared", "learned", "optimal"] = "fixed",
        scale: float = 1.0,
        min_scale: float = 1e-3,
        activation: str | None = None,
    ) -> None:
        if variance == "optimal" and scale != 1.0:
            raise AeframeError(f"loss gaussian with variance=optimal finds its own scale, found {scale}; leave it out")
        super().__init__("gaussian", shape, variance, scale, min_scale, activation)

    def distribution(self, output: Tensor) -> distributions.Normal:
        if self.variance == "optimal":
            raise AeframeError(
                "loss gaussian with variance=optimal has a distribution beside an x only; "
                "for one of its own take variance=shared or learned"
            )
        return distributions.Normal(*self.location_and_scale(output), validate_args=False)

    def sample(self, output: Tensor) -> Tensor:
        return self.mean(output) if self.variance == "optimal" else super().sample(output)

    def forward(self, output: Tensor, batch: Batch) -> Tensor:
        if self.variance != "optimal" or batch.mask is None:
            return super().forward(output, batch)
        # The variance of a sample is one number, so the mask must be there before it is taken.
        mask = broadcast_mask(batch.mask, batch.x.ndim).expand_as(batch.x)
        lead = output.ndim - batch.x.ndim
        return per_sample(self._optimal(at_least_float32(output), batch.x.masked_fill(~mask, 0), mask), lead)

    def elements(self, output: Tensor, x: Tensor) -> Tensor:
        if self.variance == "optimal":
            return self._optimal(output, x, torch.ones_like(x, dtype=torch.bool))
        return super().elements(output, x)

    def _optimal(self, output: Tensor, x: Tensor, mask: Tensor) -> Tensor:
        """Return each element's -log N(x; mean, sigma) with its sample's own best sigma, 0 where masked."""
        squared = torch.where(mask, (x.to(output.dtype) - self.mean(output)).square(), 0.0)
        lead = squared.ndim - self.ndim
        variance = per_sample(squared, lead) / per_sample(mask).clamp(min=1)
        variance = variance.clamp(min=math.exp(self.min_log_variance))
        variance = variance.reshape(*variance.shape, *[1] * self.ndim)
        return torch.where(mask, 0.5 * ((2 * math.pi * variance).log() + squared / variance), 0.0)


class KLDivergence(Loss):
    """KL(x || softmax(output)) for x that are distributions along the last axis of their shape.

    It is the cross-entropy less the entropy of x, so that 0 is a perfect reconstruction. The share of an element,
    x log(x / x_hat), may be negative; the sum over an axis is not.
    """

    domains = frozenset({"simplex"})

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.ndim = len(shape)

    @property
    def output_range(self) -> ActivationTraits:
        return ActivationTraits(0.0, 1.0, saturates=True, elementwise=False)

    def mean(self, output: Tensor) -> Tensor:
        return heads(at_least_float32(output), self.ndim)[0].softmax(-1)

    def elements(self, output: Tensor, x: Tensor) -> Tensor:
        x = x.to(output.dtype)
        return torch.xlogy(x, x) - x * heads(output, self.ndim)[0].log_softmax(-1)
