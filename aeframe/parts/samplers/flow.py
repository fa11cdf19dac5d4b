"""A sampler that draws from a normalising flow, fitted to the training codes."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor

from aeframe.errors import AeframeError
from aeframe.parts.flows import FlowDensity
from aeframe.parts.gradient_descent import hold_out, minimise, random_batches
from aeframe.parts.samplers.base import Sampler, check_fitted
from aeframe.types import Model

_BATCH_SIZE, _VALIDATION_INTERVAL = 256, 50


class FlowSampler(Sampler):
    """Draws from a flow that is fitted to the standardised training codes by maximum likelihood.

    A tenth of the codes is held out, and the weights with the highest likelihood on them are kept.

    Args:
        model: A trained model; its z is flattened.
        transform: ``maf`` (Papamakarios et al. 2017, arXiv 1705.07057) or ``spline`` (Durkan et al. 2019,
            arXiv 1906.04032).
        num_transforms: Number of transforms in sequence.
        hidden: Units of the dense layers in each transform.
        steps: Number of training steps, of 256 codes each.
        lr: Learning rate of Adam.
    """

    requires_fit = True
    mean: Tensor
    """``(D,)``: the mean of the training codes, each flattened to D numbers."""
    scale: Tensor
    """``(D,)``: their standard deviation; 0 before the fit."""

    def __init__(
        self,
        model: Model,
        *,
        transform: Literal["maf", "spline"] = "maf",
        num_transforms: int = 5,
        hidden: tuple[int, ...] = (64, 64),
        steps: int = 1000,
        lr: float = 1e-3,
    ) -> None:
        super().__init__()
        if steps < 1 or lr <= 0:
            raise AeframeError(f"sampler flow needs steps of at least 1 and lr above 0, found {steps} and {lr}")
        dim = math.prod(model.latent.shape)
        self.steps, self.lr = steps, lr
        self.density = FlowDensity(transform, dim, num_transforms=num_transforms, hidden=hidden)
        self.register_buffer("mean", torch.zeros(dim))
        self.register_buffer("scale", torch.zeros(dim))

    def fit(self, z: Tensor, codes: Tensor | None) -> None:
        if len(z) < 2:
            raise AeframeError(f"sampler flow needs at least 2 codes to fit, found {len(z)}")
        rows = z.detach().flatten(1).to(self.mean)
        self.mean.copy_(rows.mean(0))
        # A number that is the same in all codes has standard deviation 0; the floor avoids a division by 0.
        self.scale.copy_(rows.std(0).clamp(min=1e-6))
        held_out, rows = hold_out((rows - self.mean) / self.scale)
        minimise(
            self.density,
            lambda batch: -self.density.log_prob(batch),
            random_batches(rows, _BATCH_SIZE, self.steps),
            torch.optim.Adam(self.density.parameters(), lr=self.lr),
            held_out=held_out,
            validate_at=range(0, self.steps, _VALIDATION_INTERVAL),
        )

    @torch.no_grad()
    def sample(self, model: Model, num: int) -> Tensor:
        check_fitted("flow", self.scale)
        return (self.mean + self.scale * self.density.sample(num)).reshape(num, *model.latent.shape)
