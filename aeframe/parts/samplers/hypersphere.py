"""A sampler that draws from a von Mises-Fisher mixture, fitted to codes on the hypersphere."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import normalize

from aeframe.errors import AeframeError
from aeframe.parts.distributions.von_mises_fisher import VonMisesFisher
from aeframe.parts.samplers.base import Sampler, check_fitted
from aeframe.types import Model

_EM_STEPS = 100
# The concentration of equal codes: larger ones cannot be distinguished in float32.
_MAX_CONCENTRATION = 1e6


class HypersphereSampler(Sampler):
    """Draws from a mixture of von Mises-Fisher distributions, fitted to the training codes by expectation maximisation
    (Banerjee et al. 2005, JMLR 6; concentrations as in Sra 2012, Computational Statistics 27).

    Args:
        model: A trained model whose z are unit vectors.
        components: Maximum number of components. If there are fewer different codes, each code has one.
    """

    spaces = frozenset({"sphere"})
    requires_fit = True
    weights: Tensor
    """``(components,)``: 0 for unused components."""
    directions: Tensor
    """``(components, D)``: unit vectors, the mode of each component."""
    concentrations: Tensor
    """``(components,)``."""

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
        num_components = min(len(self.weights), len(rows.unique(dim=0)))
        # The seed is drawn from torch's generator, so that the fit depends on the seed of the run.
        clusters = KMeans(num_components, n_init=4, random_state=int(torch.randint(2**31, ()))).fit_predict(
            rows.numpy()
        )
        responsibilities = torch.nn.functional.one_hot(torch.from_numpy(clusters).long(), num_components).double()
        for _ in range(_EM_STEPS):
            counts, sums = responsibilities.sum(0).clamp(min=1e-9), responsibilities.T @ rows
            directions = normalize(sums, dim=1)
            concentrations = _concentration(sums.norm(dim=1) / counts, rows.shape[1])
            # The log-density of a component at z is that at its mode, plus concentration * (cosine - 1).
            log_peaks = VonMisesFisher(directions, concentrations).log_prob(directions)
            responsibilities = (counts.log() + log_peaks + concentrations * (rows @ directions.T - 1)).softmax(1)
        for buffer, values in (
            (self.weights, counts / len(rows)),
            (self.directions, directions),
            (self.concentrations, concentrations),
        ):
            buffer.zero_()
            buffer[:num_components] = values.to(buffer)

    def sample(self, model: Model, num: int) -> Tensor:
        check_fitted("hypersphere", self.weights)
        component = torch.multinomial(self.weights, num, replacement=True)
        return VonMisesFisher(self.directions[component], self.concentrations[component]).sample()


def _concentration(mean_cosine: Tensor, d: int) -> Tensor:
    """Return the concentrations of distributions in d dimensions with these mean cosines, both ``(components,)``.

    A cosine is that of the angle between a sample and the mode. The first value is an approximation, which three steps
    of Newton's method improve.
    """
    kappa = (mean_cosine * (d - mean_cosine.square()) / (1 - mean_cosine.square())).clamp(1e-6, _MAX_CONCENTRATION)
    for _ in range(3):
        cosine = VonMisesFisher(kappa.new_ones(len(kappa), d), kappa).mean[:, 0]
        kappa = (kappa - (cosine - mean_cosine) / (1 - cosine.square() - (d - 1) / kappa * cosine)).clamp(
            1e-6, _MAX_CONCENTRATION
        )
    return kappa
