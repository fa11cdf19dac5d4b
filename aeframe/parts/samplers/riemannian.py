"""Samples by a learned metric of the codes."""

from __future__ import annotations

import torch
from torch import Tensor

from aeframe.errors import AeframeError
from aeframe.parts.latents.hamiltonian import Flat, leapfrog
from aeframe.parts.latents.riemannian import RiemannianHamiltonian
from aeframe.parts.samplers.base import Sampler
from aeframe.types import Model


class RiemannianSampler(Sampler):
    """Walk among the codes by Hamiltonian Monte Carlo, with sqrt(det G^-1(z)) for a density (Chadebec et al. 2021,
    arXiv 2105.00026): where the metric has its centroids, new codes are likely.

    Each code is the end of a chain of its own, which begins at a centroid. The density does not fall to 0 far away,
    so the paper has it on a compact set; here that is the box around the centroids, wider by the temperature.

    Args:
        model: Its latent has a metric.
        num_steps: Of each chain, with an acceptance step (Duane et al. 1987) each.
        num_leapfrog: Leapfrog steps in each of them.
        step_size: Of these, in units of the metric's temperature.
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
        space, flat = latent.geometry(), Flat()
        low = space.centroids.amin(0) - space.temperature
        high = space.centroids.amax(0) + space.temperature

        def energy(z: Tensor) -> Tensor:
            inside = ((z >= low) & (z <= high)).all(-1)
            # At rest the kinetic energy is -log sqrt(det G^-1), and what it pulls is that density's gradient.
            return space.kinetic(z, torch.zeros_like(z)).masked_fill(~inside, torch.inf)

        def force(z: Tensor) -> Tensor:
            return space.position_gradient(z, torch.zeros_like(z))

        z = space.centroids[torch.randint(len(space.centroids), (num,), device=low.device)]
        at, pushed = energy(z), force(z)
        for _ in range(self.num_steps):
            momentum = torch.randn_like(z)
            total = at + flat.kinetic(z, momentum)
            there, moving, pushed_there = z, momentum, pushed
            for _ in range(self.num_leapfrog):
                there, moving, pushed_there = leapfrog(
                    there, moving, pushed_there, force, flat, self.step_size * space.temperature, 1
                )
            at_there = energy(there)
            accepted = torch.rand_like(total).log() < total - at_there - flat.kinetic(there, moving)
            at = torch.where(accepted, at_there, at)
            z, pushed = (
                torch.where(accepted.unsqueeze(-1), new, old) for new, old in ((there, z), (pushed_there, pushed))
            )
        return z
