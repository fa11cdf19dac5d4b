"""The results of a forward pass: `Latent` from encoder and latent space, `ForwardOutput` from the whole autoencoder."""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import Tensor
from torch.distributions import Distribution

from aeframe.types.batch import Batch


@dataclass(slots=True)
class Latent:
    """The latent codes of a batch, with the posterior or the integer codes they come from."""

    z: Tensor
    """``(B, *z_shape)``: a sample of the posterior, or the mean. ``(K, B, *z_shape)`` with K importance samples."""
    mean: Tensor
    """``(B, *z_shape)``: the deterministic embedding, which `aeframe.load(...).encode` returns."""
    posterior: Distribution | None = None
    """q(z|x) with batch shape ``(B, ...)``, for latent spaces that have one."""
    codes: Tensor | None = None
    """``(B, *positions, levels)``: the integer codes of a quantiser."""
    terms: dict[str, Tensor] = field(default_factory=dict)
    """``(B,)`` each: the loss terms of the latent space, such as ``commitment``."""
    decoder_input: Tensor | None = None
    """`LatentSpace.decoder_input` of z, where the latent space computed it together with z."""

    def detach(self) -> Latent:
        """Return z, mean and codes without gradients, for the training of a critic."""
        return Latent(self.z.detach(), self.mean.detach(), None, self.codes, {})


@dataclass(slots=True)
class ForwardOutput:
    """All results of one forward pass of the autoencoder, from x to the reconstruction loss."""

    batch: Batch
    """The clean samples."""
    encoder_input: Batch
    """The samples that were encoded: corrupted in training, the clean ones otherwise."""
    latent: Latent
    output: Tensor
    """``(B, outputs, *shape)`` or ``(K, B, outputs, *shape)``: the parameters of the likelihood, from the decoder."""
    reconstruction: Tensor
    """``(B,)`` or ``(K, B)``: the reconstruction loss of each sample, in nats or the loss's own unit."""
    features: Tensor | None = None
    """``(B, C, *positions)``: the encoder's features of `encoder_input`."""

    def detach(self) -> ForwardOutput:
        """Return the results without gradients and features, for the training of a critic."""
        return ForwardOutput(
            self.batch, self.encoder_input, self.latent.detach(), self.output.detach(), self.reconstruction.detach()
        )
