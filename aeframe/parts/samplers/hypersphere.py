"""Samples from a von Mises-Fisher mixture fitted to the training codes."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import normalize

from aeframe.errors import AeframeError
from aeframe.parts.distributions.von_mises_fisher import VonMisesFisher
from aeframe.parts.samplers.base import Sampler, check_fitted
from aeframe.types import Model

_ROUNDS = 100
# Of codes that are all alike; directions closer than that are one in single precision.
_MOST = 1e6


class HypersphereSampler(Sampler):
    """Draw from a mixture of von Mises-Fisher distributions fitted to the training codes by expectation maximisation
    (Banerjee et al. 2005, JMLR 6; the concentrations as in Sra 2012, Computational Statistics 27).

    Args:
        model: One whose codes are directions.
        components: How many there are at most; codes that are fewer, or fewer that differ, get one each.
    """

    spaces = frozenset({"sphere"})
    fitted = True
    weights: Tensor
    directions: Tensor
    concentrations: Tensor

    def __init__(self, model: Model, *, components: int = 10) -> None:
        super().__init__()
        if components < 1:
            raise AeframeError(f"sampler hypersphere needs components of at least 1, found {components}")
        self.register_buffer("weights", torch.zeros(components))
        self.register_buffer("directions", torch.zeros(components, *model.latent.shape))
        self.register_buffer("concentrations", torch.ones(components))

    def fit(self, z: Tensor, codes: Tensor | None) -> None:
        from sklearn.cluster import KMeans

        if len(z) < 2:
            raise AeframeError(f"sampler hypersphere needs at least 2 codes to fit, found {len(z)}")
        rows = normalize(z.double().cpu(), dim=1)
        used = min(len(self.weights), len(rows.unique(dim=0)))
        # The seed comes from torch, so that a run's seed decides it.
        nearest = KMeans(used, n_init=4, random_state=int(torch.randint(2**31, ()))).fit_predict(rows.numpy())
        shares = torch.nn.functional.one_hot(torch.from_numpy(nearest).long(), used).double()
        for _ in range(_ROUNDS):
            counts, sums = shares.sum(0).clamp(min=1e-9), shares.T @ rows
            directions = normalize(sums, dim=1)
            concentrations = _concentration(sums.norm(dim=1) / counts, rows.shape[1])
            peaks = VonMisesFisher(directions, concentrations).log_prob(directions)
            shares = (counts.log() + peaks + concentrations * (rows @ directions.T - 1)).softmax(1)
        for buffer, learned in (
            (self.weights, counts / len(rows)),
            (self.directions, directions),
            (self.concentrations, concentrations),
        ):
            buffer.zero_()
            buffer[:used] = learned.to(buffer)

    def sample(self, model: Model, num: int) -> Tensor:
        check_fitted("hypersphere", self.weights)
        which = torch.multinomial(self.weights, num, replacement=True)
        return VonMisesFisher(self.directions[which], self.concentrations[which]).sample()


def _concentration(length: Tensor, d: int) -> Tensor:
    """Return kappa whose mean cosine is `length`, ``(components,)``."""
    kappa = (length * (d - length.square()) / (1 - length.square())).clamp(1e-6, _MOST)
    for _ in range(3):
        cosine = VonMisesFisher(kappa.new_ones(len(kappa), d), kappa).mean[:, 0]
        kappa = (kappa - (cosine - length) / (1 - cosine.square() - (d - 1) / kappa * cosine)).clamp(1e-6, _MOST)
    return kappa
