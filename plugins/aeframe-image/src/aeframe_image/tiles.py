"""Large pictures through a convolutional model, tile by tile, as if all at once.

Shapes: C channels, H x W pixels, D numbers at each of h x w positions of the code.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace

import torch
from torch import Tensor

from aeframe.errors import AeframeError
from aeframe.factory import restored_weights
from aeframe.model.assembly import assemble
from aeframe.model.autoencoder import Autoencoder
from aeframe.model_store.trained_model import TrainedModel
from aeframe.noise import noise_of
from aeframe.parts.latents.gaussian import Gaussian
from aeframe.parts.latents.point import Point
from aeframe.parts.latents.quantized.base import FiniteScalarQuantized, VectorQuantized
from aeframe.parts.latents.quantized.lookup_free import LookupFree
from aeframe.parts.latents.quantized.residual import ResidualFiniteScalar, ResidualQuantized
from aeframe.parts.latents.quantized.simvq import SimVQ
from aeframe.parts.losses.patches import PatchSquaredError
from aeframe.parts.networks.blocks import halvings
from aeframe.types import Batch, Shape
from aeframe_image.reach import decoder_reach, encoder_reach

# What makes a code of each position alone, where it keeps positions.
_LATENTS = (
    Point,
    Gaussian,
    VectorQuantized,
    FiniteScalarQuantized,
    ResidualQuantized,
    ResidualFiniteScalar,
    LookupFree,
    SimVQ,
)


class Tiles:
    """A saved model for pictures of any size, which costs the memory of one tile.

    What it gives is what the same weights would give for the whole picture at once, up to rounding: each tile is seen
    with a margin as wide as the network looks, of which nothing is kept.

    ```python
    tiles = Tiles(aeframe.load("runs/vae"))
    z = tiles.encode(x)                   # x: (C, H, W), of any H and W
    y = tiles.decode(z, x.shape[1:])
    ```

    Args:
        model: Convolutions without a norm over positions, attention or dense layers, and a code that keeps positions.
        tile: Pixels on a side of what is kept of a tile, rounded to whole positions of the code.

    Raises:
        AeframeError: A model that looks further than a margin can be wide.
    """

    def __init__(self, model: TrainedModel, *, tile: int = 256) -> None:
        who = f"model '{model.name}'"
        net = model.model
        self.encoder_reach, self.stride = encoder_reach(who, net.encoder)
        self.decoder_reach = decoder_reach(who, net.decoder, self.stride)
        if not isinstance(net.latent, _LATENTS) or len(net.latent.shape) != 3:
            raise AeframeError(
                f"{who} cannot be taken in tiles: its latent {type(net.latent).__name__} does not keep positions; "
                "train one with latent=point, gaussian or a quantiser and latent.spatial=true"
            )
        if isinstance(net.loss, PatchSquaredError) or net.spec.condition:
            what = "a condition" if net.spec.condition else "a loss of patches"
            raise AeframeError(f"{who} cannot be taken in tiles: it has {what}; train one without")
        if tile < self.stride:
            raise AeframeError(f"{who} has positions of {self.stride} pixels, found tile={tile}; set that or more")
        self.model, self.who, self.tile = model, who, tile // self.stride
        self._nets: dict[tuple[int, int], Autoencoder] = {}

    def reconstruct(self, x: Tensor) -> Tensor:
        """Return what is left of a picture ``(C, H, W)`` after encoding and decoding."""
        return self.decode(self.encode(x), (x.shape[1], x.shape[2]))

    @torch.no_grad()
    def encode(self, x: Tensor) -> Tensor:
        """Return the code ``(D, h, w)`` of a picture ``(C, H, W)`` in the model's own values."""
        if x.ndim != 3 or x.shape[0] != self.model.spec.shape[0]:
            raise AeframeError(
                f"{self.who} takes a picture ({self.model.spec.shape[0]}, H, W) at a time, found {tuple(x.shape)}"
            )
        stride, margin = self.stride, math.ceil(self.encoder_reach / self.stride)
        sizes = self._positions((x.shape[1], x.shape[2]))
        found = torch.empty(self.model.model.latent.shape[0], *sizes)
        for inner, outer in self._cut(sizes, margin):
            window = x[:, *(slice(each.start * stride, each.stop * stride) for each in outer)]
            net = self._net((window.shape[1], window.shape[2]))
            z = net.embed(Batch(window.unsqueeze(0).to(self.model.device))).mean[0]
            found[:, *inner] = z[:, *_within(inner, outer)].to(found)
        return found

    @torch.no_grad()
    def decode(self, z: Tensor, size: tuple[int, int]) -> Tensor:
        """Return the picture ``(C, H, W)`` of a code ``(D, h, w)``; `size` is H and W.

        Raises:
            AeframeError: A code that no picture of this size has.
        """
        stride, margin = self.stride, math.ceil(self.decoder_reach / self.stride)
        expected = (self.model.model.latent.shape[0], *self._positions(size))
        if tuple(z.shape) != expected:
            raise AeframeError(
                f"{self.who} has codes {expected} for pictures of {size[0]} x {size[1]} pixels, found {tuple(z.shape)}"
            )
        found = torch.empty(self.model.spec.shape[0], *size)
        for inner, outer in self._cut(expected[1:], margin):
            kept, seen = (
                tuple(
                    slice(each.start * stride, min(each.stop * stride, side))
                    for each, side in zip(cut, size, strict=True)
                )
                for cut in (inner, outer)
            )
            net = self._net((seen[0].stop - seen[0].start, seen[1].stop - seen[1].start))
            x = net.generate(z[:, *outer].unsqueeze(0).to(self.model.device))[0]
            found[:, *kept] = x[:, *_within(kept, seen)].to(found)
        return found

    def _positions(self, size: tuple[int, int]) -> Shape:
        return halvings(size, self.stride.bit_length() - 1)[-1]

    def _cut(self, sizes: Shape, margin: int) -> Iterator[tuple[tuple[slice, ...], tuple[slice, ...]]]:
        """Yield the positions of each tile, and those with its margin."""
        for top in range(0, sizes[0], self.tile):
            for left in range(0, sizes[1], self.tile):
                starts = (top, left)
                inner = [slice(at, min(at + self.tile, n)) for at, n in zip(starts, sizes, strict=True)]
                outer = [
                    slice(max(0, each.start - margin), min(n, each.stop + margin))
                    for each, n in zip(inner, sizes, strict=True)
                ]
                yield tuple(inner), tuple(outer)

    def _net(self, size: tuple[int, int]) -> Autoencoder:
        """Return the model for windows of this size: the same weights, in networks that were built for it."""
        if size not in self._nets:
            net, channels = self.model.model, self.model.spec.shape[0]
            with noise_of(torch.device("cpu"), 0), restored_weights():
                made = assemble(self.model.config, replace(self.model.spec, shape=(channels, *size)))
            made.load_state_dict(net.state_dict())
            self._nets[size] = made.to(self.model.device).eval()
        return self._nets[size]


def _within(inner: tuple[slice, ...], outer: tuple[slice, ...]) -> tuple[slice, ...]:
    """Return where a tile lies in the window around it."""
    return tuple(slice(a.start - b.start, a.stop - b.start) for a, b in zip(inner, outer, strict=True))
