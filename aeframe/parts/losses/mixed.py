"""The likelihood of samples whose elements are real numbers and classes, such as the rows of a table."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from aeframe.errors import AeframeError
from aeframe.parts.activations import ActivationTraits, MakeActivation
from aeframe.parts.losses.base import Loss, head_activation
from aeframe.parts.packed import Packing
from aeframe.tensors import at_least_float32
from aeframe.types import Domain, Shape


class Mixed(Loss):
    """-log p(x | z) of real numbers and classes: a normal for each real element, a softmax for each of the others.

    The decoder returns one vector of W numbers: the mean of a real element, the n logits of one of n classes. The
    reconstruction has the mean, and the most probable class.

    Args:
        domain: The domain of the data, ``mixed``.
        variance: ``element``: one learned standard deviation for each real element, initially `scale`, as in the TVAE
            (Xu et al. 2019, arXiv 1907.00503). ``fixed``: `scale`.
        scale: The standard deviation or its initial value, in the units of prepared x.
        min_scale: Lower bound of a learned standard deviation, which is soft: a column that follows from the others
            would otherwise have a likelihood without bound.
        activation: Activation of the means, such as ``tanh`` for values in [-1, 1]; null takes the identity, the
            default of the domain.

    Raises:
        AeframeError: A scale is not above its bound.
    """

    domains = frozenset({"mixed"})
    draws_samples = True

    def __init__(
        self,
        domain: Domain,
        *,
        variance: Literal["element", "fixed"] = "element",
        scale: float = 1.0,
        min_scale: float = 0.01,
        activation: str | None = None,
    ) -> None:
        super().__init__()
        if not (scale > min_scale > 0 or (variance == "fixed" and scale > 0)):
            raise AeframeError(
                f"loss mixed needs scale above min_scale, and min_scale above 0, found scale={scale} and "
                f"min_scale={min_scale}"
            )
        self.packing = Packing(domain.element_classes)
        self.scale, self.min_scale = scale, min_scale
        self.activation = MakeActivation.named(head_activation(domain, activation))()
        num_real = len(self.packing.real)
        self.raw_scale = nn.Parameter(torch.zeros(num_real)) if variance == "element" else None

    @property
    def output_range(self) -> ActivationTraits:
        return ActivationTraits(elementwise=False)

    def output_shape(self, shape: Shape) -> Shape:
        return (1, self.packing.size)

    def scales(self) -> Tensor:
        """Return the standard deviation of each real element ``(R,)``, or ``(1,)`` if it is fixed."""
        if self.raw_scale is None:
            return torch.full((1,), self.scale, device=self.packing.real.device)
        # softplus(0) is log(2): the value of a new parameter is `scale`.
        above_min = F.softplus(self.raw_scale.float()) / math.log(2) * (self.scale - self.min_scale)
        return self.min_scale + above_min

    def elements(self, output: Tensor, x: Tensor) -> Tensor:
        packed = output.squeeze(-2)
        x = x.to(packed.dtype)
        scales = self.scales()
        standardised = (x.index_select(-1, self.packing.real) - self._means(packed)) / scales
        real = 0.5 * (standardised.square() + math.log(2 * math.pi)) + scales.log()
        # `unpacked` copies the values: classes and real numbers have their own places.
        return self.packing.unpacked(real, self.packing.cross_entropy(packed, x))

    def mean(self, output: Tensor) -> Tensor:
        packed = at_least_float32(output).squeeze(-2)
        return self.packing.unpacked(self._means(packed), self.packing.most_probable(packed))

    @torch.no_grad()
    def sample(self, output: Tensor) -> Tensor:
        packed = at_least_float32(output).squeeze(-2)
        means = self._means(packed)
        # The largest logit with Gumbel noise is a draw from the softmax.
        uniform = torch.rand_like(packed).clamp_(torch.finfo(packed.dtype).tiny, 1 - torch.finfo(packed.dtype).eps)
        classes = self.packing.most_probable(packed - (-uniform.log()).log())
        return self.packing.unpacked(means + self.scales() * torch.randn_like(means), classes)

    def _means(self, packed: Tensor) -> Tensor:
        means: Tensor = self.activation(packed.index_select(-1, self.packing.real_position))
        return means
