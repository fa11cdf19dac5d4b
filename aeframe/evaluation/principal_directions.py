"""`principal_directions`: the directions of the largest variance of rows, such as samples or codes."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from aeframe.noise import FITTING, noise_of

_MAX_EXACT = 2048
"""Up to this number of columns the directions are eigenvectors of the covariance; above, of a random projection."""
_NUM_ITERATIONS = 4


@dataclass(frozen=True, slots=True)
class PrincipalDirections:
    """Orthogonal directions of D columns, the one with the largest variance first."""

    mean: Tensor
    """``(D,)``"""
    vectors: Tensor
    """``(K, D)``, of length 1; the entry with the largest absolute value is positive."""
    scales: Tensor
    """``(K,)``: the standard deviation along each."""
    fractions: Tensor
    """``(K,)``: the fraction of the variance of all columns; 0 for constant ones."""

    def project(self, x: Tensor) -> Tensor:
        """Return the components ``(N, K)`` of rows ``(N, D)``."""
        return (x - self.mean) @ self.vectors.T


def principal_directions(x: Tensor, num: int | None = None, *, seed: int = 0) -> PrincipalDirections:
    """Return at most `num` principal directions of rows ``(N, D)``, on their device and in their precision.

    Args:
        x: The rows, at least one.
        num: The number of directions; None for all. There are no more than N or D.
        seed: Seed of the random projection that more than 2,048 columns are reduced by (Halko, Martinsson & Tropp 2011,
            SIAM Review 53).
    """
    num = min(x.shape[1] if num is None else num, *x.shape)
    mean = x.double().mean(0).to(x.dtype)
    centred = x - mean
    freedom = max(1, len(x) - 1)
    if x.shape[1] <= _MAX_EXACT:
        eigenvalues, eigenvectors = torch.linalg.eigh((centred.T @ centred).double() / freedom)
        variances, vectors = eigenvalues.flip(0)[:num].clamp(min=0), eigenvectors.flip(1)[:, :num].T
    else:
        with noise_of(torch.device("cpu"), seed, FITTING):
            _, singular, right = torch.svd_lowrank(centred, q=min(num + 10, *x.shape), niter=_NUM_ITERATIONS)
        variances, vectors = singular[:num].double().square() / freedom, right[:, :num].T
    # The sign of a direction is arbitrary; with this one, results are reproducible.
    vectors = vectors * vectors.gather(1, vectors.abs().argmax(1, keepdim=True)).sign()
    total = centred.double().square().sum() / freedom
    fractions = torch.where(total > 0, variances / total, 0.0)
    return PrincipalDirections(mean, vectors.to(x.dtype), variances.sqrt().to(x.dtype), fractions)
