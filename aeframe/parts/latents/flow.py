"""The flow latent: a normal posterior bent by a normalising flow."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Size, Tensor
from torch.distributions import Distribution, Independent, Normal, Transform
from torch.types import _size

from aeframe.parts.flows import make_transform, through
from aeframe.parts.latents.gaussian import Gaussian
from aeframe.parts.networks.head import Head
from aeframe.tensors import at_least_float32, autocast_disabled
from aeframe.types import Latent, Shape


class FlowPosteriorDistribution(Distribution):
    """The distribution of f(z0), z0 normal: batch shape ``(B,)``, event shape that of one z.

    `log_prob` of the very tensor that was drawn is that of the way there, which needs no inverse.
    """

    arg_constraints = {}  # noqa: RUF012 -- torch's own way
    has_rsample = True

    def __init__(self, base: Normal, transform: Transform) -> None:
        super().__init__(base.batch_shape[:1], base.batch_shape[1:], validate_args=False)
        self.base = Independent(base, len(self.event_shape), validate_args=False)
        self.transform = transform
        self.drawn: tuple[Tensor, Tensor] | None = None
        """A draw ``(..., B, *z_shape)`` and its log density ``(..., B)``."""

    def transform_with_log_prob(self, start: Tensor) -> tuple[Tensor, Tensor]:
        """Return f(z0) and its log density, of z0 ``(..., B, *z_shape)``."""
        z, log_volume = through(self.transform, start.flatten(-len(self.event_shape)))
        return z.reshape(start.shape), self.base.log_prob(start) - log_volume

    def rsample(self, sample_shape: _size = Size()) -> Tensor:  # noqa: B008 -- torch's own signature
        """Draw ``(*sample_shape, B, *z_shape)``."""
        self.drawn = self.transform_with_log_prob(self.base.rsample(sample_shape))
        return self.drawn[0]

    def log_prob(self, z: Tensor) -> Tensor:
        """Return ``(..., B)`` in nats, of any z ``(..., B, *z_shape)``."""
        if self.drawn is not None and z is self.drawn[0]:
            return self.drawn[1]
        flat, log_volume = through(self.transform.inv, z.flatten(-len(self.event_shape)))
        log_base: Tensor = self.base.log_prob(flat.unflatten(-1, self.event_shape))
        return log_base + log_volume


class FlowPosterior(Gaussian):
    """q(z|x): a draw of N(mean, diag(std^2)) sent through a flow (Rezende & Mohamed 2015, arXiv 1505.05770).

    The mean of z is where the flow sends the mean of the normal. The KL divergence is estimated from the drawn z.

    Args:
        feature_shape: ``(C, *positions)``.
        dim: Numbers of z; with `spatial` at each position.
        spatial: Keep the positions of the features.
        transform: ``planar`` or ``radial`` (Rezende & Mohamed); ``iaf`` (Kingma et al. 2016, arXiv 1606.04934),
            ``spline`` (Durkan et al. 2019, arXiv 1906.04032) and ``maf`` (Papamakarios et al. 2017, arXiv 1705.07057)
            are autoregressive. The last takes a pass for each number of z to draw, and the two before it to know the
            density of a z that was not drawn.
        num_transforms: How many follow each other.
        hidden: Sizes of the dense layers in an autoregressive transform.
        context: So many numbers of the features shape the flow of each sample, as both papers have it; 0 makes the
            flow the same for every x.
        max_log_variance: Of the normal, as in latent gaussian.
    """

    provides = frozenset({"posterior"})

    def __init__(
        self,
        feature_shape: Shape,
        *,
        dim: int = 16,
        spatial: bool = False,
        transform: Literal["planar", "radial", "iaf", "maf", "spline"] = "planar",
        num_transforms: int = 8,
        hidden: tuple[int, ...] = (64,),
        context: int = 32,
        max_log_variance: float = 20.0,
    ) -> None:
        super().__init__(feature_shape, dim=dim, spatial=spatial, max_log_variance=max_log_variance)
        self.flow = make_transform(
            transform, Size(self.shape).numel(), num_transforms=num_transforms, hidden=hidden, context=context
        )
        self.context = Head(feature_shape, context, spatial=False) if context else None

    def forward(self, features: Tensor, *, sample: bool, num_samples: int | None = None) -> Latent:
        start = super().forward(features, sample=sample, num_samples=num_samples)
        assert isinstance(start.posterior, Normal)
        with autocast_disabled(features.device):
            context = None if self.context is None else self.context(at_least_float32(features))
            q = FlowPosteriorDistribution(start.posterior, self.flow(context))
        # The mean goes along with the draws: one pass for all.
        draws = [start.z.reshape(-1, *start.mean.shape)] if sample else []
        z, log_prob = q.transform_with_log_prob(torch.cat([start.mean.unsqueeze(0), *draws]))
        first = 1 if sample else 0
        if num_samples is None:
            q.drawn = z[first], log_prob[first]
        else:
            q.drawn = z[first:].expand(num_samples, *z.shape[1:]), log_prob[first:].expand(num_samples, -1)
        return Latent(q.drawn[0], z[0], posterior=q)
