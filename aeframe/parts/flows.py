"""Normalising flows, learned invertible maps with a tractable Jacobian, for latents, priors and samplers.

Shapes: D dimensions of a flattened z, C dimensions of a context (the features that a conditional flow depends on).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor, nn
from torch.distributions import Transform, constraints
from torch.nn import functional as F
from zuko.flows import MAF, NSF
from zuko.lazy import LazyComposedTransform, LazyTransform

from aeframe.errors import AeframeError
from aeframe.tensors import at_least_float32, autocast_disabled


class Explicit(Transform):
    """The base class of the transforms below, which compute their value and log |det Jacobian| together."""

    domain = codomain = constraints.real_vector
    bijective = True

    def call_and_ladj(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return f(x) ``(..., D)`` and log |det df/dx| ``(...)``."""
        raise NotImplementedError

    def _call(self, x: Tensor) -> Tensor:
        return self.call_and_ladj(x)[0]

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
        """Return log |det df/dx| ``(...)``."""
        return self.call_and_ladj(x)[1]


class Planar(Explicit):
    """The planar map z + u tanh(w z + b) (Rezende & Mohamed 2015, arXiv 1505.05770).

    u is modified as in their appendix A.1 so that w u >= -1 and the map is invertible. `parameters` concatenates w, the
    unmodified u, and b: ``(..., 2D + 1)``.
    """

    # Bisection steps of the inverse. They divide an interval of length 2 |w u| by 2^30, more than float32 resolves.
    _BISECTIONS = 30

    @staticmethod
    def size(features: int) -> int:
        """Return the number of parameters."""
        return 2 * features + 1

    def __init__(self, parameters: Tensor) -> None:
        super().__init__()
        features = (parameters.shape[-1] - 1) // 2
        w, u, self.b = parameters.split([features, features, 1], -1)
        product = (w * u).sum(-1, keepdim=True)
        # 1 + w u of the modified u, above zero: the slope along w where tanh has slope 1.
        self.slope = F.softplus(product)
        self.w, self.u = w, u + (self.slope - 1 - product) * w / w.square().sum(-1, keepdim=True)

    def call_and_ladj(self, x: Tensor) -> tuple[Tensor, Tensor]:
        tanh = torch.tanh((self.w * x).sum(-1, keepdim=True) + self.b)
        # 1 + w u (1 - tanh^2), without the sum of 1 and w u, which may round to zero.
        volume = tanh.square() + self.slope * (1 - tanh.square())
        return x + self.u * tanh, volume.log().squeeze(-1)

    def _inverse(self, y: Tensor) -> Tensor:
        target = (self.w * y).sum(-1, keepdim=True) + self.b
        product = self.slope - 1
        with torch.no_grad():
            # a + (w u) tanh(a) increases in a, and differs from a by at most |w u|.
            low, high = target - product.abs(), target + product.abs()
            for _ in range(self._BISECTIONS):
                middle = (low + high) / 2
                above = middle + product * middle.tanh() > target
                low, high = torch.where(above, low, middle), torch.where(above, middle, high)
        # One Newton step outside no_grad, which gives the root its gradient.
        tanh = high.tanh()
        derivative = (1 + product * (1 - tanh.square())).detach()
        return y - self.u * (high - (high + product * tanh - target) / derivative).tanh()


class Radial(Explicit):
    """The radial map z + beta (z - c) / (alpha + |z - c|) (Rezende & Mohamed 2015, arXiv 1505.05770).

    alpha > 0 and beta > -alpha, as in their appendix A.2. `parameters` concatenates c, and alpha and alpha + beta
    before a softplus: ``(..., D + 2)``.
    """

    @staticmethod
    def size(features: int) -> int:
        """Return the number of parameters."""
        return features + 2

    def __init__(self, parameters: Tensor) -> None:
        super().__init__()
        self.centre, alpha, total = parameters.split([parameters.shape[-1] - 2, 1, 1], -1)
        # `total` is alpha + beta.
        self.alpha, self.total = F.softplus(alpha), F.softplus(total)

    def call_and_ladj(self, x: Tensor) -> tuple[Tensor, Tensor]:
        offset = x - self.centre
        r = torch.linalg.vector_norm(offset, dim=-1, keepdim=True)
        # The derivatives across the radius (in D - 1 directions) and along it.
        scale = (r + self.total) / (r + self.alpha)
        radial = (r.square() + 2 * self.alpha * r + self.alpha * self.total) / (r + self.alpha).square()
        return self.centre + scale * offset, ((x.shape[-1] - 1) * scale.log() + radial.log()).squeeze(-1)

    def _inverse(self, y: Tensor) -> Tensor:
        offset = y - self.centre
        length = torch.linalg.vector_norm(offset, dim=-1, keepdim=True)
        # The positive root of r^2 + (total - length) r - alpha length = 0.
        half = (length - self.total) / 2
        r = half + (half.square() + self.alpha * length).sqrt()
        return self.centre + offset * (r + self.alpha) / (r + self.total)


class Amortised(nn.Module):
    """A transform whose parameters are a learned constant, plus a linear function of the context if there is one.

    Args:
        make: Makes the transform, given its parameters ``(..., size)``.
        size: Number of parameters.
        scale: Standard deviation of the constant's initial value.
        context: C; 0 for a transform without a context.
    """

    def __init__(self, make: Callable[[Tensor], Transform], size: int, scale: float, context: int) -> None:
        super().__init__()
        self.make = make
        self.constant = nn.Parameter(scale * torch.randn(size))
        self.linear = nn.Linear(context, size, bias=False) if context else None

    def forward(self, c: Tensor | None = None) -> Transform:
        return self.make(self.constant if self.linear is None or c is None else self.constant + self.linear(c))


def transform_with_log_volume(transform: Transform, x: Tensor) -> tuple[Tensor, Tensor]:
    """Return f(x) ``(..., D)`` and log |det df/dx| ``(...)``, in float32 at least."""
    with autocast_disabled(x.device):
        y, log_volume = transform.call_and_ladj(at_least_float32(x))  # type: ignore[attr-defined]  # zuko adds it to torch's class
    return y, log_volume


def make_transform(
    name: Literal["planar", "radial", "iaf", "maf", "spline"],
    features: int,
    *,
    num_transforms: int,
    hidden: tuple[int, ...],
    context: int = 0,
) -> LazyTransform:
    """Return a module that, called with a context ``(..., C)`` or None, returns a `Transform` of vectors ``(..., D)``.

    ``iaf`` (Kingma et al. 2016, arXiv 1606.04934) and ``spline`` (Durkan et al. 2019, arXiv 1906.04032) take one pass
    forward and D passes to invert; ``maf`` (Papamakarios et al. 2017, arXiv 1705.07057) takes D passes forward and one
    to invert. ``planar`` and ``radial`` take one pass either way, and ignore `hidden`, the sizes of the dense layers of
    an autoregressive transform. The result composes `num_transforms` transforms.
    """
    if num_transforms < 1 or any(size < 1 for size in hidden) or context < 0:
        raise AeframeError(
            "a flow needs num_transforms and hidden sizes of at least 1 and a context of at least 0, "
            f"found {num_transforms}, {list(hidden)} and {context}"
        )
    if name in ("planar", "radial"):
        kind = Planar if name == "planar" else Radial
        return LazyComposedTransform(
            *(
                Amortised(kind, size=kind.size(features), scale=features**-0.5, context=context)
                for _ in range(num_transforms)
            )
        )
    flow = NSF if name == "spline" else MAF
    transform: LazyTransform = flow(features, context, transforms=num_transforms, hidden_features=hidden).transform
    return transform.inv if name == "maf" else transform


class FlowDensity(nn.Module):
    """A learned density of vectors ``(..., D)``: a standard normal transformed by a flow; see `make_transform`.

    The density inverts the transform from noise to z. For ``spline`` this transform is itself the inverse of a spline,
    so that the density takes one pass, and a sample D.
    """

    def __init__(
        self, name: Literal["iaf", "maf", "spline"], features: int, *, num_transforms: int, hidden: tuple[int, ...]
    ) -> None:
        super().__init__()
        self.features = features
        self.transform = make_transform(name, features, num_transforms=num_transforms, hidden=hidden)
        if name == "spline":
            self.transform = self.transform.inv

    def log_prob(self, z: Tensor) -> Tensor:
        """Return ``(...)`` in nats."""
        noise, log_volume = transform_with_log_volume(self.transform().inv, z)
        return log_volume - 0.5 * (noise.square() + math.log(2 * math.pi)).sum(-1)

    def sample(self, num: int) -> Tensor:
        """Return samples ``(num, D)``."""
        like = next(self.parameters())
        samples: Tensor = self.transform()(torch.randn(num, self.features, dtype=like.dtype, device=like.device))
        return samples
