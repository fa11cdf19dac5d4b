"""Layers of convolutional networks, with one, two or three spatial axes.

Shapes: B samples; C channels in, C' channels out; ``positions``: the sizes of the spatial axes, (T,), (H, W) or
(D, H, W); ``grid``: the numbers of patches along these axes; ``outputs``: the number of parameters of the likelihood
for each element of x.

Arguments: ``who`` is the kind and name of a network, such as ``encoder conv``, for error messages; ``make`` returns a
new activation module at each call.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal

from torch import Tensor, nn

from aeframe.errors import AeframeError
from aeframe.parts.activations import MakeActivation
from aeframe.parts.networks.phases import Transposed, equalise_phases
from aeframe.tensors import broadcast_mask
from aeframe.types import Batch, Domain, Shape

Norm = Literal["none", "group", "layer"]
"""What is normalised together. ``group``: 16 or 8 channels at all positions; ``layer``: all channels at all positions.

Neither uses other samples, so a code does not depend on the rest of its batch.
"""

_CONV: dict[int, Callable[..., nn.Module]] = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}
_TRANSPOSED: dict[int, Callable[..., Transposed]] = {
    1: nn.ConvTranspose1d,
    2: nn.ConvTranspose2d,
    3: nn.ConvTranspose3d,
}


def check_sizes(who: str, channels: tuple[int, ...], kernel: int, dense: int | None, blocks: int = 1) -> None:
    """Check the sizes of a convolutional network.

    Args:
        who: Kind and name of the network.
        channels: Channels of each stage.
        kernel: Width of the convolutions.
        dense: Units of the dense layer; None for a network without one.
        blocks: Residual blocks in a stage; 1 for a network without them.

    Raises:
        AeframeError: No channels, a number below 1, or an even kernel, which has no central position.
    """
    if not channels or any(number < 1 for number in channels):
        raise AeframeError(f"{who} needs channels of at least 1, one for each stage, found {list(channels)}")
    if kernel < 1 or kernel % 2 == 0:
        raise AeframeError(f"{who} needs an odd kernel such as 3 or 5, found {kernel}")
    if dense is not None and dense < 1:
        raise AeframeError(f"{who} needs dense of at least 1, found {dense}; null leaves the dense layer out")
    if blocks < 1:
        raise AeframeError(f"{who} needs blocks of at least 1, found {blocks}; encoder=conv has none")


def halved_sizes(positions: Shape, num_stages: int) -> list[Shape]:
    """Return the sizes of the axes before each stage of stride 2 and after the last; one maps n to ceil(n / 2)."""
    sizes = [positions]
    for _ in range(num_stages):
        sizes.append(tuple((n + 1) // 2 for n in sizes[-1]))
    return sizes


def convolution(
    num_dims: int, channels_in: int, channels_out: int, kernel: int, stride: int = 1, groups: int = 1
) -> nn.Module:
    """Return a padded convolution: an axis of n positions keeps them at stride 1, and has ceil(n / 2) at stride 2."""
    return _CONV[num_dims](channels_in, channels_out, kernel, stride=stride, padding=kernel // 2, groups=groups)


def patch_embedding(channels_in: int, channels_out: int, patch: Shape) -> nn.Module:
    """Return a linear map from patches to tokens: ``(B, C, *positions)`` -> ``(B, C', *grid)``."""
    return _CONV[len(patch)](channels_in, channels_out, patch, stride=patch)


def patch_projection(channels_in: int, channels_out: int, patch: Shape) -> nn.Module:
    """Return a linear map from tokens to patches: ``(B, C, *grid)`` -> ``(B, C', *positions)``."""
    return _TRANSPOSED[len(patch)](channels_in, channels_out, patch, stride=patch)


def norm_layers(norm: Norm, channels: int) -> list[nn.Module]:
    """Return the norm of `channels` as a list of one module, or an empty list.

    Groups have 16 channels, which is as good as 32 groups (Wu & He 2018, arXiv 1803.08494, table 3); or 8 channels, or
    all of them, where 16 does not divide. A group of one channel at a single position would be normalised to 0.
    """
    if norm == "none":
        return []
    if norm == "layer":
        return [nn.GroupNorm(1, channels)]
    size = next(size for size in (16, 8, channels) if channels % size == 0)
    return [nn.GroupNorm(channels // size, channels)]


class InputChannels(nn.Module):
    """Converts a batch to channels at positions: ``batch.x (B, *shape)`` -> ``(B, C, *positions)``.

    Integer classes become one-hot channels: ``(T,)`` becomes ``(classes, T)``, and ``(C, *positions)`` becomes
    ``(C * classes, *positions)``. Masked positions are 0 in every channel.

    Raises:
        AeframeError: A shape without spatial axes, or with more than three.
    """

    def __init__(self, who: str, shape: Shape, domain: Domain) -> None:
        super().__init__()
        self.classes = domain.classes
        if len(shape) == 1 and self.classes is None:
            raise AeframeError(
                f"{who} needs channels at positions, (C, T), (C, H, W) or (C, D, H, W), found the flat shape {shape}; "
                "choose encoder=mlp"
            )
        channels, positions = (1, shape) if len(shape) == 1 else (shape[0], shape[1:])
        check_positions(who, positions)
        self.shape: Shape = (channels * (self.classes or 1), *positions)

    def forward(self, batch: Batch) -> Tensor:
        x = batch.masked_x()
        if self.classes is None:
            return x
        one_hot = nn.functional.one_hot(x.long(), self.classes).float()
        if batch.mask is not None:
            one_hot = one_hot * broadcast_mask(batch.mask, one_hot.ndim)
        # (B, C, *positions, classes) -> (B, C, classes, *positions) -> (B, C * classes, *positions).
        return one_hot.movedim(-1, 1 if x.ndim == 2 else 2).reshape(x.shape[0], *self.shape)


def check_positions(who: str, positions: Shape) -> None:
    """Raise an `AeframeError` unless there are one to three spatial axes."""
    if len(positions) not in _CONV:
        raise AeframeError(
            f"{who} needs one to three dimensions of positions, found {len(positions)} in {positions}; "
            f"choose {who.split()[0]}=mlp"
        )


class Upsample(nn.Module):
    """A transposed convolution of stride 2 to a given size: ``(B, C, *ceil(size / 2))`` -> ``(B, C', *size)``.

    `kernel` is the width of the encoder's convolutions. That of this convolution is one more, hence even: every output
    is a sum of equally many products, which avoids checkerboard artefacts (Odena, Dumoulin & Olah 2016, doi
    10.23915/distill.00003). Their initial weights are equal, see `equalise_phases`. For an odd size the last
    position is dropped.
    """

    def __init__(self, channels_in: int, channels_out: int, size: Shape, kernel: int) -> None:
        super().__init__()
        transposed = _TRANSPOSED[len(size)]
        self.conv = equalise_phases(transposed(channels_in, channels_out, kernel + 1, stride=2, padding=kernel // 2))
        self.crop = (..., *(slice(n) for n in size))

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x)[self.crop]


class ResidualBlock(nn.Module):
    """x + f(x), where f is norm, activation and convolution, twice (He et al. 2016, arXiv 1603.05027)."""

    def __init__(self, num_dims: int, channels: int, kernel: int, make: MakeActivation, norm: Norm) -> None:
        super().__init__()
        self.branch = nn.Sequential(
            *norm_layers(norm, channels),
            make(),
            convolution(num_dims, channels, channels, kernel),
            *norm_layers(norm, channels),
            make(),
            convolution(num_dims, channels, channels, kernel),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.branch(x)


def dense_output(shape: Shape, dense: int, make: MakeActivation) -> nn.Sequential:
    """Return a dense layer with activation as the end of an encoder: ``(B, *shape)`` -> ``(B, dense)``."""
    return nn.Sequential(nn.Flatten(), nn.Linear(math.prod(shape), dense), make())


class LatentProjection(nn.Module):
    """Projects z to the input of a decoder's first stage: ``(B, *z_shape)`` -> ``(B, C, *positions)``.

    `shape` is the shape ``(C, *positions)`` of this input.

    A flat z is projected by a linear layer, a z with the same positions by a convolution of kernel 1. With `dense`, z
    of any shape is flattened, and a hidden layer of this many units comes before the linear layer.

    Raises:
        AeframeError: A z with other positions than those of the first stage.
    """

    def __init__(self, who: str, z_shape: Shape, shape: Shape, make: MakeActivation, dense: int | None) -> None:
        super().__init__()
        size = math.prod(shape)
        if dense is not None:
            hidden = nn.Linear(math.prod(z_shape), dense)
            self.layers = nn.Sequential(nn.Flatten(), hidden, make(), nn.Linear(dense, size), nn.Unflatten(1, shape))
        elif len(z_shape) == 1:
            self.layers = nn.Sequential(nn.Linear(z_shape[0], size), nn.Unflatten(1, shape))
        elif z_shape[1:] == shape[1:]:
            self.layers = nn.Sequential(convolution(len(shape) - 1, z_shape[0], shape[0], 1))
        else:
            raise AeframeError(
                f"{who} needs a flat z or one at positions {shape[1:]}, found z of shape {z_shape}; "
                f"set decoder.dense=256, or as many channels as the encoder has stages"
            )

    def forward(self, z: Tensor) -> Tensor:
        return self.layers(z)


def output_channels(who: str, out_shape: Shape) -> tuple[int, Shape]:
    """Return the number of channels and the positions that a decoder of this `out_shape` has to produce.

    `out_shape` is ``(outputs, C, *positions)``, or ``(outputs, T)`` for classes at T positions.

    Raises:
        AeframeError: More than three spatial axes.
    """
    channels, positions = (
        (out_shape[0], out_shape[1:]) if len(out_shape) == 2 else (out_shape[0] * out_shape[1], out_shape[2:])
    )
    check_positions(who, positions)
    return channels, positions
