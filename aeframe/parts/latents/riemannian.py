"""The Riemannian Hamiltonian latent: dynamics by a learned metric.

Shapes: D numbers of z, N centroids, ``...`` samples (``(B,)`` or ``(K, B)``).
"""

from __future__ import annotations

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
from aeframe.types import Batch, Latent, Model, Shape


@dataclass(frozen=True)
class Curved:
    """The geometry of G^-1(z) = sum_i w_i L_i L_i^T exp(-|z - c_i|^2 / T^2) + regularisation I."""

    centroids: Tensor
    """``(N, D)``."""
    squares: Tensor
    """``(N, D, D)``: w_i L_i L_i^T."""
    temperature: float
    regularisation: float

    def parts(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Return the bumps at z ``(..., N)`` and the lower triangle of G^-1 ``(..., D, D)``."""
        bumps = (-self._away(z).square().sum(-1) / self.temperature**2).exp()
        inverse = (bumps @ self.squares.flatten(1)).unflatten(-1, self.squares.shape[1:])
        inverse = inverse + self.regularisation * torch.eye(z.shape[-1], dtype=z.dtype, device=z.device)
        # Without the check, which would wait for the device.
        return bumps, torch.linalg.cholesky_ex(inverse)[0]

    def momentum(self, z: Tensor, noise: Tensor) -> Tensor:
        """Return ``(..., D)``, distributed as N(0, G(z)), of standard normal noise."""
        return torch.linalg.solve_triangular(self.parts(z)[1].mT, noise.unsqueeze(-1), upper=True).squeeze(-1)

    def kinetic(self, z: Tensor, momentum: Tensor) -> Tensor:
        """Return ``(...)``: -log N(momentum; 0, G(z)) in nats, up to a constant."""
        lower = self.parts(z)[1]
        whitened = (lower.mT @ momentum.unsqueeze(-1)).squeeze(-1)
        return 0.5 * whitened.square().sum(-1) - lower.diagonal(dim1=-2, dim2=-1).log().sum(-1)

    def velocity(self, z: Tensor, momentum: Tensor) -> Tensor:
        """Return ``(..., D)``: G^-1(z) times the momentum."""
        lower = self.parts(z)[1]
        return (lower @ (lower.mT @ momentum.unsqueeze(-1))).squeeze(-1)

    def pull(self, z: Tensor, momentum: Tensor) -> Tensor:
        """Return ``(..., D)``: minus the kinetic energy's gradient by z."""
        bumps, lower = self.parts(z)
        outer = momentum.unsqueeze(-1) * momentum.unsqueeze(-2) - torch.cholesky_inverse(lower)
        by_centroid = outer.flatten(-2) @ self.squares.flatten(1).T
        return ((bumps * by_centroid).unsqueeze(-1) * self._away(z)).sum(-2) / self.temperature**2

    def _away(self, z: Tensor) -> Tensor:
        return z.unsqueeze(-2) - self.centroids


class RiemannianHamiltonian(Hamiltonian):
    """Hamiltonian dynamics that follow where the codes lie, by a learned metric (RHVAE: Chadebec, Mantoux &
    Allassonniere 2020, arXiv 2010.11518; Chadebec et al. 2021, arXiv 2105.00026).

    G^-1(z) = sum_i L_i L_i^T exp(-|z - c_i|^2 / T^2) + regularisation I, over centroids c_i. In the papers the
    centroids are the batch's own means, with gradients, and after training those of all the data, and L is a network
    of x. Here they are the means of the last `centroids` training samples before this batch, cut from the graph, so
    that no sample's bound depends on its neighbours and the model has its metric at every moment; and L is a network
    of c_i. The generalised leapfrog's implicit equations are iterated a few times, as there, and the bound is exact
    in the limit.

    Args:
        feature_shape: ``(C, *positions)``.
        dim: Numbers of z.
        num_steps: Leapfrog steps; each one takes a gradient of the decoder.
        step_size: See latent hamiltonian.
        tempering: See latent hamiltonian.
        beta: See latent hamiltonian.
        centroids: How many.
        temperature: T; null is sqrt(dim), how far a standard normal code lies from the middle.
        regularisation: Of G^-1, above 0: the metric far from all centroids.
        iterations: Of the implicit equations.
        hidden: Size of the dense layer in the network of L.
        activation: In that network; null takes the run's.
        max_log_variance: Of the normal, as in latent gaussian.
    """

    provides = frozenset({"posterior", "metric"})
    _who = "latent riemannian"
    means: Tensor
    """``(centroids, D)``."""
    known: Tensor
    """``(centroids,)``: 1 where a mean has been put, 0 elsewhere."""
    place: Tensor
    """Where the next one goes."""

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
        self.triangles = nn.Sequential(
            dense_layers([dim, hidden], activation, norm=False, dropout=0.0), nn.Linear(hidden, dim * (dim + 1) // 2)
        )
        self.register_buffer("means", torch.zeros(centroids, dim))
        self.register_buffer("known", torch.zeros(centroids))
        self.register_buffer("place", torch.zeros((), dtype=torch.long))

    def geometry(self) -> Curved:
        # Copies: the next batch will write where this one's gradients still have to look.
        means, known = self.means.clone(), self.known.clone()
        dim = means.shape[1]
        below, across = torch.tril_indices(dim, dim, device=means.device)
        with autocast_disabled(means.device):
            numbers = self.triangles(means)
            lower = numbers.new_zeros(*means.shape, dim)
            lower[:, below, across] = numbers
            # A positive diagonal, as theirs is.
            lower = lower.tril(-1) + torch.diag_embed(lower.diagonal(dim1=1, dim2=2).exp())
            return Curved(means, known[:, None, None] * (lower @ lower.mT), self.temperature, self.regularisation)

    def refine_posterior(self, latent: Latent, model: Model, batch: Batch) -> Latent:
        with autocast_disabled(latent.z.device):
            refined = super().refine_posterior(latent, model, batch)
        # Without gradients somebody only looks.
        if self.training and torch.is_grad_enabled():
            self._remember(latent.mean)
        return refined

    @torch.no_grad()
    def _remember(self, mean: Tensor) -> None:
        rows = gather_rows(mean)[-len(self.means) :]
        places = (self.place + torch.arange(len(rows), device=rows.device)) % len(self.means)
        self.means[places] = rows
        self.known[places] = 1
        self.place.copy_((self.place + len(rows)) % len(self.means))
