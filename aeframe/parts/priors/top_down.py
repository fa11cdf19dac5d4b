"""The prior of a hierarchy of groups of latent variables: each group given those above it."""

from __future__ import annotations

from torch import Tensor
from torch.distributions import kl_divergence

from aeframe.errors import AeframeError
from aeframe.parts.latents.hierarchy.base import GroupedPosterior, Hierarchy, sample_normal
from aeframe.parts.networks.unowned import Unowned
from aeframe.parts.priors.base import Prior
from aeframe.types import Latent, Shape


class TopDown(Prior):
    """p(z) = prod p(group | groups above), computed by the top-down network of the latent without encoder features.

    The KL is in closed form, with one value for each dimension, given the sampled groups above. `temperature`
    multiplies the standard deviations when codes are sampled, and affects nothing else: values below 1 yield more
    typical samples (Vahdat & Kautz 2020, arXiv 2007.03898).
    """

    requires = frozenset({"posterior", "hierarchy"})
    spaces = frozenset({"hierarchy"})

    def __init__(self, z_shape: Shape, latent: Hierarchy, *, temperature: float = 1.0) -> None:
        super().__init__()
        if temperature <= 0:
            raise AeframeError(f"prior top_down needs a temperature above 0, found {temperature}")
        self.temperature = temperature
        self._latent = Unowned(latent)

    def log_prob(self, z: Tensor) -> Tensor:
        flat = z.flatten(0, -2)
        return self._latent.module.top_down_given(flat).p.log_prob(flat).sum(1).reshape(z.shape[:-1])

    def sample(self, num: int) -> Tensor:
        return self._latent.module.top_down(num, lambda p: sample_normal(p, self.temperature)).z

    def kl(self, latent: Latent) -> Tensor:
        posterior = latent.posterior
        if not isinstance(posterior, GroupedPosterior):
            return super().kl(latent)
        return kl_divergence(posterior.q, posterior.p)
