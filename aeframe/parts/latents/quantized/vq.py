"""Vector quantisation with learned codebooks: latent ``vq``, and the base class it shares with rvq and vq_hierarchy."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

from torch import Tensor, nn

from aeframe.parts.latents.quantized.base import Quantized
from aeframe.parts.latents.quantized.codebook import CodebookOptions, LearnedCodebook
from aeframe.parts.schedules import Schedule, fixed
from aeframe.types import Shape


class LearnedQuantized(Quantized):
    """Vectors replaced by codes of learned codebooks: what latents vq, rvq and vq_hierarchy have in common.

    Args:
        feature_shape: ``(C, *positions)``.
        options: The options as a user sets them; `dim` is divided among the groups.
        num_levels: Number of entries of a position's codes, see `Quantized`.
        num_groups: Number of parts of a vector, which are quantised separately.
        num_codebooks: Number of codebooks. There is one for each entry by default; fewer are cycled.
    """

    def __init__(
        self,
        feature_shape: Shape,
        options: CodebookOptions,
        *,
        num_levels: int = 1,
        num_groups: int = 1,
        num_codebooks: int | None = None,
    ) -> None:
        by_group = replace(options, dim=options.dim // num_groups)
        codebooks = [LearnedCodebook(by_group) for _ in range(num_codebooks or num_levels)]
        super().__init__(
            feature_shape, options.dim, options.tokens, codebooks, num_levels=num_levels, num_groups=num_groups
        )
        self.weights["commitment"] = options.commitment
        self.rotation_trick, self.cosine = options.rotation_trick, options.distance == "cosine"

    def prepare(self, vectors: Tensor) -> Tensor:
        return nn.functional.normalize(vectors, dim=-1) if self.cosine else vectors


class VectorQuantized(LearnedQuantized):
    """Replace each vector by the nearest of a learned codebook (van den Oord et al. 2017, arXiv 1711.00937).

    z is ``(dim, *positions)``, or ``(dim, tokens)`` of flat features. The loss terms, summed over the sample's own
    elements, are ``commitment`` ||vector - sg(code)||^2 and, with update=gradient, ``codebook`` ||sg(vector) -
    code||^2, where sg stops the gradient. The codebook changes in training mode only. With several devices, each
    gathers the vectors of all and makes the same update.

    Args:
        feature_shape: ``(C, *positions)``.
        codebook_size: Number of codes.
        dim: Number of dimensions of one vector.
        tokens: Number of vectors of each sample when the features are flat.
        update: ``ema`` moves a code to the moving average of the vectors assigned to it (appendix A.1 of the paper);
            ``gradient`` learns it as a parameter.
        decay: Decay per batch of the moving averages that ``ema`` and `revive` use.
        commitment: Weight of the commitment term; a number or a schedule.
        kmeans_init: Initialise the codebook by k-means on the first training batch.
        revive: Replace a code by a vector of the batch when it is used less often than this fraction of uniform use
            (Dhariwal et al. 2020, arXiv 2005.00341); 0 keeps dead codes.
        rotation_trick: Rotate and scale the gradient as the code rotates and scales the vector, instead of copying it
            straight through (Fifty et al. 2024, arXiv 2410.06424).
        distance: ``cosine`` normalises vectors and codes to length 1 first (Yu et al. 2022, arXiv 2110.04627).
    """

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
    ) -> None:
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
        super().__init__(feature_shape, options)
