"""A sampler that draws from a Gaussian mixture, fitted to the training codes."""

from __future__ import annotations

import math
import warnings
from typing import Literal

import torch
from torch import Tensor

from aeframe.errors import AeframeError
from aeframe.parts.samplers.base import Sampler, check_fitted
from aeframe.types import Model

# The largest z for full covariances: ten of this size have 168 MB, and fitting one takes minutes.
_MAX_DIM_FULL = 2048


class GaussianMixtureSampler(Sampler):
    """Draws from a Gaussian mixture that is fitted to the training codes (Ghosh et al. 2020, arXiv 1903.12436).

    Args:
        model: A trained model; its z is flattened.
        components: Maximum number of Gaussians. If there are fewer different codes, each code has one.
        covariance: ``full``: D^2 numbers in each component for a z of D numbers; ``diag``: D numbers.
    """

    requires_fit = True
    weights: Tensor
    """``(components,)``: 0 for unused components."""
    means: Tensor
    """``(components, D)``, for codes that are flattened to D numbers."""
    scales: Tensor
    """``(components, D, D)`` lower triangles L with covariance L L^T, or ``(components, D)`` standard deviations."""

    def __init__(self, model: Model, *, components: int = 10, covariance: Literal["full", "diag"] = "full") -> None:
        super().__init__()
        dim = math.prod(model.latent.shape)
        if components < 1:
            raise AeframeError(f"sampler gmm needs components of at least 1, found {components}")
        if covariance == "full" and dim > _MAX_DIM_FULL:
            raise AeframeError(
                f"sampler gmm with full covariances needs z of at most {_MAX_DIM_FULL} numbers, found {dim}; "
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
        num_components = min(self.components, len(rows.unique(dim=0)))
        # The seed is drawn from torch's generator, so that the fit depends on the seed of the run.
        seed = int(torch.randint(2**31, ()))
        mixture = GaussianMixture(num_components, covariance_type=self.covariance, max_iter=300, random_state=seed)
        with warnings.catch_warnings():
            # A fit that has not fully converged is a density too.
            warnings.simplefilter("ignore", ConvergenceWarning)
            mixture.fit(rows.numpy())
        covariances = torch.from_numpy(mixture.covariances_)
        scales = torch.linalg.cholesky(covariances) if self.covariance == "full" else covariances.sqrt()
        for buffer, values in (
            (self.weights, torch.from_numpy(mixture.weights_)),
            (self.means, torch.from_numpy(mixture.means_)),
            (self.scales, scales),
        ):
            buffer.zero_()
            buffer[:num_components] = values.to(buffer)

    def sample(self, model: Model, num: int) -> Tensor:
        check_fitted("gmm", self.weights)
        component = torch.multinomial(self.weights, num, replacement=True)
        z = torch.randn(num, self.means.shape[1], device=component.device)
        if self.covariance == "diag":
            z = z * self.scales[component]
        else:
            # One component at a time, since a matrix for each sample would need too much memory.
            for number in component.unique():
                z[component == number] = z[component == number] @ self.scales[number].T
        return (self.means[component] + z).reshape(num, *model.latent.shape)
