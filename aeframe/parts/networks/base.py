"""What every encoder and decoder is."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from aeframe.types import Batch, Shape


class Encoder(nn.Module):
    """A network from data to features.

    A constructor is given `shape` ``(*shape)`` of one sample as the encoder sees it, `domain`, and the `corruption`
    before it, when it names them; it sets `out_shape` ``(C, *positions)``.
    """

    out_shape: Shape

    def forward(self, batch: Batch) -> Tensor:
        """Return features ``(B, C, *positions)`` of ``batch.x`` ``(B, *shape)``.

        Where positions mix, ``batch.mask`` says which of them count.
        """
        raise NotImplementedError

    def mirrored_decoder_config(self) -> dict[str, Any] | None:
        """Return the decoder that undoes this network, ``{"name": ..., options}``; None when there is no such one."""
        return None


class Decoder(nn.Module):
    """A network from z to the parameters of the output.

    A constructor is given `z_shape`, `out_shape` ``(outputs, *shape)``, `encoder` and `build`, when it names them.
    """

    def forward(self, z: Tensor, batch: Batch | None = None) -> Tensor:
        """Return ``(B, outputs, *shape)`` of z ``(B, *z_shape)``.

        `batch` is the clean batch in training, for decoders that are taught by what they shall say next, and None
        when something new is decoded.
        """
        raise NotImplementedError

    def generate(self, z: Tensor, *, draw: bool = False) -> Tensor:
        """Return ``(B, outputs, *shape)`` where something new is decoded.

        A decoder that goes on from what it has said itself replaces this: with `draw` it draws what it says, and
        otherwise says what is likeliest; what it gives leaves the loss no other choice.
        """
        output: Tensor = self(z)
        return output
