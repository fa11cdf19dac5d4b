"""The prior of a normalising flow."""

from __future__ import annotations

import math
from typing import Literal

from torch import Tensor

from aeframe.parts.flows import FlowDensity
from aeframe.parts.priors.base import Prior
from aeframe.types import Shape


class FlowPrior(Prior):
    """A normalising flow over the flattened z, learned with the model (Chen et al. 2017, arXiv 1611.02731).

    Args:
        z_shape: The shape of one z.
        transform: ``maf`` (Papamakarios et al. 2017, arXiv 1705.07057) and ``spline`` (Durkan et al. 2019,
            arXiv 1906.04032) compute a density in one pass, and a sample in one pass per dimension of z. ``iaf``
            (Kingma et al. 2016, arXiv 1606.04934) samples in one pass, and trains slowly.
        num_transforms: Number of transforms in sequence.
        hidden: Sizes of the dense layers of each transform.
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
