"""Vector quantisation at two resolutions (VQ-VAE-2)."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor, nn

from aeframe.parts.activations import MakeActivation
from aeframe.parts.latents.base import LatentSpace
from aeframe.parts.latents.quantized.codebook import CodebookOptions
from aeframe.parts.latents.quantized.vq import LearnedQuantized
from aeframe.parts.networks.blocks import ResidualBlock, Upsample, convolution, halved_sizes
from aeframe.parts.schedules import Schedule, fixed
from aeframe.types import Latent, Shape

_KERNEL = 3


class QuantizedHierarchy(LatentSpace):
    """Quantise a top code at half the resolution, and a bottom code at the full one (VQ-VAE-2: Razavi et al. 2019,
    arXiv 1906.00446).

    The top code is computed from the features by a convolution of stride 2 and a residual block. A transposed
    convolution upsamples it, and the bottom code quantises the concatenation of features and upsampled top code. The
    decoder reads the upsampled top code and the bottom code, ``(2 * dim, *positions)``. The paper upsamples by two
    separate networks, one for the bottom code and one for the decoder; here they share one. z is
    ``(dim, top + bottom)``, top positions first, so that the codes ``(B, top + bottom, 1)`` are a sequence from coarse
    to fine. A linear layer first maps flat features to `tokens` positions. The loss terms are those of latent vq
    (``commitment``, and ``codebook`` with update=gradient), each summed over both codes.

    Args:
        feature_shape: ``(C, *positions)``.
        codebook_size: Number of codes in each of the two codebooks.
        dim: Number of dimensions of one vector.
        tokens: Number of bottom positions when the features are flat; the top has half as many.
        update: ``ema`` or ``gradient``, see latent vq.
        decay: Decay per batch of the moving averages that ``ema`` and `revive` use.
        commitment: Weight of the commitment term; a number or a schedule.
        kmeans_init: Initialise both codebooks by k-means on the first training batch.
        revive: Replace codes used less often than this fraction of uniform use, see latent vq; 0 keeps dead codes.
        rotation_trick: Rotate and scale the gradient instead of copying it, see latent vq.
        distance: ``cosine`` normalises vectors and codes to length 1 first.
        activation: Activation of the residual block; null takes the run's activation.
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
        # same_shape raises an error, with this name, for an activation that changes the shape.
        make_activation = (activation or MakeActivation.named("relu")).same_shape("latent vq_hierarchy")
        options = CodebookOptions(
            codebook_size,
            dim,
            tokens=tokens,
            update=update,
            decay=decay,
            commitment=commitment,
            kmeans_init=kmeans_init,
            revive=revive,
            rotation_trick=rotation_trick,
            distance=distance,
        )
        channels, positions = feature_shape[0], feature_shape[1:] or (tokens,)
        top_positions = halved_sizes(positions, 1)[1]
        self.top = LearnedQuantized((channels, *top_positions), options)
        self.down = nn.Sequential(
            convolution(len(positions), channels, channels, _KERNEL, stride=2),
            ResidualBlock(len(positions), channels, _KERNEL, make_activation, "none"),
        )
        self.up = Upsample(dim, dim, positions, _KERNEL)
        self.bottom = LearnedQuantized((channels + dim, *positions), options)
        self.sizes = (math.prod(top_positions), math.prod(positions))
        self.shape = (dim, sum(self.sizes))
        # Maps flat features to `tokens` positions; empty, and so the identity, for features with positions.
        flat = len(feature_shape) == 1
        to_positions = (nn.Linear(channels, channels * tokens), nn.Unflatten(1, (channels, tokens))) if flat else ()
        self.spread = nn.Sequential(*to_positions)
        self.num_codes = codebook_size
        self.weights["commitment"] = commitment

    @property
    def decoder_shape(self) -> Shape:
        dim, *positions = self.bottom.shape
        return (2 * dim, *positions)

    def forward(self, features: Tensor, *, sample: bool) -> Latent:
        features = self.spread(features)
        top: Latent = self.top(self.down(features), sample=sample)
        bottom: Latent = self.bottom(torch.cat([features, self.up(top.z)], 1), sample=sample)
        assert top.codes is not None
        assert bottom.codes is not None
        z = torch.cat([top.z.flatten(2), bottom.z.flatten(2)], 2)
        return Latent(
            z,
            z,
            codes=torch.cat([top.codes.flatten(1, -2), bottom.codes.flatten(1, -2)], 1),
            terms={name: value + bottom.terms[name] for name, value in top.terms.items()},
        )

    def decoder_input(self, z: Tensor) -> Tensor:
        top, bottom = z.split(self.sizes, 2)
        up = self.up(top.unflatten(2, self.top.shape[1:]))
        return torch.cat([up, bottom.unflatten(2, self.bottom.shape[1:])], 1)

    def from_codes(self, codes: Tensor) -> Tensor:
        # Both quantisers take codes of flattened positions.
        pairs = zip((self.top, self.bottom), codes.split(self.sizes, 1), strict=True)
        return torch.cat([quantizer.from_codes(its_codes) for quantizer, its_codes in pairs], 2)
