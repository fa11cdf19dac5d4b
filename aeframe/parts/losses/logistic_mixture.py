"""The discretised logistic mixture likelihood of grey values.

Shapes: B samples; ``components`` logistic densities of a mixture; ``...``: dimensions before B, such as importance
samples.
"""

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
    """-log p of one of `levels` grey values under a mixture of logistic densities (PixelCNN++: Salimans et al. 2017,
    arXiv 1701.05517).

    The probability of a grey value is the mass of the mixture within half a step of it. The lowest and the highest
    value include the tails, so probabilities sum to one. The difference of two sigmoids is computed as a product, which
    is accurate for small differences; the paper approximates these by the density.

    Data are grey values in [0, 1] (``unit``) or [-1, 1] (``signed``), and are rounded to the nearest of the `levels`.
    The decoder returns weights, means and log-scales of the components for each element, for data in [-1, 1];
    log-scales are clamped to ±7 (-7 is the paper's lower bound). The reconstruction is the mean of the mixture with
    both tails clamped, which is the mean grey value to within half a step.

    Args:
        shape: Shape of one sample.
        domain: The set of values that x can take: ``unit`` or ``signed``.
        components: Number of logistic densities in the mixture.
        levels: Number of grey values.
        linear_colours: For three channels: all three share one component, as in the paper. The mean of green is linear
            in red, and the mean of blue is linear in red and green. This needs a fourth number for each element and
            component, and masks that are equal in the three channels. Otherwise each channel has its own mixture.
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
        mixture_dim = -1 - self.ndim
        log_weights, means, log_scales, slopes = self._split(output)
        level = ((x.to(output.dtype) - self.low) / self.width * (self.levels - 1)).round().unsqueeze(mixture_dim)
        grey = (2 * level / (self.levels - 1) - 1).expand_as(means)
        if slopes is not None:
            red, green, _ = grey.unbind(-self.ndim)
            green_on_red, blue_on_red, blue_on_green = slopes.unbind(-self.ndim)
            means = means + torch.stack(
                [0 * red, green_on_red * red, blue_on_red * red + blue_on_green * green], -self.ndim
            )
        half_step, inverse_scales = 1 / (self.levels - 1), (-log_scales).exp()
        above, below = (grey - means + half_step) * inverse_scales, (grey - means - half_step) * inverse_scales
        lowest, highest = level <= 0, level >= self.levels - 1
        # log(s(a) - s(b)) = log s(a) + log s(-b) + log(1 - exp(b - a)) for the sigmoid s. The probability of the lowest
        # value is s(a) alone, and that of the highest is s(-b).
        log_p = F.logsigmoid(above).masked_fill(highest, 0.0) + F.logsigmoid(-below).masked_fill(lowest, 0.0)
        log_p = log_p + (-torch.expm1(-2 * half_step * inverse_scales)).log().masked_fill(lowest | highest, 0.0)
        if slopes is None:
            return -(log_weights + log_p).logsumexp(mixture_dim)
        # The loss of a channel is the increase of the joint loss over that of the channels before it.
        joint = (log_weights + log_p.cumsum(-self.ndim)).logsumexp(mixture_dim)
        return -joint.diff(dim=-self.ndim, prepend=torch.zeros_like(joint.narrow(-self.ndim, 0, 1)))

    def mean(self, output: Tensor) -> Tensor:
        def clamped_mean(mean: Tensor, scale: Tensor) -> Tensor:
            # The mean of a logistic variable that is clamped to [-1, 1].
            return scale * (F.softplus((mean + 1) / scale) - F.softplus((mean - 1) / scale)) - 1

        log_weights, means, log_scales, slopes = self._split(at_least_float32(output))
        values = self._values(clamped_mean, means, log_scales, slopes)
        return self._to_domain((log_weights.exp() * values).sum(-1 - self.ndim).clamp(-1, 1))

    def sample(self, output: Tensor) -> Tensor:
        def draw(mean: Tensor, scale: Tensor) -> Tensor:
            grey = (mean + scale * torch.rand_like(mean).logit(eps=1e-6)).clamp(-1, 1)
            return (0.5 * (grey + 1) * (self.levels - 1)).round() * 2 / (self.levels - 1) - 1

        log_weights, means, log_scales, slopes = self._split(at_least_float32(output))
        values = self._values(draw, means, log_scales, slopes)
        # Minus the logarithm of an exponential variable is Gumbel noise, so the argmax is a draw of the component.
        minus_gumbel = torch.empty_like(log_weights).exponential_().log()
        chosen = (log_weights - minus_gumbel).argmax(-1 - self.ndim, keepdim=True)
        chosen = chosen.expand(*values.shape[: -1 - self.ndim], 1, *values.shape[-self.ndim :])
        return self._to_domain(values.gather(-1 - self.ndim, chosen).squeeze(-1 - self.ndim))

    def _split(self, output: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
        """Return log-weights, means, log-scales and slopes, each ``(..., B, components, *shape)``.

        Slopes are the three coefficients of `linear_colours` for each position, and None without this option.
        """
        mixture_dim = -1 - self.ndim
        logits, means, log_scales, *slopes = output.unflatten(mixture_dim, (3 + self.linear_colours, -1)).unbind(
            mixture_dim - 1
        )
        if self.linear_colours:
            logits = logits.sum(-self.ndim, keepdim=True)
        log_scales = log_scales.clamp(-_MAX_LOG_SCALE, _MAX_LOG_SCALE)
        return logits.log_softmax(mixture_dim), means, log_scales, slopes[0].tanh() if slopes else None

    def _values(
        self, value: Callable[[Tensor, Tensor], Tensor], means: Tensor, log_scales: Tensor, slopes: Tensor | None
    ) -> Tensor:
        """Return ``value(mean, scale)`` of each component; with slopes, later means depend on earlier channels."""
        scales = log_scales.exp()
        if slopes is None:
            return value(means, scales)
        mean, scale = means.unbind(-self.ndim), scales.unbind(-self.ndim)
        green_on_red, blue_on_red, blue_on_green = slopes.unbind(-self.ndim)
        red = value(mean[0], scale[0])
        green = value(mean[1] + green_on_red * red, scale[1])
        blue = value(mean[2] + blue_on_red * red + blue_on_green * green, scale[2])
        return torch.stack([red, green, blue], -self.ndim)

    def _to_domain(self, grey: Tensor) -> Tensor:
        """Map values in [-1, 1] to the domain of the data."""
        return self.low + 0.5 * self.width * (grey + 1)
