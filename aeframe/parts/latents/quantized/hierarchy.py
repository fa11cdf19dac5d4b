"""Two levels of codes, at two resolutions."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor, nn

from aeframe.parts.activations import MakeActivation
from aeframe.parts.latents.base import LatentSpace
from aeframe.parts.latents.quantized.base import VectorQuantized
from aeframe.parts.networks.blocks import ResidualBlock, Upsample, convolution, halved_sizes
from aeframe.parts.schedules import Schedule, fixed
from aeframe.types import Latent, Shape

_KERNEL = 3


class QuantizedHierarchy(LatentSpace):
    """Quantise at half the resolution, then the details beside it (VQ-VAE-2: Razavi et al. 2019, arXiv 1906.00446).

    The top code sees the features through a convolution of stride 2 and a residual block. A transposed convolution
    brings it up to the resolution of the features, beside which it is quantised again as the bottom code; both go to
    the decoder, ``(2 * dim, *positions)``. The paper has two ways up, one for the bottom code and one for the decoder;
    here they are one. z is a row of vectors ``(dim, top + bottom)``, the top's first, so that codes ``(B, top + bottom,
    1)`` are a sequence from coarse to fine. Flat features are spread over `tokens` positions by a linear layer first.
    Terms are those of vq, of both.

    Args:
        feature_shape: ``(C, *positions)``.
        codebook_size: How many vectors each of the two codebooks has.
        dim: Numbers of one vector.
        tokens: Vectors of the bottom code when the features are flat; the top one has half of them.
        update: See vq, and so for the options below.
        decay: Of the averages behind ``ema`` and `revive`.
        commitment: Weight of the commitment term.
        kmeans_init: The first training batch places the codebooks.
        revive: Codes below this share of an even use are moved; 0 leaves dead codes dead.
        rotation_trick: Rotate the gradient instead of copying it.
        distance: ``cosine`` brings vectors and codes to length 1 first.
        activation: Of the residual block; null takes the run's own.
    """

    provides = frozenset({"codes"})

    def __init__(
        self,
        feature_shape: Shape,
        *,
        codebook_size: int = 512,
        dim: int = 64,
        tokens: int = 8,
        update: Literal["ema", "gradient"] = "ema",
        decay: float = 0.99,
        commitment: Schedule = fixed(0.25),
        kmeans_init: bool = True,
        revive: float = 0.1,
        rotation_trick: bool = False,
        distance: Literal["euclidean", "cosine"] = "euclidean",
        activation: MakeActivation | None = None,
    ) -> None:
        super().__init__()
        make = (activation or MakeActivation.named("relu")).same_shape("latent vq_hierarchy")

        def quantizer(*shape: int) -> VectorQuantized:
            return VectorQuantized(
                shape,
                codebook_size=codebook_size,
                dim=dim,
                tokens=tokens,
                update=update,
                decay=decay,
                kmeans_init=kmeans_init,
                revive=revive,
                rotation_trick=rotation_trick,
                distance=distance,
            )

        channels, positions = feature_shape[0], feature_shape[1:] or (tokens,)
        smaller = halved_sizes(positions, 1)[1]
        self.top = quantizer(channels, *smaller)
        self.down = nn.Sequential(
            convolution(len(positions), channels, channels, _KERNEL, stride=2),
            ResidualBlock(len(positions), channels, _KERNEL, make, "none"),
        )
        self.up = Upsample(dim, dim, positions, _KERNEL)
        self.bottom = quantizer(channels + dim, *positions)
        self.sizes = (math.prod(smaller), math.prod(positions))
        self.shape = (dim, sum(self.sizes))
        flat = len(feature_shape) == 1
        spread = (nn.Linear(channels, channels * tokens), nn.Unflatten(1, (channels, tokens))) if flat else ()
        self.spread = nn.Sequential(*spread)
        self.num_codes = codebook_size
        self.weights["commitment"] = commitment

    @property
    def decoder_shape(self) -> Shape:
        dim, *positions = self.bottom.shape
        return (2 * dim, *positions)

    def forward(self, features: Tensor, *, sample: bool, num_samples: int | None = None) -> Latent:
        features = self.spread(features)
        top: Latent = self.top(self.down(features), sample=sample)
        bottom: Latent = self.bottom(torch.cat([features, self.up(top.z)], 1), sample=sample)
        assert top.codes is not None
        assert bottom.codes is not None
        z = torch.cat([top.z.flatten(2), bottom.z.flatten(2)], 2)
        return Latent(
            z if num_samples is None else z.expand(num_samples, *z.shape),
            z,
            codes=torch.cat([top.codes.flatten(1, -2), bottom.codes.flatten(1, -2)], 1),
            terms={name: value + bottom.terms[name] for name, value in top.terms.items()},
        )

    def decoder_input(self, z: Tensor) -> Tensor:
        top, bottom = z.split(self.sizes, 2)
        up = self.up(top.unflatten(2, self.top.shape[1:]))
        return torch.cat([up, bottom.unflatten(2, self.bottom.shape[1:])], 1)

    def from_codes(self, codes: Tensor) -> Tensor:
        # To both, positions are one row.
        parts = zip((self.top, self.bottom), codes.split(self.sizes, 1), strict=True)
        return torch.cat([quantizer.from_codes(part) for quantizer, part in parts], 2)
