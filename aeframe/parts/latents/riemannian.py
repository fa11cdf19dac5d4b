"""The Riemannian Hamiltonian latent: Hamiltonian dynamics with a learned metric.

Shapes: B samples, D dimensions of z, N centroids.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from aeframe.devices import gather_rows
from aeframe.errors import AeframeError
from aeframe.parts.activations import MakeActivation
from aeframe.parts.latents.hamiltonian import Hamiltonian
from aeframe.parts.networks.mlp import dense_layers
from aeframe.tensors import autocast_disabled
from aeframe.types import Latent, Shape


@dataclass(frozen=True)
class Curved:
    """The geometry of G^-1(z) = sum_i w_i L_i L_i^T exp(-|z - c_i|^2 / T^2) + regularisation I.

    w_i is 1 for a known centroid, else 0. L_i is lower triangular, T the temperature, I the identity matrix.
    """

    centroids: Tensor
    """``(N, D)``: c_i."""
    squares: Tensor
    """``(N, D, D)``: w_i L_i L_i^T."""
    temperature: float
    regularisation: float

    def kernels_and_factor(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Return exp(-|z - c_i|^2 / T^2) ``(B, N)``, and the Cholesky factor of G^-1 ``(B, D, D)``."""
        kernels = (-self._differences(z).square().sum(-1) / self.temperature**2).exp()
        inverse = (kernels @ self.squares.flatten(1)).unflatten(-1, self.squares.shape[1:])
        inverse = inverse + self.regularisation * torch.eye(z.shape[-1], dtype=z.dtype, device=z.device)
        # cholesky_ex, because the check of cholesky waits for the device.
        return kernels, torch.linalg.cholesky_ex(inverse)[0]

    def momentum(self, z: Tensor, noise: Tensor) -> Tensor:
        """Transform standard normal noise to a momentum ``(B, D)`` distributed as N(0, G(z))."""
        lower = self.kernels_and_factor(z)[1]
        return torch.linalg.solve_triangular(lower.mT, noise.unsqueeze(-1), upper=True).squeeze(-1)

    def kinetic(self, z: Tensor, momentum: Tensor) -> Tensor:
        """Return -log N(momentum; 0, G(z)) ``(B,)`` in nats, up to a constant."""
        lower = self.kernels_and_factor(z)[1]
        whitened = (lower.mT @ momentum.unsqueeze(-1)).squeeze(-1)
        return 0.5 * whitened.square().sum(-1) - lower.diagonal(dim1=-2, dim2=-1).log().sum(-1)

    def velocity(self, z: Tensor, momentum: Tensor) -> Tensor:
        """Return G^-1(z) times the momentum, ``(B, D)``."""
        lower = self.kernels_and_factor(z)[1]
        return (lower @ (lower.mT @ momentum.unsqueeze(-1))).squeeze(-1)

    def position_gradient(self, z: Tensor, momentum: Tensor) -> Tensor:
        """Return minus the gradient of the kinetic energy with respect to z, ``(B, D)``."""
        kernels, lower = self.kernels_and_factor(z)
        outer = momentum.unsqueeze(-1) * momentum.unsqueeze(-2) - torch.cholesky_inverse(lower)
        # Twice the inner product of each w_i L_i L_i^T with the derivative of the kinetic energy with respect to G^-1.
        by_centroid = outer.flatten(-2) @ self.squares.flatten(1).T
        return ((kernels * by_centroid).unsqueeze(-1) * self._differences(z)).sum(-2) / self.temperature**2

    def _differences(self, z: Tensor) -> Tensor:
        return z.unsqueeze(-2) - self.centroids


class RiemannianHamiltonian(Hamiltonian):
    """Hamiltonian dynamics with a learned metric that is adapted to the codes (RHVAE: Chadebec, Mantoux & Allassonniere
    2020, arXiv 2010.11518; Chadebec et al. 2021, arXiv 2105.00026).

    G^-1(z) = sum_i L_i L_i^T exp(-|z - c_i|^2 / T^2) + regularisation I, over centroids c_i; L_i is lower triangular.
    In the papers the centroids are the means of the batch itself, with gradients, and after training those of all the
    data, and a network of x computes L_i. Here the centroids are the detached means of the last `centroids` training
    samples before the batch, and a network of c_i computes L_i. So no sample's bound depends on the rest of its batch,
    and the model has its metric at any time. As in the papers, a few fixed-point iterations approximate the implicit
    equations of the generalised leapfrog; the bound is exact in the limit.

    Args:
        feature_shape: ``(C, *positions)``.
        dim: Number of dimensions of z.
        num_steps: Number of leapfrog steps; each computes one gradient of the decoder.
        step_size: Initial step size, see latent hamiltonian.
        tempering: ``fixed``, ``free`` or ``none``, see latent hamiltonian.
        beta: Initial inverse temperature, see latent hamiltonian.
        centroids: Number of centroids.
        temperature: T; null is sqrt(dim), the typical norm of a standard normal z.
        regularisation: Regularisation of G^-1, above 0; it determines the metric far from all centroids.
        iterations: Fixed-point iterations of each implicit equation.
        hidden: Size of the hidden layer in the network that computes L_i.
        activation: Activation of that network; null takes the run's activation.
        max_log_variance: Bound of the normal's log-variance, as in latent gaussian.
    """

    provides = frozenset({"posterior", "metric"})
    # The name for error messages.
    _who = "latent riemannian"
    means: Tensor
    """``(N, D)``: the centroids, a ring buffer of the means of training samples."""
    known: Tensor
    """``(N,)``: 1 where a mean has been written, else 0."""
    place: Tensor
    """``()``: the index to write next."""

    def __init__(
        self,
        feature_shape: Shape,
        *,
        dim: int = 16,
        num_steps: int = 3,
        step_size: float = 0.01,
        tempering: Literal["fixed", "free", "none"] = "fixed",
        beta: float = 0.3,
        centroids: int = 100,
        temperature: float | None = None,
        regularisation: float = 0.01,
        iterations: int = 3,
        hidden: int = 64,
        activation: MakeActivation | None = None,
        max_log_variance: float = 20.0,
    ) -> None:
        super().__init__(
            feature_shape,
            dim=dim,
            num_steps=num_steps,
            step_size=step_size,
            tempering=tempering,
            beta=beta,
            max_log_variance=max_log_variance,
        )
        self.temperature = dim**0.5 if temperature is None else temperature
        if min(centroids, iterations, hidden) < 1 or min(self.temperature, regularisation) <= 0:
            raise AeframeError(
                f"{self._who} needs centroids, iterations and hidden of at least 1, and temperature and "
                f"regularisation above 0, found {centroids}, {iterations}, {hidden}, {self.temperature} and "
                f"{regularisation}"
            )
        self.regularisation, self.iterations = regularisation, iterations
        # Maps c_i to the entries of L_i.
        self.triangles = nn.Sequential(
            dense_layers([dim, hidden], activation, norm=False, dropout=0.0), nn.Linear(hidden, dim * (dim + 1) // 2)
        )
        self.register_buffer("means", torch.zeros(centroids, dim))
        self.register_buffer("known", torch.zeros(centroids))
        self.register_buffer("place", torch.zeros((), dtype=torch.long))

    def geometry(self) -> Curved:
        # Copies, because the next batch may overwrite the buffers before this one's backward pass.
        means, known = self.means.clone(), self.known.clone()
        dim = means.shape[1]
        rows, columns = torch.tril_indices(dim, dim, device=means.device)
        with autocast_disabled(means.device):
            entries = self.triangles(means)
            lower = entries.new_zeros(*means.shape, dim)
            lower[:, rows, columns] = entries
            # The diagonal is positive, as in the papers.
            lower = lower.tril(-1) + torch.diag_embed(lower.diagonal(dim1=1, dim2=2).exp())
            return Curved(means, known[:, None, None] * (lower @ lower.mT), self.temperature, self.regularisation)

    def refine_posterior(self, latent: Latent, log_joint: Callable[[Tensor], Tensor]) -> Latent:
        with autocast_disabled(latent.z.device):
            return super().refine_posterior(latent, log_joint)

    @torch.no_grad()
    def observe(self, mean: Tensor) -> None:
        """Write the means of a training batch to the ring buffer of centroids."""
        rows = gather_rows(mean)[-len(self.means) :]
        places = (self.place + torch.arange(len(rows), device=rows.device)) % len(self.means)
        self.means[places] = rows
        self.known[places] = 1
        self.place.copy_((self.place + len(rows)) % len(self.means))
