"""What every latent space is."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor, nn

from aeframe.batch import Latent, Shape
from aeframe.errors import AeframeError
from aeframe.parts.schedules import Schedule


class LatentSpace(nn.Module):
    """A way from features ``(B, C, *positions)`` to a code.

    A constructor is given `feature_shape` ``(C, *positions)`` and sets `shape`, that of one z. `gives` says what is
    known of a code: ``"posterior"`` (a distribution with `log_prob`), ``"codes"`` (integers), or nothing but a point.
    `weights` has a schedule for each of the terms it puts into `Latent.terms`; a term without one weighs 1.
    """

    gives: ClassVar[frozenset[str]] = frozenset()
    shape: Shape
    weights: dict[str, Schedule]
    num_codes: int = 0
    """How many different integers a code may be, for spaces that give codes."""

    def __init__(self) -> None:
        super().__init__()
        self.weights = {}

    def forward(self, features: Tensor, *, sample: bool, num_samples: int | None = None) -> Latent:
        """Return the code of features.

        With `sample` z is drawn from the posterior (where there is one), otherwise ``z = mean``. With `num_samples`
        K, z is ``(K, B, *shape)``.
        """
        raise NotImplementedError

    def from_codes(self, codes: Tensor) -> Tensor:
        """Return z ``(B, *shape)`` of integer codes, for spaces that give codes."""
        raise NotImplementedError


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
