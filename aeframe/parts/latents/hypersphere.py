"""The hyperspherical latent: unit vectors with a von Mises-Fisher posterior."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import normalize, softplus

from aeframe.errors import AeframeError
from aeframe.parts.distributions.von_mises_fisher import VonMisesFisher
from aeframe.parts.latents.base import LatentSpace, latent_of
from aeframe.parts.networks.head import Head
from aeframe.tensors import at_least_float32
from aeframe.types import Latent, Shape


class Hypersphere(LatentSpace):
    """q(z|x) = vMF(mu, kappa) on the unit sphere of `dim` dimensions (Davidson et al. 2018, arXiv 1804.00891).

    z is a unit vector of `dim` numbers, with `dim` - 1 degrees of freedom: the paper's S^10 is ``dim=11``. As in the
    authors' code kappa is 1 + softplus, because a uniform posterior (kappa = 0) would have no gradient. Here the
    softplus is multiplied by `dim`, since the effect of kappa depends on the dimension, and kappa is clamped to
    `max_concentration`, up to which single precision distinguishes directions. The paper samples by rejection and
    corrects the gradient by a score function; here sampling is by inversion, whose implicit gradient is exact.
    """

    provides = frozenset({"posterior"})
    space = "sphere"

    def __init__(self, feature_shape: Shape, *, dim: int = 16, max_concentration: float = 1e6) -> None:
        super().__init__()
        if dim < 2 or max_concentration <= 1:
            raise AeframeError(
                f"latent hypersphere needs dim of at least 2 and max_concentration above 1, found {dim} and "
                f"{max_concentration}"
            )
        self.head = Head(feature_shape, dim + 1, spatial=False, groups=(dim, 1))
        self.shape = (dim,)
        self.max_concentration = max_concentration

    def forward(self, features: Tensor, *, sample: bool) -> Latent:
        raw = at_least_float32(self.head(features))
        mean = normalize(raw[:, :-1], dim=1)
        posterior = VonMisesFisher(mean, (1 + self.shape[0] * softplus(raw[:, -1])).clamp(max=self.max_concentration))
        return latent_of(posterior, mean, sample=sample)

    def distances(self, a: Tensor, b: Tensor) -> Tensor:
        """Return angles in radians."""
        # From the chord, which is exact for small angles.
        return 2 * (super().distances(normalize(a, dim=1), normalize(b, dim=1)) / 2).clamp(max=1).asin()

    def geodesic(self, start: Tensor, end: Tensor, weight: Tensor) -> Tensor:
        """Return points of the great circle through both codes.

        For antipodes, which many great circles connect, use the one through the coordinate axis farthest from both.
        """
        start, end = normalize(at_least_float32(start), dim=-1), normalize(at_least_float32(end), dim=-1)
        cosine = (start * end).sum(-1, keepdim=True)
        orthogonal = end - cosine * start
        sine = orthogonal.norm(dim=-1, keepdim=True)
        axis = torch.zeros_like(start).scatter(-1, start.abs().argmin(-1, keepdim=True), 1.0)
        # The direction from `start` towards that axis.
        to_axis = axis - (axis * start).sum(-1, keepdim=True) * start
        tangent = normalize(torch.where((sine < 1e-6) & (cosine < 0), to_axis, orthogonal), dim=-1)
        angle = weight * torch.atan2(sine, cosine)
        return normalize(angle.cos() * start + angle.sin() * tangent, dim=-1)
