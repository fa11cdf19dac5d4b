"""Priors: what z is compared with, and sampled from."""

from __future__ import annotations

import math
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.distributions import Normal

from aeframe.batch import Latent, Shape, per_sample
from aeframe.errors import AeframeError


class Prior(nn.Module):
    """p(z). A constructor is given `z_shape`, `encoder` and `latent`, when it names them.

    `needs` is what it must know of a code: see `LatentSpace.gives`.
    """

    needs: ClassVar[frozenset[str]] = frozenset()

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
            raise AeframeError("a KL divergence needs a latent that gives a posterior")
        lead = 1 + latent.z.ndim - latent.mean.ndim
        return per_sample(latent.posterior.log_prob(latent.z), lead) - self.log_prob(latent.z)


class StandardNormal(Prior):
    """N(0, I)."""

    def __init__(self, z_shape: Shape) -> None:
        super().__init__()
        self.z_shape = z_shape
        self.register_buffer("_device", torch.zeros(()), persistent=False)

    def log_prob(self, z: Tensor) -> Tensor:
        lead = z.ndim - len(self.z_shape)
        return per_sample(-0.5 * (z.square() + math.log(2 * math.pi)), lead)

    def sample(self, num: int) -> Tensor:
        device: Tensor = self._device  # type: ignore[assignment]
        return torch.randn(num, *self.z_shape, device=device.device)

    def kl(self, latent: Latent) -> Tensor:
        q = latent.posterior
        if not isinstance(q, Normal):
            return super().kl(latent)
        # The closed form of two normals, kept by dimension: free bits and the diagnostics need it so.
        variance = q.scale.square()
        return 0.5 * (q.loc.square() + variance - 1.0) - q.scale.log()


class Mixture(Prior):
    """A learned mixture of `components` diagonal Gaussians (Dilokthanakul et al. 2016, arXiv 1611.02648).

    Means begin at normal draws of standard deviation `spread`, so that the components do not begin alike.
    """

    def __init__(self, z_shape: Shape, *, components: int = 10, spread: float = 1.0) -> None:
        super().__init__()
        if components < 1:
            raise AeframeError(f"prior mixture needs components >= 1, found {components}")
        self.z_shape = z_shape
        self.means = nn.Parameter(spread * torch.randn(components, *z_shape))
        self.log_scales = nn.Parameter(torch.zeros(components, *z_shape))
        self.logits = nn.Parameter(torch.zeros(components))

    def log_prob(self, z: Tensor) -> Tensor:
        lead = z.ndim - len(self.z_shape)
        by_component = Normal(self.means, self.log_scales.exp()).log_prob(z.unsqueeze(lead))
        return torch.logsumexp(per_sample(by_component, lead + 1) + self.logits.log_softmax(0), dim=-1)

    def sample(self, num: int) -> Tensor:
        which = torch.multinomial(self.logits.softmax(0), num, replacement=True)
        return self.means[which] + self.log_scales.exp()[which] * torch.randn_like(self.means[which])
