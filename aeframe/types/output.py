"""What one forward pass returns: `Latent` and `ForwardOutput`."""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import Tensor
from torch.distributions import Distribution

from aeframe.types.batch import Batch


@dataclass(slots=True)
class Latent:
    """A code and what is known about it."""

    z: Tensor
    """``(B, *z_shape)``, or ``(K, B, *z_shape)`` with K importance samples."""
    mean: Tensor
    """``(B, *z_shape)``: the deterministic embedding; `encode` returns this."""
    posterior: Distribution | None = None
    """q(z|x), its batch shape beginning with B."""
    codes: Tensor | None = None
    """``(B, *positions, levels)`` integer codes of a quantiser."""
    terms: dict[str, Tensor] = field(default_factory=dict)
    """``(B,)`` each: commitment, log-determinant, ..."""
    decoder_input: Tensor | None = None
    """What `LatentSpace.decoder_input` would make of z, where the space has it at hand already."""

    def detach(self) -> Latent:
        """Return the latent detached from the graph, for a critic."""
        return Latent(self.z.detach(), self.mean.detach(), None, self.codes, {})


@dataclass(slots=True)
class ForwardOutput:
    """One way through the picture, from x to the loss."""

    batch: Batch
    """The clean samples."""
    encoder_input: Batch
    """What the encoder saw: corrupted in training, clean otherwise."""
    latent: Latent
    output: Tensor
    """``(B, outputs, *shape)``, or ``(K, B, outputs, *shape)``: the parameters the decoder gives to the loss."""
    reconstruction: Tensor
    """``(B,)`` or ``(K, B)``: the loss of each sample, in nats or its own unit."""
    features: Tensor | None = None
    """``(B, C, *positions)``: what the encoder returned for `seen`."""

    def detach(self) -> ForwardOutput:
        """Return the output detached from the graph, for a critic."""
        return ForwardOutput(
            self.batch, self.encoder_input, self.latent.detach(), self.output.detach(), self.reconstruction.detach()
        )
