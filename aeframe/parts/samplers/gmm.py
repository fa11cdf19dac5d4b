"""Samples from a Gaussian mixture fitted to the training codes."""

from __future__ import annotations

import math
import warnings
from typing import Literal

import torch
from torch import Tensor

from aeframe.errors import AeframeError
from aeframe.parts.samplers.base import Sampler, check_fitted
from aeframe.types import Model

# Ten such covariances are 168 MB, and fitting one takes minutes.
_MOST_FOR_FULL = 2048


class GaussianMixtureSampler(Sampler):
    """Draw from a Gaussian mixture fitted to the training codes (Ghosh et al. 2020, arXiv 1903.12436).

    Args:
        model: Says the shape of z, which is flattened.
        components: How many Gaussians at most; codes that are fewer, or fewer that differ, get one each.
        covariance: ``full`` has D^2 numbers in each component for a z of D numbers, ``diag`` has D.
    """

    fitted = True
    weights: Tensor
    means: Tensor
    scales: Tensor
    """``(components, D, D)`` lower triangles L with covariance L L^T, or ``(components, D)`` standard deviations."""

    def __init__(self, model: Model, *, components: int = 10, covariance: Literal["full", "diag"] = "full") -> None:
        super().__init__()
        dim = math.prod(model.latent.shape)
        if components < 1:
            raise AeframeError(f"sampler gmm needs components of at least 1, found {components}")
        if covariance == "full" and dim > _MOST_FOR_FULL:
            raise AeframeError(
                f"sampler gmm fits full covariances of at most {_MOST_FOR_FULL} numbers, z has {dim}; "
                "set sampler.covariance=diag"
            )
        self.components, self.covariance = components, covariance
        self.register_buffer("weights", torch.zeros(components))
        self.register_buffer("means", torch.zeros(components, dim))
        self.register_buffer("scales", torch.zeros(components, dim, *[dim] * (covariance == "full")))

    def fit(self, z: Tensor, codes: Tensor | None) -> None:
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.mixture import GaussianMixture

        rows = z.flatten(1).double().cpu()
        if len(rows) < 2:
            raise AeframeError(f"sampler gmm needs at least 2 codes to fit, found {len(rows)}")
        used = min(self.components, len(rows.unique(dim=0)))
        # The seed comes from torch, so that a run's seed decides it.
        seed = int(torch.randint(2**31, ()))
        mixture = GaussianMixture(used, covariance_type=self.covariance, max_iter=300, random_state=seed)
        with warnings.catch_warnings():
            # A fit that would go on improving a little is a density all the same.
            warnings.simplefilter("ignore", ConvergenceWarning)
            mixture.fit(rows.numpy())
        covariances = torch.from_numpy(mixture.covariances_)
        scales = torch.linalg.cholesky(covariances) if self.covariance == "full" else covariances.sqrt()
        for buffer, learned in (
            (self.weights, torch.from_numpy(mixture.weights_)),
            (self.means, torch.from_numpy(mixture.means_)),
            (self.scales, scales),
        ):
            buffer.zero_()
            buffer[:used] = learned.to(buffer)

    def sample(self, model: Model, num: int) -> Tensor:
        check_fitted("gmm", self.weights)
        which = torch.multinomial(self.weights, num, replacement=True)
        z = torch.randn(num, self.means.shape[1], device=which.device)
        if self.covariance == "diag":
            z = z * self.scales[which]
        else:
            # One component at a time: a matrix for each draw would not fit.
            for component in which.unique():
                z[which == component] = z[which == component] @ self.scales[component].T
        return (self.means[which] + z).reshape(num, *model.latent.shape)
