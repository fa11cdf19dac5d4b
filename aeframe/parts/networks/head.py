"""`Head`: a linear layer from features to the parameters of a latent space, or to the logits of a discriminator.

Shapes: B samples; C channels; ``positions``: the sizes of the spatial axes, such as (H, W), and none for flat features.
"""

from __future__ import annotations

import math

from torch import Tensor, nn

from aeframe.errors import AeframeError
from aeframe.types import Shape


class Head(nn.Module):
    """A linear layer from features ``(B, C, *positions)`` to ``(B, *shape)``.

    With ``spatial=False`` it is applied to the flattened features, and `shape` is ``(dim,)``. With ``spatial=True`` it
    is applied at each position, like a convolution of kernel 1, and `shape` is ``(dim, *positions)``.

    `groups` are the sizes of consecutive groups of the outputs, such as means and log-variances; None is one group.
    `aeframe.model.initialisation.initialise` copies each group separately into a head of another size.
    """

    def __init__(self, feature_shape: Shape, dim: int, *, spatial: bool, groups: tuple[int, ...] | None = None) -> None:
        super().__init__()
        if dim < 1:
            raise AeframeError(
                f"a latent needs dim of at least 1, found a linear layer with {dim} outputs; set latent.dim=1 or more"
            )
        channels, *positions = feature_shape
        self.spatial, self.groups = spatial and bool(positions), groups or (dim,)
        self.shape: Shape = (dim, *positions) if self.spatial else (dim,)
        num_inputs = channels if self.spatial else math.prod(feature_shape)
        self.linear = nn.Linear(num_inputs, dim)

    def forward(self, features: Tensor) -> Tensor:
        if not self.spatial:
            projected: Tensor = self.linear(features.flatten(1))
            return projected
        return self.linear(features.movedim(1, -1)).movedim(-1, 1)
