"""The point latent: a deterministic code without a distribution."""

from __future__ import annotations

from torch import Tensor

from aeframe.parts.activations import MakeActivation
from aeframe.parts.latents.base import LatentSpace
from aeframe.parts.networks.head import Head
from aeframe.types import Latent, Shape


class Point(LatentSpace):
    """A code of `dim` numbers (Hinton & Salakhutdinov 2006, Science 313).

    `spatial` keeps the positions of the features, so that z is ``(dim, *positions)``. `activation` bounds the code, for
    example sigmoid in a sparse autoencoder.
    """

    def __init__(
        self, feature_shape: Shape, *, dim: int = 16, spatial: bool = False, activation: str | None = None
    ) -> None:
        super().__init__()
        self.head = Head(feature_shape, dim, spatial=spatial)
        self.shape = self.head.shape
        self.activation = MakeActivation.named(activation or "identity")()

    def forward(self, features: Tensor, *, sample: bool) -> Latent:
        z = self.activation(self.head(features))
        return Latent(z, mean=z)
