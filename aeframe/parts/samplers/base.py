"""What every sampler is: a density of z, fitted after training, that new codes are drawn from."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor, nn

from aeframe.errors import AeframeError
from aeframe.types import Model


class Sampler(nn.Module):
    """A way to draw new codes from a trained model; what `fit` learns is kept in buffers, so it is saved with it.

    A constructor is given `model` when it names it. `requires` is what the latent must give. Buffers have their final
    shape from the constructor on.
    """

    requires: ClassVar[frozenset[str]] = frozenset()
    spaces: ClassVar[frozenset[str] | None] = frozenset({"euclidean"})
    """The kinds of z it draws: see `LatentSpace.space`; None where it leaves that to the model."""
    fitted: ClassVar[bool] = False
    """Whether `fit` must be called before `sample`."""

    def fit(self, z: Tensor, codes: Tensor | None) -> None:
        """Learn from the training codes: z ``(N, *z_shape)``, and their integers for a quantiser."""

    def sample(self, model: Model, num: int) -> Tensor:
        """Draw ``(num, *z_shape)``."""
        raise NotImplementedError


def check_fitted(name: str, learned: Tensor) -> None:
    """Refuse to draw from a sampler that has learned nothing yet: what it learns is not all zero."""
    if not learned.any():
        raise AeframeError(
            f"sampler {name} was asked for new codes before it was fitted; fit it to training codes first"
        )
