"""A sampler that draws from a kernel density estimate of the training codes."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor

from aeframe.errors import AeframeError
from aeframe.parts.samplers.base import Sampler, check_fitted
from aeframe.types import Model


class KernelDensitySampler(Sampler):
    """Draws a training code and adds normal noise to each of its numbers: a kernel density estimate with a diagonal
    bandwidth (Silverman 1986; Scott 1992).

    Args:
        model: A trained model; its z is flattened.
        kernels: Maximum number of training codes that are stored, chosen at random.
        bandwidth: Standard deviation of the noise, in standard deviations of each number. For n codes of D numbers,
            ``scott`` is n^(-1/(D + 4)) and ``silverman`` is (n (D + 2) / 4)^(-1/(D + 4)), both optimal for a normal
            density. They are near 1 for large D; a smaller number, such as 0.1, keeps samples near the codes.
    """

    requires_fit = True
    centres: Tensor
    """``(kernels, D)``: the stored codes, each flattened to D numbers."""
    weights: Tensor
    """``(kernels,)``: equal for all stored codes, 0 for unused kernels."""
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
        selected = torch.randperm(len(rows))[: len(self.centres)].to(rows.device)
        num, dim = len(selected), rows.shape[1]
        bandwidth = self.bandwidth
        if not isinstance(bandwidth, float):
            bandwidth = (num if bandwidth == "scott" else num * (dim + 2) / 4) ** (-1 / (dim + 4))
        self.centres.zero_()[:num] = rows[selected]
        self.weights.zero_()[:num] = 1 / num
        self.scale.copy_(bandwidth * rows.std(0))

    def sample(self, model: Model, num: int) -> Tensor:
        check_fitted("kde", self.weights)
        kernel = torch.multinomial(self.weights, num, replacement=True)
        noise = torch.randn(num, len(self.scale), dtype=self.scale.dtype, device=self.scale.device)
        return (self.centres[kernel] + self.scale * noise).reshape(num, *model.latent.shape)
