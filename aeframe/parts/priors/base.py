"""What every prior is: what z is compared with, and sampled from."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor, nn

from aeframe.errors import AeframeError
from aeframe.tensors import per_sample
from aeframe.types import Latent


class Prior(nn.Module):
    """p(z). A constructor is given `z_shape`, `encoder`, `latent`, and `shape` of one sample as the encoder sees it,
    when it names them.

    `requires` lists what the latent must provide: see `LatentSpace.provides`. A prior that uses the encoder or the
    latent keeps each in an `Unowned`, so that their parameters are not registered twice.
    """

    requires: ClassVar[frozenset[str]] = frozenset()
    spaces: ClassVar[frozenset[str]] = frozenset({"euclidean"})
    """The kinds of z it is a density of: see `LatentSpace.space`."""

    def log_prob(self, z: Tensor) -> Tensor:
        """Return ``(..., B)`` in nats of z ``(..., B, *z_shape)``."""
        raise NotImplementedError

    def sample(self, num: int) -> Tensor:
        """Draw ``(num, *z_shape)``."""
        raise NotImplementedError

    def kl(self, latent: Latent) -> Tensor:
        """Return KL(q(z|x) || p(z)) in nats: ``(B,)``, or ``(B, *z_shape)`` by dimension where both are factorised.

        The default is the estimate log q(z) - log p(z) from the drawn z, without bias where z was drawn:
        ``(B,)``, or ``(K, B)`` with K importance samples.
        """
        if latent.posterior is None:
            raise AeframeError("a KL divergence requires a latent that provides a posterior")
        lead = 1 + latent.z.ndim - latent.mean.ndim
        return per_sample(latent.posterior.log_prob(latent.z), lead) - self.log_prob(latent.z)
