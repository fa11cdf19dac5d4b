"""The VampPrior: a mixture of posteriors."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from aeframe.errors import AeframeError
from aeframe.parts.latents.base import LatentSpace
from aeframe.parts.networks.base import Encoder
from aeframe.parts.networks.unowned import Unowned
from aeframe.parts.priors.base import Prior
from aeframe.tensors import per_sample
from aeframe.types import Batch, DataSpec, Domain, Shape


class Vamp(Prior):
    """The variational mixture of posteriors: p(z) = mean of q(z|u_k) over learned pseudo-inputs u_k
    (Tomczak & Welling 2018, arXiv 1705.07120).

    A pseudo-input is what the encoder sees, within the bounds of the data: through a sigmoid where they are
    bounded, a softplus for counts, a softmax on a simplex (the paper clamps, where a gradient can be lost for good).
    Where the encoder sees a condition beside x, each pseudo-input has one of its own, of any numbers.

    Args:
        z_shape: Of one z.
        shape: Of one sample, as the encoder sees it.
        spec: Of the data.
        encoder: The model's own: each log_prob sends all the pseudo-inputs through it.
        latent: The model's own.
        components: How many pseudo-inputs; the paper has 500.
        spread: Standard deviation of their first values, before they are bounded.
    """

    requires = frozenset({"posterior"})

    def __init__(
        self,
        z_shape: Shape,
        shape: Shape,
        spec: DataSpec,
        encoder: Encoder,
        latent: LatentSpace,
        *,
        components: int = 500,
        spread: float = 1.0,
    ) -> None:
        super().__init__()
        if components < 1:
            raise AeframeError(f"prior vamp needs components >= 1, found {components}")
        if spec.domain.kind == "category":
            raise AeframeError(
                f"prior vamp learns pseudo-inputs by their gradient, and {spec.domain} data have none; "
                "choose prior=mixture or prior=flow"
            )
        self.z_shape, self.channels, self.domain = z_shape, spec.shape[0], spec.domain
        self.free = nn.Parameter(spread * torch.randn(components, *shape))
        self._encoder, self._latent = Unowned(encoder), Unowned(latent)

    def pseudo_inputs(self) -> Tensor:
        """Return ``(components, *shape)`` within the bounds of the data."""
        x, condition = self.free[:, : self.channels], self.free[:, self.channels :]
        return torch.cat([_bounded(x, self.domain), condition], 1)

    def log_prob(self, z: Tensor) -> Tensor:
        encoder, latent = self._encoder.module, self._latent.module
        lead = z.ndim - len(self.z_shape)
        mixed: Distribution = latent(encoder(Batch(self.pseudo_inputs())), sample=False).posterior
        by_component = per_sample(mixed.log_prob(z.unsqueeze(lead)), lead + 1)
        return torch.logsumexp(by_component, -1) - math.log(len(self.free))

    def sample(self, num: int) -> Tensor:
        encoder, latent = self._encoder.module, self._latent.module
        which = torch.randint(len(self.free), (num,), device=self.free.device)
        drawn: Tensor = latent(encoder(Batch(self.pseudo_inputs()[which])), sample=True).z
        return drawn


def _bounded(x: Tensor, domain: Domain) -> Tensor:
    low, high = domain.bounds
    if domain.kind == "simplex":
        return x.softmax(-1)
    if math.isfinite(high):
        return low + (high - low) * x.sigmoid()
    return low + nn.functional.softplus(x) if math.isfinite(low) else x
