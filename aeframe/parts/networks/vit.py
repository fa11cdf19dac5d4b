"""Transformers of patches (Dosovitskiy et al. 2021, arXiv 2010.11929).

Shapes: B samples, N patches, D numbers in a token, ``grid`` (N1,), (N1, N2) or (N1, N2, N3) with N = N1 N2 N3,
``positions`` the grid times the patch.
"""

from __future__ import annotations

import math
from typing import Any, Literal

import torch
from torch import Tensor, nn

from aeframe.errors import AeframeError
from aeframe.parts.activations import MakeActivation
from aeframe.parts.corruptions import Corruption
from aeframe.parts.masks import PatchMasking
from aeframe.parts.networks.base import Decoder, Encoder
from aeframe.parts.networks.blocks import Channels, Entrance, patches_in, patches_out, split_output
from aeframe.parts.patches import Patch, grid_of
from aeframe.types import Batch, Domain, Shape

Places = Literal["sincos", "learned"]
"""``sincos``: sines and cosines of each coordinate, fixed (He et al. 2022); ``learned``: a vector for each patch."""


class ViTEncoder(Encoder):
    """Patches as tokens through transformer blocks: ``(B, C, *positions)`` -> ``(B, dim, *grid)``.

    Behind the corruption ``patches`` only what is visible goes through the blocks, and a learned mask token stands
    where a patch was hidden (He et al. 2022, arXiv 2111.06377): a hidden patch costs nothing and is heard by nobody.
    Integer classes (`Domain` ``category``) become one-hot channels; values that are missing are read as 0.

    Args:
        shape: ``(C, *positions)`` with one to three dimensions of positions; ``(T,)`` for classes.
        domain: Says whether values are classes.
        corruption: What was done to x before.
        patch: Positions of a patch along each dimension, or one number for all; it must divide them. Null takes that
            of the corruption ``patches`` where there is one, otherwise 4.
        dim: Numbers in a token.
        depth: Blocks, each with its norms before (pre-norm).
        heads: Of the attention; they must divide `dim`.
        expansion: Hidden units of a block's dense layers, in units of `dim`.
        places: How a token knows where it is.
        activation: Within the dense layers; null takes the run's own.
    """

    def __init__(
        self,
        shape: Shape,
        domain: Domain,
        corruption: Corruption,
        *,
        patch: Patch | None = None,
        dim: int = 64,
        depth: int = 4,
        heads: int = 4,
        expansion: float = 4.0,
        places: Places = "sincos",
        activation: MakeActivation | None = None,
    ) -> None:
        super().__init__()
        self.channels = Channels("encoder vit", shape, domain)
        channels_in, *positions = self.channels.shape
        masking = corruption if isinstance(corruption, PatchMasking) else None
        default: Patch = 4 if masking is None else masking.patch
        self.grid, self.patch = grid_of("encoder vit", tuple(positions), default if patch is None else patch)
        if masking is not None and masking.patch != self.patch:
            raise AeframeError(
                f"encoder vit reads patches of {list(self.patch)}, but corruption patches hides those of "
                f"{list(masking.patch)}; leave encoder.patch out, or set both alike"
            )
        self.embed = patches_in(channels_in, dim, self.patch)
        make = activation or MakeActivation.named("gelu")
        self.blocks = Blocks("encoder vit", self.grid, dim, depth, heads, expansion, places, make)
        self.mask_token = None if masking is None else nn.Parameter(0.02 * torch.randn(dim))
        self.out_shape = (dim, *self.grid)
        self._mirror = {
            "name": "vit",
            "patch": self.patch,
            "dim": dim,
            "depth": depth,
            "heads": heads,
            "expansion": expansion,
            "places": places,
            "activation": activation,
        }

    def forward(self, batch: Batch) -> Tensor:
        x: Tensor = self.channels(batch)
        tokens = self.embed(x.to(next(self.parameters()).dtype)).flatten(2).transpose(1, 2)
        visible = batch.extras.get("visible")
        if self.mask_token is None or visible is None:
            tokens = self.blocks(tokens)
        else:
            every = self.mask_token.expand(tokens.shape)
            tokens = self.blocks(tokens, visible)
            tokens = every.to(tokens.dtype).scatter(1, visible.unsqueeze(-1).expand_as(tokens), tokens)
        return tokens.transpose(1, 2).unflatten(2, self.grid)

    def mirror(self) -> dict[str, Any]:
        return self._mirror


class ViTDecoder(Decoder):
    """Tokens through transformer blocks to patches: ``(B, *z_shape)`` -> ``(B, outputs, *shape)``.

    A z at the positions of the grid gives each token its own numbers; a flat one goes through a linear layer to all.

    Args:
        z_shape: ``(dim,)``, or ``(dim, *grid)``.
        out_shape: ``(outputs, C, *positions)``, or ``(outputs, T)`` for classes at T positions.
        encoder: Names the patch where `patch` is null.
        patch: Positions of a patch along each dimension, or one number for all; it must divide them. Null takes the
            encoder's where that is a ``vit``, otherwise 4.
        dim: Numbers in a token.
        depth: Blocks, each with its norms before (pre-norm).
        heads: Of the attention; they must divide `dim`.
        expansion: Hidden units of a block's dense layers, in units of `dim`.
        places: How a token knows where it is.
        activation: Within the dense layers; null takes the run's own.
    """

    def __init__(
        self,
        z_shape: Shape,
        out_shape: Shape,
        encoder: Encoder,
        *,
        patch: Patch | None = None,
        dim: int = 64,
        depth: int = 2,
        heads: int = 4,
        expansion: float = 4.0,
        places: Places = "sincos",
        activation: MakeActivation | None = None,
    ) -> None:
        super().__init__()
        channels_out, positions = split_output("decoder vit", out_shape)
        default: Patch = encoder.patch if isinstance(encoder, ViTEncoder) else 4
        grid, size = grid_of("decoder vit", positions, default if patch is None else patch)
        if len(z_shape) > 1 and z_shape[1:] != grid:
            raise AeframeError(
                f"decoder vit needs a flat z or one at the positions {grid} of its patches, found z of shape "
                f"{z_shape}; set latent.spatial=false, or a patch that gives these positions"
            )
        make = activation or MakeActivation.named("gelu")
        self.entrance = Entrance("decoder vit", z_shape, (dim, *grid), make, None)
        self.blocks = Blocks("decoder vit", grid, dim, depth, heads, expansion, places, make)
        self.leave = patches_out(dim, channels_out, size)
        self.grid, self.out_shape = grid, out_shape

    def forward(self, z: Tensor, batch: Batch | None = None) -> Tensor:
        tokens = self.blocks(self.entrance(z).flatten(2).transpose(1, 2))
        output: Tensor = self.leave(tokens.transpose(1, 2).unflatten(2, self.grid))
        return output.reshape(z.shape[0], *self.out_shape)


class Blocks(nn.Module):
    """Places and transformer blocks, with a norm at the end: tokens ``(B, N, D)`` -> ``(B, N, D)``.

    Given `visible` ``(B, K)``, only the K tokens with these numbers go through: ``(B, N, D)`` -> ``(B, K, D)``.
    """

    places: Tensor

    def __init__(
        self,
        who: str,
        grid: Shape,
        dim: int,
        depth: int,
        heads: int,
        expansion: float,
        places: Places,
        activation: MakeActivation,
    ) -> None:
        super().__init__()
        if min(dim, depth, heads) < 1 or dim % heads or expansion * dim < 1:
            raise AeframeError(
                f"{who} needs dim, depth, heads and expansion * dim of at least 1, and heads that divide dim, found "
                f"dim {dim}, depth {depth}, heads {heads} and expansion {expansion:g}"
            )
        make = activation.same_shape(who)
        if places == "learned":
            self.places = nn.Parameter(0.02 * torch.randn(math.prod(grid), dim))
        else:
            self.register_buffer("places", sincos(grid, dim))
        self.layers = nn.Sequential(
            *(
                nn.TransformerEncoderLayer(
                    dim, heads, int(expansion * dim), 0.0, make(), batch_first=True, norm_first=True
                )
                for _ in range(depth)
            ),
            nn.LayerNorm(dim),
        )

    def forward(self, tokens: Tensor, visible: Tensor | None = None) -> Tensor:
        tokens = tokens + self.places
        if visible is not None:
            tokens = tokens.gather(1, visible.unsqueeze(-1).expand(-1, -1, tokens.shape[2]))
        return self.layers(tokens)


def sincos(grid: Shape, dim: int) -> Tensor:
    """Return ``(N, dim)``: sines and cosines of each coordinate, at wavelengths from 2 pi to 10000 times that.

    Each coordinate has an equal share of the numbers (Vaswani et al. 2017, arXiv 1706.03762, in each dimension); what
    does not share out is zero.
    """
    each = dim // (2 * len(grid))
    frequencies = 10000.0 ** -(torch.arange(each) / max(1, each))
    axes = torch.meshgrid(*(torch.arange(n, dtype=frequencies.dtype) for n in grid), indexing="ij")
    angles = torch.stack(axes, -1).flatten(0, -2).unsqueeze(-1) * frequencies
    places = torch.cat([angles.sin(), angles.cos()], -1).flatten(1)
    return nn.functional.pad(places, (0, dim - places.shape[1]))
