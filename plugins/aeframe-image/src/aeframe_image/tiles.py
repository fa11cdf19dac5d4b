"""Apply a convolutional model to images of any size, tile by tile.

Shapes: C channels, H x W pixels; a code z has D channels at each of h x w positions. The stride is the distance of two
positions in pixels.
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
from aeframe.parts.latents.quantized.fsq import FiniteScalarQuantized
from aeframe.parts.latents.quantized.lookup_free import LookupFree
from aeframe.parts.latents.quantized.residual import ResidualFiniteScalar, ResidualQuantized
from aeframe.parts.latents.quantized.simvq import SimVQ
from aeframe.parts.latents.quantized.vq import VectorQuantized
from aeframe.parts.losses.patches import PatchSquaredError
from aeframe.parts.networks.blocks import halved_sizes
from aeframe.types import Batch, Shape
from aeframe_image.receptive_field import decoder_receptive_field, encoder_receptive_field

# Latents whose code at a position depends only on the features at that position.
_POSITIONWISE_LATENTS = (
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
    """A saved model that encodes and decodes images of any size with the memory of one tile.

    The results equal those of the full image, up to rounding: each tile is processed with a margin as wide as the
    receptive field, and the margin is cropped from the result.

    ```python
    tiles = Tiles(aeframe.load("runs/vae"))
    z = tiles.encode(x)                   # x: (C, H, W), of any H and W
    y = tiles.decode(z, x.shape[1:])
    ```

    Args:
        model: A model of convolutions, without group norm, attention or dense layers, and with a spatial code.
        tile: The side of a tile in pixels, without margin, rounded down to a multiple of the encoder's stride.

    Raises:
        AeframeError: A model that combines all positions or has a condition, or a tile smaller than the stride.
    """

    def __init__(self, model: TrainedModel, *, tile: int = 256) -> None:
        who = f"model '{model.name}'"
        net = model.model
        self.encoder_radius, self.stride = encoder_receptive_field(who, net.encoder)
        self.decoder_radius = decoder_receptive_field(who, net.decoder, self.stride)
        if not isinstance(net.latent, _POSITIONWISE_LATENTS) or len(net.latent.shape) != 3:
            raise AeframeError(
                f"{who} cannot be applied in tiles: its latent {type(net.latent).__name__} is not computed position by "
                "position; train one with latent=point, gaussian or a quantiser and latent.spatial=true"
            )
        if isinstance(net.loss, PatchSquaredError) or net.spec.condition:
            obstacle = "a condition" if net.spec.condition else "a loss of patches"
            raise AeframeError(f"{who} cannot be applied in tiles: it has {obstacle}; train one without")
        if tile < self.stride:
            raise AeframeError(
                f"{who} has a stride of {self.stride} pixels, found tile={tile}; set tile to {self.stride} or more"
            )
        self.model, self.who = model, who
        self.tile = tile // self.stride
        """The side of a tile in positions of the code."""
        self._nets: dict[tuple[int, int], Autoencoder] = {}

    def reconstruct(self, x: Tensor) -> Tensor:
        """Return the reconstruction of an image ``(C, H, W)``."""
        return self.decode(self.encode(x), (x.shape[1], x.shape[2]))

    @torch.no_grad()
    def encode(self, x: Tensor) -> Tensor:
        """Return the code ``(D, h, w)`` of an image ``(C, H, W)`` with values in the model's domain.

        Raises:
            AeframeError: Another number of dimensions or channels.
        """
        if x.ndim != 3 or x.shape[0] != self.model.spec.shape[0]:
            raise AeframeError(
                f"{self.who} takes one image ({self.model.spec.shape[0]}, H, W) at a time, found {tuple(x.shape)}"
            )
        stride, margin = self.stride, math.ceil(self.encoder_radius / self.stride)
        sizes = self._code_size((x.shape[1], x.shape[2]))
        code = torch.empty(self.model.model.latent.shape[0], *sizes)
        for inner, outer in self._tiles(sizes, margin):
            window = x[:, *(slice(side.start * stride, side.stop * stride) for side in outer)]
            net = self._net((window.shape[1], window.shape[2]))
            z = net.embed(Batch(window.unsqueeze(0).to(self.model.device))).mean[0]
            code[:, *inner] = z[:, *_relative(inner, outer)].to(code)
        return code

    @torch.no_grad()
    def decode(self, z: Tensor, size: tuple[int, int]) -> Tensor:
        """Return the image ``(C, H, W)`` of a code ``(D, h, w)``; `size` is H and W.

        Raises:
            AeframeError: A code of another shape than images of this size have.
        """
        stride, margin = self.stride, math.ceil(self.decoder_radius / self.stride)
        expected = (self.model.model.latent.shape[0], *self._code_size(size))
        if tuple(z.shape) != expected:
            raise AeframeError(
                f"{self.who} has codes {expected} for images of {size[0]} x {size[1]} pixels, found {tuple(z.shape)}"
            )
        image = torch.empty(self.model.spec.shape[0], *size)
        for inner, outer in self._tiles(expected[1:], margin):
            inner_pixels, outer_pixels = (
                tuple(
                    slice(side.start * stride, min(side.stop * stride, num_pixels))
                    for side, num_pixels in zip(tile, size, strict=True)
                )
                for tile in (inner, outer)
            )
            net = self._net(
                (outer_pixels[0].stop - outer_pixels[0].start, outer_pixels[1].stop - outer_pixels[1].start)
            )
            x = net.generate(z[:, *outer].unsqueeze(0).to(self.model.device))[0]
            image[:, *inner_pixels] = x[:, *_relative(inner_pixels, outer_pixels)].to(image)
        return image

    def _code_size(self, size: tuple[int, int]) -> Shape:
        """Return h and w of the code of an image of `size`."""
        return halved_sizes(size, self.stride.bit_length() - 1)[-1]

    def _tiles(self, sizes: Shape, margin: int) -> Iterator[tuple[tuple[slice, ...], tuple[slice, ...]]]:
        """Yield the code positions of each tile, without and with its margin."""
        for top in range(0, sizes[0], self.tile):
            for left in range(0, sizes[1], self.tile):
                starts = (top, left)
                inner = [slice(start, min(start + self.tile, n)) for start, n in zip(starts, sizes, strict=True)]
                outer = [
                    slice(max(0, side.start - margin), min(n, side.stop + margin))
                    for side, n in zip(inner, sizes, strict=True)
                ]
                yield tuple(inner), tuple(outer)

    def _net(self, size: tuple[int, int]) -> Autoencoder:
        """Return the model with the same weights, built for inputs of this size."""
        if size not in self._nets:
            net, channels = self.model.model, self.model.spec.shape[0]
            with noise_of(torch.device("cpu"), 0), restored_weights():
                resized = assemble(self.model.config, replace(self.model.spec, shape=(channels, *size)))
            resized.load_state_dict(net.state_dict())
            self._nets[size] = resized.to(self.model.device).eval()
        return self._nets[size]


def _relative(inner: tuple[slice, ...], outer: tuple[slice, ...]) -> tuple[slice, ...]:
    """Return the slices `inner` relative to the start of the slices `outer`."""
    return tuple(
        slice(part.start - whole.start, part.stop - whole.start) for part, whole in zip(inner, outer, strict=True)
    )
