"""The flow latent: a normal posterior transformed by a normalising flow."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Size, Tensor
from torch.distributions import Distribution, Independent, Normal, Transform
from torch.types import _size

from aeframe.parts.flows import make_transform, transform_with_log_volume
from aeframe.parts.latents.gaussian import Gaussian
from aeframe.parts.networks.head import Head
from aeframe.tensors import at_least_float32, autocast_disabled
from aeframe.types import Latent, Shape


class FlowPosteriorDistribution(Distribution):
    """The distribution of f(z0), where z0 is normal and f a flow; batch shape ``(B,)``, event shape that of one z.

    The log density of the last sample was computed with the sample. `log_prob` returns it, without inverting f, if it
    is given the same tensor object.
    """

    arg_constraints = {}  # noqa: RUF012 -- as torch declares it
    has_rsample = True

    def __init__(self, base: Normal, transform: Transform) -> None:
        super().__init__(base.batch_shape[:1], base.batch_shape[1:], validate_args=False)
        self.base = Independent(base, len(self.event_shape), validate_args=False)
        self.transform = transform
        self.last_sample: tuple[Tensor, Tensor] | None = None
        """A sample ``(..., B, *z_shape)`` and its log density ``(..., B)``."""

    def transform_with_log_prob(self, start: Tensor) -> tuple[Tensor, Tensor]:
        """Return f(z0) ``(..., B, *z_shape)`` and its log density ``(..., B)``, given z0."""
        z, log_volume = transform_with_log_volume(self.transform, start.flatten(-len(self.event_shape)))
        return z.reshape(start.shape), self.base.log_prob(start) - log_volume

    def rsample(self, sample_shape: _size = Size()) -> Tensor:  # noqa: B008 -- torch's signature
        """Return samples ``(*sample_shape, B, *z_shape)``."""
        self.last_sample = self.transform_with_log_prob(self.base.rsample(sample_shape))
        return self.last_sample[0]

    def log_prob(self, z: Tensor) -> Tensor:
        """Return ``(..., B)`` in nats, of any z ``(..., B, *z_shape)``."""
        if self.last_sample is not None and z is self.last_sample[0]:
            return self.last_sample[1]
        flat, log_volume = transform_with_log_volume(self.transform.inv, z.flatten(-len(self.event_shape)))
        log_base: Tensor = self.base.log_prob(flat.unflatten(-1, self.event_shape))
        return log_base + log_volume


class FlowPosterior(Gaussian):
    """q(z|x): a sample of N(mean, diag(std^2)) transformed by a flow (Rezende & Mohamed 2015, arXiv 1505.05770).

    `Latent.mean` is the transformed mean of the normal. The KL divergence is estimated from the sampled z.

    Args:
        feature_shape: ``(C, *positions)``.
        dim: Number of dimensions of z; with `spatial` at each position.
        spatial: Keep the positions of the features.
        transform: ``planar`` or ``radial`` (Rezende & Mohamed); ``iaf`` (Kingma et al. 2016, arXiv 1606.04934),
            ``spline`` (Durkan et al. 2019, arXiv 1906.04032) and ``maf`` (Papamakarios et al. 2017, arXiv 1705.07057)
            are autoregressive. ``maf`` takes one pass per dimension of z to sample; ``iaf`` and ``spline`` sample in
            one pass, but take one per dimension for the density of a z that they did not sample.
        num_transforms: Number of transforms in sequence.
        hidden: Sizes of the dense layers in an autoregressive transform.
        context: Size of a linear projection of the features that conditions the flow of each sample, as in the papers;
            0 makes the flow the same for every x.
        max_log_variance: Bound of the normal's log-variance, as in latent gaussian.
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

    def forward(self, features: Tensor, *, sample: bool) -> Latent:
        base = super().forward(features, sample=sample)
        assert isinstance(base.posterior, Normal)
        with autocast_disabled(features.device):
            context = None if self.context is None else self.context(at_least_float32(features))
            q = FlowPosteriorDistribution(base.posterior, self.flow(context))
        # Transform the mean and the sample in one pass. Row 0 is the mean, and the last row z: the sample, or the mean.
        z, log_prob = q.transform_with_log_prob(torch.stack([base.mean, base.z] if sample else [base.mean]))
        q.last_sample = z[-1], log_prob[-1]
        return Latent(q.last_sample[0], z[0], posterior=q)
