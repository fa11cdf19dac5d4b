"""The base classes `Encoder` and `Decoder`."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from aeframe.types import Batch, Shape


class Encoder(nn.Module):
    """Maps data to features.

    A constructor can have the arguments `shape`, of one sample with the channels of the condition, `domain`, and
    `corruption`. The framework injects those that it names.
    """

    out_shape: Shape
    """``(C, *positions)`` of the features; set by the constructor."""

    def forward(self, batch: Batch) -> Tensor:
        """Return features ``(B, C, *positions)`` of ``batch.x`` ``(B, *shape)``.

        Read x through `Batch.masked_x`: masked values may be NaN, and may not influence other positions.
        """
        raise NotImplementedError

    def mirrored_decoder_config(self) -> dict[str, Any] | None:
        """Return the config ``{"name": ..., options}`` of the decoder with the reverse layers, or None without one."""
        return None


class Decoder(nn.Module):
    """Maps z to the parameters of the likelihood.

    A constructor can have the arguments `z_shape`, of the decoder's input with the channels of the condition,
    `out_shape` ``(outputs, *shape)``, `encoder` and `build`. The framework injects those that it names.
    """

    def forward(self, z: Tensor, batch: Batch | None = None) -> Tensor:
        """Return ``(B, outputs, *shape)`` of z ``(B, *z_shape)``.

        `batch` has the clean samples, for teacher forcing in autoregressive decoders; None decodes without them.
        """
        raise NotImplementedError

    def generate(self, z: Tensor, *, draw: bool = False) -> Tensor:
        """Return ``(B, outputs, *shape)`` of new codes z ``(B, *z_shape)``, which have no samples.

        Autoregressive decoders override this: they sample tokens with `draw`, and search for probable tokens otherwise.
        Their output leaves the chosen tokens as the only possible ones.
        """
        output: Tensor = self(z)
        return output
