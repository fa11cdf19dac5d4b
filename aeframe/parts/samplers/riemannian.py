"""A sampler that draws from the volume element of a learned Riemannian metric."""

from __future__ import annotations

import torch
from torch import Tensor

from aeframe.errors import AeframeError
from aeframe.parts.latents.hamiltonian import Flat, leapfrog
from aeframe.parts.latents.riemannian import RiemannianHamiltonian
from aeframe.parts.samplers.base import Sampler
from aeframe.types import Model


class RiemannianSampler(Sampler):
    """Draws from the density proportional to sqrt(det G^-1(z)) by Hamiltonian Monte Carlo (Chadebec et al. 2021,
    arXiv 2105.00026). It is high near the centroids of the metric G.

    Each code is the last state of a separate chain, which starts at a random centroid. The density does not decay to 0,
    so it is restricted to a compact set, as in the paper: the bounding box of the centroids, extended on each side by
    the metric's temperature (the width of its kernels).

    Args:
        model: A trained model whose latent space has a metric.
        num_steps: Steps of each chain, each with a Metropolis acceptance test (Duane et al. 1987).
        num_leapfrog: Leapfrog steps in each step of a chain.
        step_size: Size of a leapfrog step, in units of the metric's temperature.
    """

    requires = frozenset({"metric"})

    def __init__(self, model: Model, *, num_steps: int = 100, num_leapfrog: int = 10, step_size: float = 0.1) -> None:
        super().__init__()
        if not isinstance(model.latent, RiemannianHamiltonian):
            raise AeframeError(
                f"sampler riemannian requires a latent with a metric, found {type(model.latent).__name__}; choose "
                "latent=riemannian, or sampler=prior"
            )
        if min(num_steps, num_leapfrog) < 1 or step_size <= 0:
            raise AeframeError(
                "sampler riemannian needs num_steps and num_leapfrog of at least 1 and a step_size above 0, "
                f"found {num_steps}, {num_leapfrog} and {step_size}"
            )
        self.num_steps, self.num_leapfrog, self.step_size = num_steps, num_leapfrog, step_size

    @torch.no_grad()
    def sample(self, model: Model, num: int) -> Tensor:
        latent = model.latent
        assert isinstance(latent, RiemannianHamiltonian)
        # The chain itself moves in flat space; the metric defines the density alone.
        metric, flat = latent.geometry(), Flat()
        step_size = self.step_size * metric.temperature
        low = metric.centroids.amin(0) - metric.temperature
        high = metric.centroids.amax(0) + metric.temperature

        def energy(z: Tensor) -> Tensor:
            inside = ((z >= low) & (z <= high)).all(-1)
            # With momentum 0 the kinetic energy is -log sqrt(det G^-1), the negative log density.
            return metric.kinetic(z, torch.zeros_like(z)).masked_fill(~inside, torch.inf)

        def minus_energy_gradient(z: Tensor) -> Tensor:
            return metric.position_gradient(z, torch.zeros_like(z))

        z = metric.centroids[torch.randint(len(metric.centroids), (num,), device=low.device)]
        energy_z, gradient_z = energy(z), minus_energy_gradient(z)
        for _ in range(self.num_steps):
            momentum = torch.randn_like(z)
            total_energy = energy_z + flat.kinetic(z, momentum)
            new_z, new_gradient = z, gradient_z
            for _ in range(self.num_leapfrog):
                new_z, momentum, new_gradient = leapfrog(
                    new_z, momentum, new_gradient, minus_energy_gradient, flat, step_size, iterations=1
                )
            new_energy = energy(new_z)
            accepted = torch.rand_like(total_energy).log() < total_energy - new_energy - flat.kinetic(new_z, momentum)
            energy_z = torch.where(accepted, new_energy, energy_z)
            z, gradient_z = (
                torch.where(accepted.unsqueeze(-1), new, old) for new, old in ((new_z, z), (new_gradient, gradient_z))
            )
        return z
