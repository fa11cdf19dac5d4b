"""The encoder ``pretrained``: a network from a file, frozen by default.

Shapes: B samples; C channels; T tokens; ``positions``: the sizes of the spatial axes, such as (H, W).
"""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from aeframe.errors import AeframeError
from aeframe.factory import restoring
from aeframe.parts.activations import MakeActivation
from aeframe.parts.corruptions import Corruption
from aeframe.parts.networks.base import Encoder
from aeframe.parts.networks.features import MakeEncoder
from aeframe.parts.networks.pretrained_file import PretrainedFile
from aeframe.types import Batch, DataSpec, Shape

_WHO = "encoder pretrained"


class PretrainedEncoder(Encoder):
    """A network from a file, such as a vision foundation model, on whose features a decoder is trained (RAE: Zheng et
    al. 2025, arXiv 2510.11690).

    The file is either a safetensors file with the weights of a registered encoder, the `architecture`, or a
    `torch.export` archive, which contains the network itself. A frozen network is always in evaluation mode, and its
    parameters belong to no optimizer. The weights are saved with the model. A saved model thus needs no file, except
    for an archive: its graph is code, so a copy of it must lie in the folder `archive_folder()` to open the model.

    Args:
        shape: ``(C, *positions)`` of the data.
        path: The file. An archive is exported for x of `shape` (or `size`) with a dynamic first axis, and returns one
            tensor: features ``(B, C, *positions)`` or ``(B, C)``, or tokens ``(B, T, C)``.
        sha256: Hash of the file, in hexadecimal.
        architecture: The encoder whose weights the safetensors file has; null for a `torch.export` archive.
        prefix: Prefix of the network's tensors in a safetensors file: ``model.encoder.`` takes the encoder of a saved
            model.
        ignore: Tensors of a safetensors file, without the prefix, that the network does not have: ``[mask_token]`` of
            an encoder that was trained as a masked autoencoder.
        mean: Subtracted from x: one number, or one for each channel, in the units of x.
        std: x minus the mean is divided by it: one number, or one for each channel, in the units of x.
        size: Height and width that images are resized to in front of the network; null leaves them.
        tokens: ``positions`` arranges tokens ``(B, T, C)`` as ``(B, C, H, W)`` with H = W; ``none`` leaves features.
        skip_tokens: Number of leading tokens to leave out, such as class and register tokens.
        freeze: Whether the network keeps its weights; otherwise it is trained with the decoder.

    Raises:
        AeframeError: The file is missing or another one, or the network does not fit the data.
    """

    def __init__(
        self,
        shape: Shape,
        spec: DataSpec,
        corruption: Corruption,
        activation: MakeActivation,
        *,
        path: str,
        sha256: str | None = None,
        architecture: MakeEncoder | None = None,
        prefix: str = "",
        ignore: tuple[str, ...] = (),
        mean: float | tuple[float, ...] = 0.0,
        std: float | tuple[float, ...] = 1.0,
        size: tuple[int, int] | None = None,
        tokens: Literal["none", "positions"] = "none",
        skip_tokens: int = 0,
        freeze: bool = True,
    ) -> None:
        super().__init__()
        if shape != spec.shape:
            raise AeframeError(
                f"{_WHO} takes data of shape {spec.shape} without a condition, found {shape}; "
                "set condition_encoder=false, the decoder still receives the condition"
            )
        self.size, self.tokens, self.skip_tokens, self.freeze = size, tokens, skip_tokens, freeze
        self._set_normalisation(spec, mean, std)
        spec = replace(spec, shape=self._resized_shape(shape))
        file = PretrainedFile(
            Path(path).expanduser(),
            sha256,
            _WHO,
            path_key="encoder.path",
            sha256_key="encoder.sha256",
            network_key="encoder.architecture",
        )
        self.network: nn.Module
        self.is_archive = architecture is None
        if architecture is not None:
            self.network = network = architecture(spec, activation, corruption=corruption)
            # While a saved model is restored, its own weights are loaded; the file may not exist there.
            if not restoring():
                file.load_weights(network, prefix=prefix, ignore=ignore)
            network_shape = network.out_shape
        else:
            file = file.kept_archive() if restoring() else file
            self.network = file.load_archive()
            network_shape = self._shape_of_archive(file, spec.shape)
            if torch.get_default_device().type == "meta":
                self.network.to("meta")
            elif not restoring():
                file.keep_archive()
        self.network.requires_grad_(not freeze)
        self._mirrored_decoder = self.network.mirrored_decoder_config() if isinstance(self.network, Encoder) else None
        self.out_shape = self._arranged_shape(network_shape)

    def forward(self, batch: Batch) -> Tensor:
        if self.mean is not None:
            batch = batch.with_x((batch.x - self.mean.to(batch.x.dtype)) / self.std.to(batch.x.dtype))
        if self.size is not None:
            resized = F.interpolate(batch.masked_x(), self.size, mode="bilinear", antialias=True, align_corners=False)
            batch = replace(batch, x=resized, mask=None)
        if not self.is_archive:
            if self.freeze:
                # `train()` of the model has switched this network too; a frozen one needs fixed statistics and no
                # dropout. Lightning warns of modules that are in evaluation mode when a fit starts, so this is here.
                self.network.eval()
            return self._arranged(self.network(batch))
        x = batch.masked_x()
        if x.is_meta:
            # The graph may contain the device that it was exported on; the shape of its output is known.
            return x.new_zeros((x.shape[0], *self.out_shape))
        parameter = next(self.network.parameters(), None)
        features: Tensor = self.network(x if parameter is None or not x.is_floating_point() else x.to(parameter.dtype))
        return self._arranged(features)

    def train(self, mode: bool = True) -> Self:
        if not self.is_archive:
            return super().train(mode)
        # An exported graph has no modes: its own method raises an error.
        self.training = mode
        return self

    def mirrored_decoder_config(self) -> dict[str, Any] | None:
        return self._mirrored_decoder if self.size is None and self.tokens == "none" else None

    def _set_normalisation(
        self, spec: DataSpec, mean: float | tuple[float, ...], std: float | tuple[float, ...]
    ) -> None:
        """Set `mean` and `std` ``(C, 1, ...)`` of the input; both are None if x stays as it is."""
        self.mean: Tensor | None
        self.std: Tensor
        values = {"mean": mean, "std": std}
        if mean == 0 and std == 1:
            self.mean = None
            return
        num_channels = spec.shape[0]
        for name, value in values.items():
            numbers = (value,) if isinstance(value, (int, float)) else value
            if len(numbers) not in (1, num_channels) or (name == "std" and min(numbers) <= 0):
                raise AeframeError(
                    f"{_WHO} needs encoder.{name} as one {'positive ' if name == 'std' else ''}number, or one for each "
                    f"of the {num_channels} channels, found {value}"
                )
            tensor = torch.tensor(numbers, dtype=torch.float32).reshape(-1, *[1] * (len(spec.shape) - 1))
            # They are options in the config, so they need no place in the saved weights.
            self.register_buffer(name, tensor, persistent=False)
        if spec.domain.has_classes:
            raise AeframeError(
                f"{_WHO} cannot subtract a mean from the classes of {spec.domain.kind} data; leave out encoder.mean "
                "and encoder.std"
            )

    def _resized_shape(self, shape: Shape) -> Shape:
        if self.size is None:
            return shape
        if len(shape) != 3:
            raise AeframeError(f"{_WHO} resizes images (C, H, W), found data of shape {shape}; leave out encoder.size")
        return (shape[0], *self.size)

    def _shape_of_archive(self, file: PretrainedFile, shape: Shape) -> Shape:
        """Return the shape of one sample's features, by a dry run with one sample and with three."""
        parameter = next(self.network.parameters(), None)
        dtype = torch.float32 if parameter is None else parameter.dtype
        found: Any = None
        for num in (1, 3):
            x = torch.zeros(num, *shape, dtype=dtype, device="cpu")
            try:
                with torch.no_grad(), torch.device("cpu"):
                    found = self.network(x)
            except (AssertionError, RuntimeError, TypeError, ValueError) as error:
                first = str(error).strip().partition("\n")[0]
                raise AeframeError(
                    f"{_WHO}: the network in '{file.path}' does not take x of shape {tuple(x.shape)} ({first}); export "
                    "it for this shape with a dynamic first axis, or set encoder.size"
                ) from error
            if not isinstance(found, Tensor) or found.ndim < 2 or found.shape[0] != num:
                what = f"shape {tuple(found.shape)}" if isinstance(found, Tensor) else f"type {type(found).__name__}"
                raise AeframeError(
                    f"{_WHO} expects that the network in '{file.path}' returns features ({num}, C, ...) of {num} "
                    f"samples, found an output of {what}; export a network that returns one such tensor"
                )
        return tuple(found.shape[1:])

    def _arranged(self, features: Tensor) -> Tensor:
        """Return features or tokens in the order and shape `out_shape`."""
        if self.skip_tokens:
            features = features[:, self.skip_tokens :]
        return features if self.tokens == "none" else features.transpose(1, 2).reshape(-1, *self.out_shape)

    def _arranged_shape(self, shape: Shape) -> Shape:
        if self.tokens == "none" and not self.skip_tokens:
            return shape
        if len(shape) != 2 or not 0 <= self.skip_tokens < shape[0]:
            raise AeframeError(
                f"{_WHO} needs tokens (T, C) with T > encoder.skip_tokens={self.skip_tokens}, found features of shape "
                f"{shape}; leave out encoder.tokens and encoder.skip_tokens"
            )
        num_tokens, channels = shape[0] - self.skip_tokens, shape[1]
        if self.tokens == "none":
            return (num_tokens, channels)
        side = math.isqrt(num_tokens)
        if side * side != num_tokens:
            raise AeframeError(
                f"{_WHO} arranges tokens as a square, found {num_tokens} tokens; set encoder.skip_tokens to the number "
                "of class and register tokens, or encoder.tokens=none"
            )
        return (channels, side, side)
