"""The base class of samplers: densities of z that are fitted after training, and that new codes are drawn from.

A code is the z of a sample. The integer codes of a quantiser are named as such.
"""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor, nn

from aeframe.errors import AeframeError
from aeframe.types import Model


class Sampler(nn.Module):
    """Draws new codes z for a trained model.

    The constructor can have the argument `model`, which the framework injects. It creates all buffers and parameters in
    their final shapes; `fit` fills them, and they are saved with the model.
    """

    requires: ClassVar[frozenset[str]] = frozenset()
    """What the latent space must provide: see `LatentSpace.provides`."""
    spaces: ClassVar[frozenset[str] | None] = frozenset({"euclidean"})
    """The latent spaces it can draw from: see `LatentSpace.space`; None for all."""
    requires_fit: ClassVar[bool] = False
    """Whether `fit` must be called before `sample`."""

    def fit(self, z: Tensor, codes: Tensor | None) -> None:
        """Fit the density to z ``(N, *z_shape)`` of training samples, and to `codes`, the integers of a quantiser."""

    def sample(self, model: Model, num: int) -> Tensor:
        """Draw new codes z ``(num, *z_shape)``."""
        raise NotImplementedError


def check_fitted(name: str, buffer: Tensor) -> None:
    """Raise an `AeframeError` if `buffer` is all zero, as before the fit; `name` is the sampler's, for the message."""
    if not buffer.any():
        raise AeframeError(f"sampler {name} must be fitted before it can sample; fit it to training codes first")
