"""The prior of a hierarchy: each group given those above it."""

from __future__ import annotations

from torch import Tensor
from torch.distributions import kl_divergence

from aeframe.errors import AeframeError
from aeframe.parts.latents.hierarchy.base import GroupedPosterior, Hierarchy, drawn
from aeframe.parts.networks.unowned import Unowned
from aeframe.parts.priors.base import Prior
from aeframe.types import Latent, Shape


class TopDown(Prior):
    """p(z) = prod p(group | groups above), the way down that the latent itself has learned.

    The KL is in closed form group by group, given what was drawn above: by dimension, and averaged over importance
    samples. `temperature` multiplies the standard deviations when new codes are drawn, and nothing else: below 1 they
    are nearer to what is common (Vahdat & Kautz 2020, arXiv 2007.03898).
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
        return self._latent.module.given(flat).p.log_prob(flat).sum(1).reshape(z.shape[:-1])

    def sample(self, num: int) -> Tensor:
        return self._latent.module.walk(num, lambda p: drawn(p, self.temperature)).z

    def kl(self, latent: Latent) -> Tensor:
        of = latent.posterior
        if not isinstance(of, GroupedPosterior):
            return super().kl(latent)
        by_dimension = kl_divergence(of.q, of.p)
        return by_dimension if latent.z.ndim == latent.mean.ndim else by_dimension.mean(0)
