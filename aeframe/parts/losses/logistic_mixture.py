"""A mixture of logistic densities, each made a distribution of grey values."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from aeframe.errors import AeframeError
from aeframe.parts.activations import ActivationTraits
from aeframe.parts.losses.base import Loss
from aeframe.tensors import at_least_float32
from aeframe.types import Domain, Shape

_MAX_LOG_SCALE = 7.0


class LogisticMixture(Loss):
    """-log p of one of `levels` grey values, p being what a mixture of logistic densities has within half a step of it
    (PixelCNN++: Salimans et al. 2017, arXiv 1701.05517).

    The lowest and the highest value have all that lies beyond them as well, so the values sum to one. Where the paper
    goes over to the density at the middle of a step, lest a difference of two sigmoids be lost to rounding, the
    difference is written as a product here, which is exact. Data are grey values over [0, 1] (``unit``) or [-1, 1]
    (``signed``); one between two steps counts as the nearer. At each element the decoder gives weights, means and
    log-scales of the components, as if data were in [-1, 1]; log-scales are held within ±7 (the paper's lower bound).

    The reconstruction is the mean of the mixture with its tails cut off at the ends: that of the grey values to within
    half a step.

    Args:
        shape: That of one sample.
        domain: Where the lowest and the highest grey value lie.
        components: Logistic densities in the mixture.
        levels: How many grey values there are.
        linear_colours: For three channels: one choice of component for all of them, as in the paper, the mean of green
            moving linearly with the red value, that of blue with both. It takes a fourth number at each element and
            component, and masks that hide the three together. Otherwise each channel has a mixture of its own.
    """

    domains = frozenset({"unit", "signed"})

    def __init__(
        self, shape: Shape, domain: Domain, *, components: int = 5, levels: int = 256, linear_colours: bool = False
    ) -> None:
        super().__init__()
        who = "loss discretised_logistic_mixture"
        if components < 2 or levels < 2:
            raise AeframeError(f"{who} needs components and levels of at least 2, found {components} and {levels}")
        if linear_colours and (len(shape) < 2 or shape[0] != 3):
            raise AeframeError(
                f"{who} needs three channels for linear_colours, found the shape {shape}; set linear_colours=false"
            )
        self.ndim, self.levels, self.linear_colours = len(shape), levels, linear_colours
        self.num_outputs = (4 if linear_colours else 3) * components
        self.low = domain.bounds[0]
        self.width = 1 - self.low

    @property
    def output_range(self) -> ActivationTraits:
        return ActivationTraits(self.low, 1.0, (True, True), saturates=True)

    def elements(self, output: Tensor, x: Tensor) -> Tensor:
        mixture = -1 - self.ndim
        logits, means, log_scales, slopes = self._split(output)
        level = ((x.to(output.dtype) - self.low) / self.width * (self.levels - 1)).round().unsqueeze(mixture)
        grey = (2 * level / (self.levels - 1) - 1).expand_as(means)
        if slopes is not None:
            red, green, _ = grey.unbind(-self.ndim)
            first, second, third = slopes.unbind(-self.ndim)
            means = means + torch.stack([0 * red, first * red, second * red + third * green], -self.ndim)
        half_step, inverse = 1 / (self.levels - 1), (-log_scales).exp()
        above, below = (grey - means + half_step) * inverse, (grey - means - half_step) * inverse
        lowest, highest = level <= 0, level >= self.levels - 1
        # log(s(a) - s(b)) = log s(a) + log s(-b) + log(1 - exp(b - a)) for the sigmoid s; an end has one factor.
        log_p = F.logsigmoid(above).masked_fill(highest, 0.0) + F.logsigmoid(-below).masked_fill(lowest, 0.0)
        log_p = log_p + (-torch.expm1(-2 * half_step * inverse)).log().masked_fill(lowest | highest, 0.0)
        if slopes is None:
            return -(logits + log_p).logsumexp(mixture)
        # One component for the three: the share of a channel is what it adds to those before it.
        joint = (logits + log_p.cumsum(-self.ndim)).logsumexp(mixture)
        return -joint.diff(dim=-self.ndim, prepend=torch.zeros_like(joint.narrow(-self.ndim, 0, 1)))

    def mean(self, output: Tensor) -> Tensor:
        def within(mean: Tensor, scale: Tensor) -> Tensor:
            # The mean of a logistic variable that is brought back to the ends of [-1, 1].
            return scale * (F.softplus((mean + 1) / scale) - F.softplus((mean - 1) / scale)) - 1

        logits, means, log_scales, slopes = self._split(at_least_float32(output))
        values = self._values(within, means, log_scales, slopes)
        return self._own((logits.exp() * values).sum(-1 - self.ndim).clamp(-1, 1))

    def sample(self, output: Tensor) -> Tensor:
        def draw(mean: Tensor, scale: Tensor) -> Tensor:
            grey = (mean + scale * torch.rand_like(mean).logit(eps=1e-6)).clamp(-1, 1)
            return (0.5 * (grey + 1) * (self.levels - 1)).round() * 2 / (self.levels - 1) - 1

        logits, means, log_scales, slopes = self._split(at_least_float32(output))
        values = self._values(draw, means, log_scales, slopes)
        noise = torch.empty_like(logits).exponential_().log()
        chosen = (logits - noise).argmax(-1 - self.ndim, keepdim=True)
        chosen = chosen.expand(*values.shape[: -1 - self.ndim], 1, *values.shape[-self.ndim :])
        return self._own(values.gather(-1 - self.ndim, chosen).squeeze(-1 - self.ndim))

    def _split(self, output: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
        """Return log-weights, means, log-scales, and slopes where there are any: ``(..., B, components, *shape)``."""
        mixture = -1 - self.ndim
        logits, means, log_scales, *slopes = output.unflatten(mixture, (3 + self.linear_colours, -1)).unbind(
            mixture - 1
        )
        if self.linear_colours:
            logits = logits.sum(-self.ndim, keepdim=True)
        log_scales = log_scales.clamp(-_MAX_LOG_SCALE, _MAX_LOG_SCALE)
        return logits.log_softmax(mixture), means, log_scales, slopes[0].tanh() if slopes else None

    def _values(
        self, value: Callable[[Tensor, Tensor], Tensor], means: Tensor, log_scales: Tensor, slopes: Tensor | None
    ) -> Tensor:
        """Return the value of each component, channel after channel where the later ones move with the earlier."""
        scales = log_scales.exp()
        if slopes is None:
            return value(means, scales)
        mean, scale = means.unbind(-self.ndim), scales.unbind(-self.ndim)
        first, second, third = slopes.unbind(-self.ndim)
        red = value(mean[0], scale[0])
        green = value(mean[1] + first * red, scale[1])
        blue = value(mean[2] + second * red + third * green, scale[2])
        return torch.stack([red, green, blue], -self.ndim)

    def _own(self, grey: Tensor) -> Tensor:
        """Return values of [-1, 1] in those of the domain."""
        return self.low + 0.5 * self.width * (grey + 1)
