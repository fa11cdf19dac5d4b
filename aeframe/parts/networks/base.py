"""The base classes `Encoder` and `Decoder`.

Shapes: B samples; C channels; ``positions``: the sizes of the spatial axes, such as (H, W), and none for flat features;
``outputs``: the number of parameters of the likelihood for each element of x (`Loss.num_outputs`).
"""

from __future__ import annotations

from typing import Any, ClassVar

from torch import Tensor, nn

from aeframe.types import Batch, Shape


class Encoder(nn.Module):
    """Maps data to features.

    A constructor can have the arguments `shape`, the shape of one sample with the channels of the condition; `domain`,
    the set of values that x can take; and `corruption`. The framework injects those that it names.
    """

    out_shape: Shape
    """The shape ``(C, *positions)`` of one sample's features; the constructor sets it."""

    def forward(self, batch: Batch) -> Tensor:
        """Return features ``(B, C, *positions)`` of ``batch.x`` ``(B, *shape)``.

        Read x through `Batch.masked_x`: masked values may be NaN, and must not influence other positions.
        """
        raise NotImplementedError

    def mirrored_decoder_config(self) -> dict[str, Any] | None:
        """Return the config ``{"name": ..., options}`` of the decoder with the reverse layers, or None without one."""
        return None


class Decoder(nn.Module):
    """Maps z to the parameters of the likelihood.

    A constructor can have the arguments `z_shape`, the shape of the decoder's input with the channels of the condition;
    `out_shape` ``(outputs, *shape)``; `encoder`, that of the model; and `build`, the function that builds registered
    parts. The framework injects those that it names.
    """

    returns_x: ClassVar[bool] = False
    """Whether the output is x itself in its units, such as the sum of directions of a dictionary.

    The default of a loss's option `activation` is then the identity, and not that of the domain of the data.
    """

    def forward(self, z: Tensor, batch: Batch | None = None) -> Tensor:
        """Return the parameters ``(B, outputs, *shape)`` for z ``(B, *z_shape)``.

        `batch` has the clean samples, for teacher forcing in autoregressive decoders; None decodes without them.
        """
        raise NotImplementedError

    def generate(self, z: Tensor, *, draw: bool = False) -> Tensor:
        """Return the parameters ``(B, outputs, *shape)`` for new codes z ``(B, *z_shape)``, which have no samples.

        Autoregressive decoders override this: they sample tokens with `draw`, and search for probable tokens otherwise.
        The likelihood that they return gives all probability to the chosen tokens.
        """
        output: Tensor = self(z)
        return output
