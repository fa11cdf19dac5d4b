"""Samples from Gaussian kernels around the training codes."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor

from aeframe.errors import AeframeError
from aeframe.parts.samplers.base import Sampler, check_fitted
from aeframe.types import Model


class KernelDensitySampler(Sampler):
    """Draw a training code and add normal noise to each of its numbers: a kernel density estimate with a diagonal
    bandwidth (Silverman 1986; Scott 1992).

    Args:
        model: Says the shape of z, which is flattened.
        kernels: At most so many codes are kept, drawn at random from all.
        bandwidth: The noise, in standard deviations of each number: of n codes of D numbers ``scott`` takes
            n^(-1/(D + 4)) and ``silverman`` (n (D + 2) / 4)^(-1/(D + 4)), the best for a normal density. Both come
            near 1 where D is large; a number of your own, such as 0.1, stays nearer to the codes.
    """

    fitted = True
    centres: Tensor
    """``(kernels, D)``."""
    weights: Tensor
    """``(kernels,)``: the same for each code that was kept, 0 beyond."""
    scale: Tensor
    """``(D,)``: the standard deviation of the noise."""

    def __init__(
        self,
        model: Model,
        *,
        kernels: int = 2000,
        bandwidth: Literal["scott", "silverman"] | float = "scott",
    ) -> None:
        super().__init__()
        if kernels < 1 or (isinstance(bandwidth, float) and bandwidth <= 0):
            raise AeframeError(
                f"sampler kde needs kernels of at least 1 and a bandwidth above 0, found {kernels} and {bandwidth}"
            )
        dim = math.prod(model.latent.shape)
        self.bandwidth = bandwidth
        self.register_buffer("centres", torch.zeros(kernels, dim))
        self.register_buffer("weights", torch.zeros(kernels))
        self.register_buffer("scale", torch.zeros(dim))

    def fit(self, z: Tensor, codes: Tensor | None) -> None:
        if len(z) < 2:
            raise AeframeError(f"sampler kde needs at least 2 codes to fit, found {len(z)}")
        rows = z.flatten(1).to(self.centres)
        kept = torch.randperm(len(rows))[: len(self.centres)].to(rows.device)
        num, dim = len(kept), rows.shape[1]
        factor = self.bandwidth
        if not isinstance(factor, float):
            factor = (num if factor == "scott" else num * (dim + 2) / 4) ** (-1 / (dim + 4))
        self.centres.zero_()[:num] = rows[kept]
        self.weights.zero_()[:num] = 1 / num
        self.scale.copy_(factor * rows.std(0))

    def sample(self, model: Model, num: int) -> Tensor:
        check_fitted("kde", self.weights)
        which = torch.multinomial(self.weights, num, replacement=True)
        noise = torch.randn(num, len(self.scale), dtype=self.scale.dtype, device=self.scale.device)
        return (self.centres[which] + self.scale * noise).reshape(num, *model.latent.shape)
