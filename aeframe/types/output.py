"""`Latent` and `ForwardOutput`, the results of a forward pass."""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import Tensor
from torch.distributions import Distribution, Normal

from aeframe.types.batch import Batch


@dataclass(slots=True)
class Latent:
    """z, its mean, and what else a latent space computes with it; fields that it does not compute are None or empty."""

    z: Tensor
    """``(B, *z_shape)``."""
    mean: Tensor
    """``(B, *z_shape)``: the deterministic embedding of x."""
    posterior: Distribution | None = None
    """q(z|x), with a batch shape that starts with B."""
    codes: Tensor | None = None
    """``(B, *positions, levels)``: the integer codes of a quantiser, one per level."""
    terms: dict[str, Tensor] = field(default_factory=dict)
    """Loss terms of the latent, ``(B,)`` each, such as the commitment."""
    decoder_input: Tensor | None = None
    """``LatentSpace.decoder_input(z)``, where the latent space computed it together with z."""

    def rows(self, num: int) -> Latent:
        """Return the first `num` rows, with the posterior where it is a `Normal`; others cannot be sliced."""
        q = self.posterior
        return Latent(
            self.z[:num],
            self.mean[:num],
            posterior=Normal(q.loc[:num], q.scale[:num], validate_args=False) if isinstance(q, Normal) else None,
            codes=None if self.codes is None else self.codes[:num],
            terms={name: term[:num] for name, term in self.terms.items()},
            decoder_input=None if self.decoder_input is None else self.decoder_input[:num],
        )

    def detach(self) -> Latent:
        """Return z, mean and codes detached from the graph, without all other fields."""
        return Latent(self.z.detach(), self.mean.detach(), codes=self.codes)


@dataclass(slots=True)
class ForwardOutput:
    """The values of one forward pass, from the input to the reconstruction loss.

    With K importance samples `latent`, `output` and `reconstruction` have K * B rows in place of B; row k * B + b is
    sample k of x_b.
    """

    batch: Batch
    """The B clean samples."""
    encoder_input: Batch
    """The B inputs of the encoder: corrupted in training, and usually clean otherwise."""
    latent: Latent
    """z, which was decoded, and what else the latent space computed."""
    output: Tensor
    """The decoder's output, ``(B, outputs, *shape)``: ``outputs`` parameters of the likelihood for each element."""
    reconstruction: Tensor
    """``(B,)``: the reconstruction loss of each row, in nats, or in `Loss.unit` if the loss is no likelihood."""
    features: Tensor | None = None
    """``(B, C, *positions)``: the encoder's output for `encoder_input`."""
    num_samples: int | None = None
    """K, where importance samples were requested."""

    def first_sample(self) -> ForwardOutput:
        """Return the output of the first importance sample of each x; where none were requested, the same object."""
        if self.num_samples is None:
            return self
        num = len(self.batch)
        latent, output, reconstruction = self.latent.rows(num), self.output[:num], self.reconstruction[:num]
        return ForwardOutput(self.batch, self.encoder_input, latent, output, reconstruction, self.features)

    def detach(self) -> ForwardOutput:
        """Return the output detached from the graph, of the first importance sample of each x, for a critic."""
        first = self.first_sample()
        return ForwardOutput(
            first.batch,
            first.encoder_input,
            first.latent.detach(),
            first.output.detach(),
            first.reconstruction.detach(),
        )
