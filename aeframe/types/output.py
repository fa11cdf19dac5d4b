"""`Latent` and `ForwardOutput`, the results of a forward pass."""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import Tensor
from torch.distributions import Distribution

from aeframe.types.batch import Batch


@dataclass(slots=True)
class Latent:
    """z, its mean, and what a latent provides about it."""

    z: Tensor
    """``(B, *z_shape)``, or ``(K, B, *z_shape)`` with K importance samples."""
    mean: Tensor
    """``(B, *z_shape)``: the deterministic embedding, which `encode` returns."""
    posterior: Distribution | None = None
    """q(z|x), with a batch shape that starts with B."""
    codes: Tensor | None = None
    """``(B, *positions, levels)``: the integer codes of a quantiser."""
    terms: dict[str, Tensor] = field(default_factory=dict)
    """Loss terms of the latent, ``(B,)`` each, such as the commitment."""
    decoder_input: Tensor | None = None
    """``LatentSpace.decoder_input(z)``, where the forward pass computed it already."""

    def detach(self) -> Latent:
        """Return z, mean and codes detached from the graph, without posterior and terms."""
        return Latent(self.z.detach(), self.mean.detach(), None, self.codes, {})


@dataclass(slots=True)
class ForwardOutput:
    """The values of one forward pass, from the input to the reconstruction loss."""

    batch: Batch
    """The clean samples."""
    encoder_input: Batch
    """The input of the encoder: corrupted in training, clean otherwise."""
    latent: Latent
    output: Tensor
    """The decoder's output, ``(B, outputs, *shape)`` or ``(K, B, outputs, *shape)``: the parameters of the loss."""
    reconstruction: Tensor
    """``(B,)`` or ``(K, B)``: the loss of each sample, in nats or the unit of the loss."""
    features: Tensor | None = None
    """``(B, C, *positions)``: the encoder's output for `encoder_input`."""

    def detach(self) -> ForwardOutput:
        """Return the output detached from the graph, for a critic."""
        return ForwardOutput(
            self.batch, self.encoder_input, self.latent.detach(), self.output.detach(), self.reconstruction.detach()
        )
