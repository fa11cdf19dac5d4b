"""`Head`: the linear layer from features to the parameters of a latent."""

from __future__ import annotations

from torch import Tensor, nn

from aeframe.errors import AeframeError
from aeframe.types import Shape


class Head(nn.Module):
    """The last linear step from features ``(B, C, *positions)`` to ``(B, *shape)``.

    A flat z (``spatial=False``) reads all the positions at once; a spatial one ``(dim, *positions)`` reads each
    position alone, which is what a 1x1 convolution does in any number of dimensions.
    """

    def __init__(self, feature_shape: Shape, dim: int, *, spatial: bool) -> None:
        super().__init__()
        if dim < 1:
            raise AeframeError(
                f"a latent needs dim of at least 1, and here its last layer would have {dim} outputs; "
                "set latent.dim=1 or more"
            )
        channels, *positions = feature_shape
        self.spatial = spatial and bool(positions)
        self.shape: Shape = (dim, *positions) if self.spatial else (dim,)
        size = channels
        if not self.spatial:
            for positions_here in positions:
                size *= positions_here
        self.linear = nn.Linear(size, dim)

    def forward(self, features: Tensor) -> Tensor:
        if not self.spatial:
            projected: Tensor = self.linear(features.flatten(1))
            return projected
        return self.linear(features.movedim(1, -1)).movedim(-1, 1)
