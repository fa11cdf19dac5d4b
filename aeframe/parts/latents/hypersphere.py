"""The hyperspherical latent: directions with a von Mises-Fisher posterior."""

from __future__ import annotations

from torch import Tensor
from torch.nn.functional import normalize, softplus

from aeframe.batch import Latent, Shape, single
from aeframe.errors import AeframeError
from aeframe.parts.distributions.von_mises_fisher import VonMisesFisher
from aeframe.parts.latents.base import Head, LatentSpace, drawn


class Hypersphere(LatentSpace):
    """q(z|x) = vMF(mu, kappa) on the unit sphere of `dim` dimensions (Davidson et al. 2018, arXiv 1804.00891).

    z has `dim` numbers, of length one, so `dim` - 1 degrees of freedom: the paper's S^10 is ``dim=11``. As in the
    authors' program kappa is 1 + softplus, so that the posterior never becomes uniform and gives no gradient; here the
    softplus is times `dim`, as what a kappa means depends on that, and held below `max_concentration`, where single
    precision still tells directions apart. The paper draws by rejection and corrects the gradient by a score function;
    here the same distribution is drawn by inversion, whose implicit gradient needs no correction.
    """

    gives = frozenset({"posterior"})
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
        raw = single(self.head(features))
        mean = normalize(raw[:, :-1], dim=1)
        posterior = VonMisesFisher(mean, (1 + self.shape[0] * softplus(raw[:, -1])).clamp(max=self.max_concentration))
        return drawn(posterior, mean, sample=sample, num_samples=num_samples)
