"""The VampPrior, a mixture of posteriors of learned pseudo-inputs."""

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

    A pseudo-input is an input of the encoder, mapped to the bounds of the data: by a sigmoid for bounded data, a
    softplus for counts, a softmax on a simplex. (The paper clamps, which can lose the gradient permanently.) Where the
    encoder receives a condition with x, each pseudo-input has a learned, unbounded condition as well.

    Args:
        z_shape: The shape of one z.
        shape: The shape of the encoder's input for one sample.
        spec: The spec of the data: shape, domain (the values of x) and condition.
        encoder: The model's encoder; each call of `log_prob` encodes all pseudo-inputs.
        latent: The model's latent.
        components: Number of pseudo-inputs; the paper uses 500.
        spread: Standard deviation of their initial values, before they are mapped to the bounds.
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
        if spec.domain.has_classes:
            raise AeframeError(
                f"prior vamp learns pseudo-inputs by gradients, which {spec.domain.kind} data do not have; choose "
                "prior=mixture or prior=flow"
            )
        self.z_shape, self.domain = z_shape, spec.domain
        # The axis of the condition, after that of the components, and the size of x along it.
        axis = next((number for number, size in enumerate(spec.shape) if shape[number] != size), 0)
        self.axis, self.size = axis + 1, spec.shape[axis]
        # The pseudo-inputs before they are mapped to the bounds.
        self.free = nn.Parameter(spread * torch.randn(components, *shape))
        self._encoder, self._latent = Unowned(encoder), Unowned(latent)

    def pseudo_inputs(self) -> Tensor:
        """Return the pseudo-inputs ``(components, *shape)``, within the bounds of the data."""
        # The encoder's input has the values of x, then those of the condition.
        x, condition = self.free.tensor_split([self.size], self.axis)
        return torch.cat([_bounded(x, self.domain), condition], self.axis)

    def log_prob(self, z: Tensor) -> Tensor:
        encoder, latent = self._encoder.module, self._latent.module
        # The number of dimensions before z_shape; the axis of the components is inserted after them.
        lead = z.ndim - len(self.z_shape)
        posteriors: Distribution = latent(encoder(Batch(self.pseudo_inputs())), sample=False).posterior
        by_component = per_sample(posteriors.log_prob(z.unsqueeze(lead)), lead + 1)
        return torch.logsumexp(by_component, -1) - math.log(len(self.free))

    def sample(self, num: int) -> Tensor:
        encoder, latent = self._encoder.module, self._latent.module
        component = torch.randint(len(self.free), (num,), device=self.free.device)
        z: Tensor = latent(encoder(Batch(self.pseudo_inputs()[component])), sample=True).z
        return z


def _bounded(x: Tensor, domain: Domain) -> Tensor:
    """Map unbounded values to the bounds of a domain."""
    low, high = domain.bounds
    if domain.kind == "simplex":
        return x.softmax(-1)
    if math.isfinite(high):
        return low + (high - low) * x.sigmoid()
    return low + nn.functional.softplus(x) if math.isfinite(low) else x
