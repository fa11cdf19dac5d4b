"""`Prior`, the base class of priors p(z)."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor, nn

from aeframe.errors import AeframeError
from aeframe.tensors import per_sample
from aeframe.types import Latent


class Prior(nn.Module):
    """p(z), which the posterior is compared with and new codes are sampled from.

    A constructor receives those of these arguments that it has parameters for: `z_shape`, `encoder`, `latent`, and
    `shape`, that of the encoder's input for one sample. A prior that uses the encoder or the latent keeps each in an
    `Unowned`, so that its parameters are not registered twice.
    """

    requires: ClassVar[frozenset[str]] = frozenset()
    """What the latent must provide, see `LatentSpace.provides`."""
    spaces: ClassVar[frozenset[str]] = frozenset({"euclidean"})
    """The names of the spaces that it is a density on, see `LatentSpace.space`."""

    def log_prob(self, z: Tensor) -> Tensor:
        """Return log p(z) ``(..., B)`` in nats of z ``(..., B, *z_shape)``."""
        raise NotImplementedError

    def sample(self, num: int) -> Tensor:
        """Return samples ``(num, *z_shape)``."""
        raise NotImplementedError

    def kl(self, latent: Latent) -> Tensor:
        """Return KL(q(z|x) || p(z)) in nats: ``(B,)``, or one value for each dimension where both factorise.

        The default is the estimate log q(z|x) - log p(z), ``(B,)``, which is unbiased where z was sampled.
        """
        if latent.posterior is None:
            raise AeframeError("a KL divergence requires a latent that provides a posterior")
        return per_sample(latent.posterior.log_prob(latent.z)) - self.log_prob(latent.z)
