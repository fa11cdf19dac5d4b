"""The encoder and the decoder `shortcut_conv`: strided convolutions with a linear shortcut around each activation.

With them the network contains a linear autoencoder, whose optimum is PCA, and the activations add what is not linear.
Windows of measured series are nearly linear: without shortcuts, the same network has a larger error than PCA.

Shapes: B windows (the samples of the batch); C channels; ``positions``: the sizes of the spatial axes, (T,) for series;
``smallest``: the sizes after the encoder's last stage; ``outputs``: the number of parameters of the likelihood for each
element of x.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from aeframe.parts.activations import MakeActivation
from aeframe.parts.networks.blocks import Norm, Upsample, convolution
from aeframe.parts.networks.strided import Stage, StageOptions, StridedDecoder, StridedEncoder
from aeframe.types import Domain, Shape


class ShortcutConvEncoder(StridedEncoder):
    """Convolutions of stride 2 with shortcuts: ``(B, C, *positions)`` -> ``(B, channels[-1], *smallest)``.

    A stage maps x to f(x) + g(x), for one to three spatial axes of any size n to ceil(n / 2): f is a convolution with
    norm and activation, and g a convolution without them (a projection shortcut: He et al. 2016, arXiv 1512.03385).

    Args:
        shape: ``(C, *positions)`` with one to three spatial axes; ``(T,)`` for classes.
        domain: The set of values that x can take; classes become one-hot channels.
        channels: Channels after each stage, one number for each.
        kernel: Width of every convolution, odd.
        activation: The activation of f; null takes the model's activation.
        norm: The norm before each activation: ``none``, ``group`` or ``layer``.
        dense: Units of a dense layer with an activation at the end; features are then ``(dense,)``, and no longer
            contain a linear map of x.
    """

    def __init__(
        self,
        shape: Shape,
        domain: Domain,
        *,
        channels: tuple[int, ...] = (32, 64),
        kernel: int = 3,
        activation: MakeActivation | None = None,
        norm: Norm = "none",
        dense: int | None = None,
    ) -> None:
        options = StageOptions("encoder shortcut_conv", channels, kernel, activation, norm, dense)
        super().__init__(shape, domain, options)

    def stage_layers(self, stage: Stage) -> list[nn.Module]:
        return [_Downsample(stage)]


class ShortcutConvDecoder(StridedDecoder):
    """Transposed convolutions of stride 2 with shortcuts: ``(B, *z_shape)`` -> ``(B, outputs, *shape)``.

    Each stage restores the sizes of the axes, of any size, that an encoder stage has halved. It maps h to
    f(a(h)) + g(h), where f and g are transposed convolutions and a is norm and activation. The initial weights of f are
    0 (as of the last layer of residual branches: Goyal et al. 2017, arXiv 1706.02677), so that the decoder is at first
    linear.

    Args:
        z_shape: Shape of one z: ``(dim,)``, or ``(dim, *smallest)``.
        out_shape: Shape of one output: ``(outputs, C, *positions)``, or ``(outputs, T)`` for classes at T positions.
        channels: Channels before each stage, one number for each, from ``smallest`` to the sizes of x.
        kernel: Width of the encoder's convolutions, odd; the transposed ones are one wider.
        activation: The activation before each f; null takes the model's activation.
        norm: The norm before each activation: ``none``, ``group`` or ``layer``.
        dense: Units of a dense layer with an activation at the beginning; the output then contains no linear map of z.
    """

    def __init__(
        self,
        z_shape: Shape,
        out_shape: Shape,
        *,
        channels: tuple[int, ...] = (64, 32),
        kernel: int = 3,
        activation: MakeActivation | None = None,
        norm: Norm = "none",
        dense: int | None = None,
    ) -> None:
        options = StageOptions("decoder shortcut_conv", channels, kernel, activation, norm, dense)
        super().__init__(z_shape, out_shape, options)

    def stage_layers(self, stage: Stage) -> list[nn.Module]:
        return [_Upsample(stage)]


class _Downsample(nn.Module):
    """f(x) + g(x): ``(B, C, *size)`` -> ``(B, C', *ceil(size / 2))``. One convolution computes both."""

    def __init__(self, stage: Stage) -> None:
        super().__init__()
        kernel = stage.options.kernel
        self.conv = convolution(len(stage.size), stage.channels_in, 2 * stage.channels_out, kernel, stride=2)
        self.activation = nn.Sequential(*stage.norm_and_activation(stage.channels_out))

    def forward(self, x: Tensor) -> Tensor:
        curved, linear = self.conv(x).chunk(2, 1)
        output: Tensor = self.activation(curved) + linear
        return output


class _Upsample(nn.Module):
    """f(a(h)) + g(h): ``(B, C, *ceil(size / 2))`` -> ``(B, C', *size)``. One transposed convolution computes both."""

    def __init__(self, stage: Stage) -> None:
        super().__init__()
        self.activation = nn.Sequential(*stage.norm_and_activation(stage.channels_in))
        self.upsample = Upsample(2 * stage.channels_in, stage.channels_out, stage.size, stage.options.kernel)
        with torch.no_grad():
            # The weights of f; those of the encoder cannot be 0, because the gradient of relu at 0 is 0.
            self.upsample.conv.weight[: stage.channels_in] = 0

    def forward(self, h: Tensor) -> Tensor:
        output: Tensor = self.upsample(torch.cat([self.activation(h), h], 1))
        return output
