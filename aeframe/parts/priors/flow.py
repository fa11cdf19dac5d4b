"""The flow prior."""

from __future__ import annotations

import math
from typing import Literal

from torch import Tensor

from aeframe.parts.flows import FlowDensity
from aeframe.parts.priors.base import Prior
from aeframe.types import Shape


class FlowPrior(Prior):
    """A normalising flow over all the numbers of z, learned with the model (Chen et al. 2017, arXiv 1611.02731).

    Args:
        z_shape: Of one z, which is flattened.
        transform: ``maf`` (Papamakarios et al. 2017, arXiv 1705.07057) and ``spline`` (Durkan et al. 2019,
            arXiv 1906.04032) know a density in one pass, and take one for each number of z to draw; ``iaf`` (Kingma
            et al. 2016, arXiv 1606.04934) is the other way round, so that it trains slowly.
        num_transforms: How many follow each other.
        hidden: Sizes of each one's dense layers.
    """

    def __init__(
        self,
        z_shape: Shape,
        *,
        transform: Literal["maf", "spline", "iaf"] = "maf",
        num_transforms: int = 3,
        hidden: tuple[int, ...] = (64, 64),
    ) -> None:
        super().__init__()
        self.z_shape = z_shape
        self.density = FlowDensity(transform, math.prod(z_shape), num_transforms=num_transforms, hidden=hidden)

    def log_prob(self, z: Tensor) -> Tensor:
        return self.density.log_prob(z.flatten(-len(self.z_shape)))

    def sample(self, num: int) -> Tensor:
        return self.density.sample(num).reshape(num, *self.z_shape)
