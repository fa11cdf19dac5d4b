"""Samples from a normalising flow fitted to the training codes."""

from __future__ import annotations

import copy
import math
from typing import Literal

import torch
from torch import Tensor

from aeframe.errors import AeframeError
from aeframe.parts.flows import FlowDensity
from aeframe.parts.samplers.base import Sampler, check_fitted
from aeframe.types import Model

_BATCH, _LOOK = 256, 50


class FlowSampler(Sampler):
    """Draw from a flow fitted by maximum likelihood to the training codes, each number standardised first.

    A tenth of the codes is held out, and the flow that was likeliest on them is kept.

    Args:
        model: Says the shape of z, which is flattened.
        transform: ``maf`` (Papamakarios et al. 2017, arXiv 1705.07057) or ``spline`` (Durkan et al. 2019,
            arXiv 1906.04032).
        num_transforms: How many follow each other.
        hidden: Sizes of each one's dense layers.
        steps: Of Adam at most, on 256 codes each.
        lr: Its rate.
    """

    fitted = True
    mean: Tensor
    scale: Tensor

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

    @torch.enable_grad()
    def fit(self, z: Tensor, codes: Tensor | None) -> None:
        if len(z) < 2:
            raise AeframeError(f"sampler flow needs at least 2 codes to fit, found {len(z)}")
        rows = z.detach().flatten(1).to(self.mean)
        self.mean.copy_(rows.mean(0))
        # A number that never moves keeps its place.
        self.scale.copy_(rows.std(0).clamp(min=1e-6))
        rows = ((rows - self.mean) / self.scale)[torch.randperm(len(rows)).to(rows.device)]
        held_out, rows = rows.split([max(1, len(rows) // 10), len(rows) - max(1, len(rows) // 10)])
        optimizer = torch.optim.Adam(self.density.parameters(), lr=self.lr)
        best, lowest = self.density.state_dict(), math.inf
        for step in range(self.steps):
            if step % _LOOK == 0:
                with torch.no_grad():
                    now = float(-self.density.log_prob(held_out).mean())
                if now < lowest:
                    best, lowest = copy.deepcopy(self.density.state_dict()), now
            optimizer.zero_grad()
            drawn = rows[torch.randint(len(rows), (_BATCH,)).to(rows.device)]
            (-self.density.log_prob(drawn).mean()).backward()
            optimizer.step()
        self.density.load_state_dict(best)

    @torch.no_grad()
    def sample(self, model: Model, num: int) -> Tensor:
        check_fitted("flow", self.scale)
        return (self.mean + self.scale * self.density.sample(num)).reshape(num, *model.latent.shape)
