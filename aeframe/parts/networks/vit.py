"""Vision transformers (Dosovitskiy et al. 2021, arXiv 2010.11929), with the masked encoding of MAE.

Shapes: B samples; N patches, K of them visible; D numbers in a token; ``grid``: the numbers of patches along the
spatial axes, (N1,), (N1, N2) or (N1, N2, N3) with N = N1 N2 N3; ``positions``: the sizes of these axes, grid times
patch; ``outputs``: the number of parameters of the likelihood for each element of x.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import Any, Literal

import torch
from torch import Tensor, nn

from aeframe.errors import AeframeError
from aeframe.parts.activations import MakeActivation
from aeframe.parts.corruptions import Corruption
from aeframe.parts.masks import PatchMasking
from aeframe.parts.networks.base import Decoder, Encoder
from aeframe.parts.networks.blocks import (
    InputChannels,
    LatentProjection,
    output_channels,
    patch_embedding,
    patch_projection,
)
from aeframe.parts.networks.transformer import sinusoidal_positions
from aeframe.parts.patches import Patch, patch_grid
from aeframe.types import Batch, Domain, Shape

Places = Literal["sincos", "learned"]
"""Position embeddings: ``sincos`` is fixed (He et al. 2022); ``learned`` has one vector for each patch."""


@dataclass(frozen=True, slots=True)
class BlockOptions:
    """The options that encoder and decoder share; each constructor lists them for its users."""

    dim: int
    depth: int
    heads: int
    expansion: float
    places: Places
    activation: MakeActivation | None

    def config(self) -> dict[str, Any]:
        """Return the options by name, for the config of a decoder with the same options."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    def check(self, who: str) -> None:
        """Raise an `AeframeError` for sizes below 1, or heads that do not divide dim."""
        if min(self.dim, self.depth, self.heads) < 1 or self.dim % self.heads or self.expansion * self.dim < 1:
            raise AeframeError(
                f"{who} needs dim, depth, heads and expansion * dim of at least 1, and heads that divide dim, found "
                f"dim {self.dim}, depth {self.depth}, heads {self.heads} and expansion {self.expansion:g}"
            )


class ViTEncoder(Encoder):
    """Patches as tokens through transformer blocks: ``(B, C, *positions)`` -> ``(B, dim, *grid)``.

    After the corruption ``patches``, the blocks receive the visible patches only. A learned mask token is the feature
    of each hidden patch (He et al. 2022, arXiv 2111.06377). Integer classes (`Domain` ``category``) become one-hot
    channels; missing values are read as 0.

    Args:
        shape: ``(C, *positions)`` with one to three spatial axes; ``(T,)`` for classes.
        domain: The set of values that x can take; classes become one-hot channels.
        corruption: Corruption of the model; ``patches`` tells which patches are hidden.
        patch: Positions of a patch along each dimension, or one number for all; it must divide them. Null takes the
            patch of the corruption ``patches``, or 4 with any other corruption.
        dim: Numbers in a token.
        depth: Number of pre-norm blocks.
        heads: Attention heads; they must divide `dim`.
        expansion: Hidden units of a block's dense layers, in units of `dim`.
        places: Position embedding: ``sincos`` or ``learned``.
        activation: The activation in the dense layers; null takes the model's activation.
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
        self.channels = InputChannels("encoder vit", shape, domain)
        channels_in, *positions = self.channels.shape
        masking = corruption if isinstance(corruption, PatchMasking) else None
        default_patch: Patch = 4 if masking is None else masking.patch
        self.grid, self.patch = patch_grid("encoder vit", tuple(positions), default_patch if patch is None else patch)
        if masking is not None and masking.patch != self.patch:
            raise AeframeError(
                f"encoder vit has patches of {list(self.patch)}, but corruption patches hides patches of "
                f"{list(masking.patch)}; leave encoder.patch out, or set both alike"
            )
        self.embed = patch_embedding(channels_in, dim, self.patch)
        options = BlockOptions(dim, depth, heads, expansion, places, activation)
        self.blocks = ViTBlocks("encoder vit", self.grid, options)
        self.mask_token = None if masking is None else nn.Parameter(0.02 * torch.randn(dim))
        self.out_shape = (dim, *self.grid)
        self._mirrored_decoder = {"name": "vit", "patch": self.patch, **options.config()}

    def forward(self, batch: Batch) -> Tensor:
        x: Tensor = self.channels(batch)
        tokens = self.embed(x.to(next(self.parameters()).dtype)).flatten(2).transpose(1, 2)
        # The indices (B, K) of the visible patches, from the corruption; absent where nothing is hidden.
        visible = batch.extras.get("visible")
        if self.mask_token is None or visible is None:
            tokens = self.blocks(tokens)
        else:
            mask_tokens = self.mask_token.expand(tokens.shape)
            tokens = self.blocks(tokens, visible)
            tokens = mask_tokens.to(tokens.dtype).scatter(1, visible.unsqueeze(-1).expand_as(tokens), tokens)
        return tokens.transpose(1, 2).unflatten(2, self.grid)

    def mirrored_decoder_config(self) -> dict[str, Any]:
        return self._mirrored_decoder


class ViTDecoder(Decoder):
    """Tokens through transformer blocks to patches: ``(B, *z_shape)`` -> ``(B, outputs, *shape)``.

    A z with the positions of the grid is projected to tokens position by position; a flat z by one linear layer.

    Args:
        z_shape: Shape of one z: ``(dim,)``, or ``(dim, *grid)``.
        out_shape: Shape of one output: ``(outputs, C, *positions)``, or ``(outputs, T)`` for classes at T positions.
        encoder: Encoder of the model, for the default of `patch`.
        patch: Positions of a patch along each dimension, or one number for all; it must divide them. Null takes the
            patch of an encoder ``vit``, or 4 with any other encoder.
        dim: Numbers in a token.
        depth: Number of pre-norm blocks.
        heads: Attention heads; they must divide `dim`.
        expansion: Hidden units of a block's dense layers, in units of `dim`.
        places: Position embedding: ``sincos`` or ``learned``.
        activation: The activation in the dense layers; null takes the model's activation.
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
        channels_out, positions = output_channels("decoder vit", out_shape)
        default_patch: Patch = encoder.patch if isinstance(encoder, ViTEncoder) else 4
        self.grid, patch_size = patch_grid("decoder vit", positions, default_patch if patch is None else patch)
        if len(z_shape) > 1 and z_shape[1:] != self.grid:
            raise AeframeError(
                f"decoder vit needs a flat z or one at the positions {self.grid} of its patches, found z of shape "
                f"{z_shape}; set latent.spatial=false, or a patch with this grid"
            )
        make = activation or MakeActivation.named("gelu")
        self.entrance = LatentProjection("decoder vit", z_shape, (dim, *self.grid), make, dense=None)
        options = BlockOptions(dim, depth, heads, expansion, places, activation)
        self.blocks = ViTBlocks("decoder vit", self.grid, options)
        self.leave = patch_projection(dim, channels_out, patch_size)
        self.out_shape = out_shape

    def forward(self, z: Tensor, batch: Batch | None = None) -> Tensor:
        tokens = self.blocks(self.entrance(z).flatten(2).transpose(1, 2))
        output: Tensor = self.leave(tokens.transpose(1, 2).unflatten(2, self.grid))
        return output.reshape(z.shape[0], *self.out_shape)


class ViTBlocks(nn.Module):
    """Position embeddings, transformer blocks and a final norm: tokens ``(B, N, D)`` -> ``(B, N, D)``.

    With the indices `visible` ``(B, K)``, only these K tokens are processed: ``(B, N, D)`` -> ``(B, K, D)``.
    """

    places: Tensor

    def __init__(self, who: str, grid: Shape, options: BlockOptions) -> None:
        super().__init__()
        options.check(who)
        dim = options.dim
        make = (options.activation or MakeActivation.named("gelu")).same_shape(who)
        if options.places == "learned":
            self.places = nn.Parameter(0.02 * torch.randn(math.prod(grid), dim))
        else:
            self.register_buffer("places", sinusoidal_positions(grid, dim))
        hidden = int(options.expansion * dim)
        self.layers = nn.Sequential(
            *(
                nn.TransformerEncoderLayer(
                    dim, options.heads, hidden, dropout=0.0, activation=make(), batch_first=True, norm_first=True
                )
                for _ in range(options.depth)
            ),
            nn.LayerNorm(dim),
        )

    def forward(self, tokens: Tensor, visible: Tensor | None = None) -> Tensor:
        tokens = tokens + self.places
        if visible is not None:
            tokens = tokens.gather(1, visible.unsqueeze(-1).expand(-1, -1, tokens.shape[2]))
        return self.layers(tokens)
