"""The hyperspherical latent: directions with a von Mises-Fisher posterior."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import normalize, softplus

from aeframe.errors import AeframeError
from aeframe.parts.distributions.von_mises_fisher import VonMisesFisher
from aeframe.parts.latents.base import LatentSpace, drawn
from aeframe.parts.networks.head import Head
from aeframe.tensors import at_least_float32
from aeframe.types import Latent, Shape


class Hypersphere(LatentSpace):
    """q(z|x) = vMF(mu, kappa) on the unit sphere of `dim` dimensions (Davidson et al. 2018, arXiv 1804.00891).

    z has `dim` numbers, of length one, so `dim` - 1 degrees of freedom: the paper's S^10 is ``dim=11``. As in the
    authors' program kappa is 1 + softplus, so that the posterior never becomes uniform and gives no gradient; here the
    softplus is times `dim`, as what a kappa means depends on that, and held below `max_concentration`, where single
    precision still tells directions apart. The paper draws by rejection and corrects the gradient by a score function;
    here the same distribution is drawn by inversion, whose implicit gradient needs no correction.
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
        self.head = Head(feature_shape, dim + 1, spatial=False)
        self.shape = (dim,)
        self.max_concentration = max_concentration

    def forward(self, features: Tensor, *, sample: bool, num_samples: int | None = None) -> Latent:
        raw = at_least_float32(self.head(features))
        mean = normalize(raw[:, :-1], dim=1)
        posterior = VonMisesFisher(mean, (1 + self.shape[0] * softplus(raw[:, -1])).clamp(max=self.max_concentration))
        return drawn(posterior, mean, sample=sample, num_samples=num_samples)

    def geodesic(self, start: Tensor, end: Tensor, weight: Tensor) -> Tensor:
        """Return points of the great circle through both codes.

        Antipodes lie on many great circles, of which one through the axis farthest from both is taken.
        """
        start, end = normalize(at_least_float32(start), dim=-1), normalize(at_least_float32(end), dim=-1)
        cosine = (start * end).sum(-1, keepdim=True)
        across = end - cosine * start
        sine = across.norm(dim=-1, keepdim=True)
        axis = torch.zeros_like(start).scatter(-1, start.abs().argmin(-1, keepdim=True), 1.0)
        other = axis - (axis * start).sum(-1, keepdim=True) * start
        tangent = normalize(torch.where((sine < 1e-6) & (cosine < 0), other, across), dim=-1)
        angle = weight * torch.atan2(sine, cosine)
        return normalize(angle.cos() * start + angle.sin() * tangent, dim=-1)
