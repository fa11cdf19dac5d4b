"""The Hamiltonian latent: samples of a normal posterior are moved along the gradient of log p(x, z).

Shapes: B samples, D dimensions of a flattened z.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Literal, Protocol

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from aeframe.errors import AeframeError
from aeframe.parts.latents.gaussian import Gaussian
from aeframe.tensors import per_sample
from aeframe.types import Latent, Shape


class Geometry(Protocol):
    """The metric G(z) of the dynamics: the momentum at z is distributed as N(0, G(z))."""

    def momentum(self, z: Tensor, noise: Tensor) -> Tensor:
        """Transform standard normal noise to a momentum ``(B, D)`` distributed as N(0, G(z))."""

    def kinetic(self, z: Tensor, momentum: Tensor) -> Tensor:
        """Return -log N(momentum; 0, G(z)) ``(B,)`` in nats, up to a constant."""

    def velocity(self, z: Tensor, momentum: Tensor) -> Tensor:
        """Return the gradient of the kinetic energy with respect to the momentum, ``(B, D)``."""

    def position_gradient(self, z: Tensor, momentum: Tensor) -> Tensor:
        """Return minus the gradient of the kinetic energy with respect to z, ``(B, D)``."""


class Flat:
    """The geometry of Euclidean space: G = I."""

    def momentum(self, z: Tensor, noise: Tensor) -> Tensor:
        """Return the noise."""
        return noise

    def kinetic(self, z: Tensor, momentum: Tensor) -> Tensor:
        """Return half the squared length."""
        return 0.5 * momentum.square().sum(-1)

    def velocity(self, z: Tensor, momentum: Tensor) -> Tensor:
        """Return the momentum."""
        return momentum

    def position_gradient(self, z: Tensor, momentum: Tensor) -> Tensor:
        """Return zeros: the metric is the same at every z."""
        return torch.zeros_like(z)


class HamiltonianPosterior(Distribution):
    """An estimate of log q(z|x) for one sample z that Hamiltonian dynamics moved; other values have no density.

    `who` is the name of the latent, for error messages.
    """

    arg_constraints = {}  # noqa: RUF012 -- as torch declares it

    def __init__(self, who: str, z: Tensor, log_prob: Tensor, event_shape: Shape) -> None:
        super().__init__(log_prob.shape, torch.Size(event_shape), validate_args=False)
        self.who, self.z, self.estimate = who, z, log_prob

    def log_prob(self, z: Tensor) -> Tensor:
        """Return ``(B,)`` in nats, of the sampled z only.

        Raises:
            AeframeError: `z` is not the sampled tensor object.
        """
        if z is not self.z:
            raise AeframeError(
                f"{self.who} has a density for its own samples only, found another z; choose a latent with a density "
                "everywhere, such as gaussian or flow"
            )
        return self.estimate


class Hamiltonian(Gaussian):
    """A normal posterior whose samples follow Hamiltonian dynamics towards p(z|x) (HVAE: Caterini, Doucet & Sejdinovic
    2018, arXiv 1805.11328).

    z0 ~ N(mean, diag(std^2)) receives a momentum, and leapfrog steps move both with the gradient of log p(x, z) through
    the decoder, the loss and the prior. The momentum is tempered after each step. The resulting bound on log p(x) has
    log q(z0|x) + log N(gamma) - log N(final momentum) in place of log q(z|x). Here gamma is the standard normal noise
    that is divided by sqrt(beta) for the initial momentum; the change of its density and the change of volume by the
    tempering cancel. `Latent.mean`, and so an embedding, is the mean of the normal; only samples are moved.

    Args:
        feature_shape: ``(C, *positions)``.
        dim: Number of dimensions of z; with `spatial` at each position.
        spatial: Keep the positions of the features.
        num_steps: Number of leapfrog steps; each computes one gradient of the decoder.
        step_size: Initial step size. Each dimension of z learns its own, at most 10 times as large.
        tempering: ``fixed``: beta increases to 1 along the paper's quadratic from a learned initial value; ``free``:
            the factor of each step is learned; ``none``: beta is 1, and the bound is about the same as without
            dynamics, because dynamics without tempering do not bring the distribution closer to the target.
        beta: Initial value of the learned initial inverse temperature, in (0, 1).
        max_log_variance: Bound of the normal's log-variance, as in latent gaussian.
    """

    provides = frozenset({"posterior"})
    # The name for error messages.
    _who = "latent hamiltonian"
    iterations: int = 1
    """Fixed-point iterations of the leapfrog's two implicit equations; in flat space these are explicit."""

    def __init__(
        self,
        feature_shape: Shape,
        *,
        dim: int = 16,
        spatial: bool = False,
        num_steps: int = 5,
        step_size: float = 0.1,
        tempering: Literal["fixed", "free", "none"] = "fixed",
        beta: float = 0.5,
        max_log_variance: float = 20.0,
    ) -> None:
        super().__init__(feature_shape, dim=dim, spatial=spatial, max_log_variance=max_log_variance)
        if num_steps < 1 or step_size <= 0 or not 0 < beta < 1:
            raise AeframeError(
                f"{self._who} needs num_steps of at least 1, a step_size above 0 and beta in (0, 1), "
                f"found {num_steps}, {step_size} and {beta}"
            )
        self.num_steps, self.max_step = num_steps, 10 * step_size
        # The logit of each dimension's step size, as a fraction of `max_step`.
        self.step = nn.Parameter(torch.full((math.prod(self.shape),), _logit(1 / 10)))
        # The logit of sqrt(beta), or of the factor of each step. Every parameter has a dimension, so that FSDP2 can
        # divide it among devices.
        self.tempering: nn.Parameter | None = None
        self._is_free = tempering == "free"
        if tempering == "fixed":
            self.tempering = nn.Parameter(torch.tensor([_logit(beta**0.5)]))
        elif tempering == "free":
            self.tempering = nn.Parameter(torch.full((num_steps,), _logit(beta ** (0.5 / num_steps))))

    def tempering_factors(self) -> Tensor:
        """Return the factor of the momentum after each step, ``(num_steps,)``; their product is sqrt(beta)."""
        if self.tempering is None:
            return self.step.new_ones(self.num_steps)
        if self._is_free:
            return self.tempering.sigmoid()
        # `scales` are 1 / sqrt(beta) at the start and after each step; the last is 1.
        initial = 1 / self.tempering.sigmoid()
        fraction = torch.linspace(0, 1, self.num_steps + 1, dtype=initial.dtype, device=initial.device)
        scales = (1 - initial) * fraction.square() + initial
        return scales[1:] / scales[:-1]

    def geometry(self) -> Geometry:
        """Return the metric of the dynamics."""
        return Flat()

    def refine_posterior(self, latent: Latent, log_joint: Callable[[Tensor], Tensor]) -> Latent:
        geometry = self.geometry()

        def grad_log_joint(z: Tensor) -> Tensor:
            return _gradient(lambda flat: log_joint(flat.reshape(latent.z.shape)), z)

        start = latent.z.flatten(1)
        initial_momentum = geometry.momentum(start, torch.randn_like(start))
        end, final_momentum = self.integrate(start, initial_momentum, grad_log_joint, geometry)
        assert latent.posterior is not None
        log_prob = per_sample(latent.posterior.log_prob(latent.z))
        log_prob = log_prob - geometry.kinetic(start, initial_momentum) + geometry.kinetic(end, final_momentum)
        z = end.reshape(latent.z.shape)
        return replace(
            latent, z=z, posterior=HamiltonianPosterior(self._who, z, log_prob, self.shape), decoder_input=None
        )

    def integrate(
        self, z: Tensor, momentum: Tensor, grad_log_joint: Callable[[Tensor], Tensor], geometry: Geometry
    ) -> tuple[Tensor, Tensor]:
        """Return z and momentum after all tempered leapfrog steps from an untempered momentum ``(B, D)``.

        The map as a whole preserves volume.
        """
        factors, step = self.tempering_factors(), self.max_step * self.step.sigmoid()
        momentum, gradient = momentum / factors.prod(), grad_log_joint(z)
        for factor in factors:
            z, momentum, gradient = leapfrog(z, momentum, gradient, grad_log_joint, geometry, step, self.iterations)
            momentum = factor * momentum
        return z, momentum


def leapfrog(
    z: Tensor,
    momentum: Tensor,
    gradient: Tensor,
    grad_log_density: Callable[[Tensor], Tensor],
    geometry: Geometry,
    step: Tensor | float,
    iterations: int,
) -> tuple[Tensor, Tensor, Tensor]:
    """Return z, momentum and gradient after one step of the generalised leapfrog (Girolami & Calderhead 2011).

    It preserves volume and is reversible as far as `iterations` solve its implicit equations; in flat space 1 suffices.

    Args:
        z: ``(B, D)``.
        momentum: ``(B, D)``.
        gradient: ``grad_log_density(z)``.
        grad_log_density: Returns minus the gradient of the potential energy.
        geometry: The metric.
        step: The step size: one number, or one for each dimension ``(D,)``.
        iterations: Fixed-point iterations of each implicit equation.
    """
    # The momentum after half a step.
    half = momentum
    for _ in range(iterations):
        half = momentum + 0.5 * step * (gradient + geometry.position_gradient(z, half))
    velocity = geometry.velocity(z, half)
    end = z
    for _ in range(iterations):
        end = z + 0.5 * step * (velocity + geometry.velocity(end, half))
    gradient = grad_log_density(end)
    return end, half + 0.5 * step * (gradient + geometry.position_gradient(end, half)), gradient


def _gradient(function: Callable[[Tensor], Tensor], z: Tensor) -> Tensor:
    """Return the gradient of each sample's value with respect to its z, differentiable where gradients are enabled."""
    create_graph = torch.is_grad_enabled()
    with torch.enable_grad():
        leaf = z if z.requires_grad else z.detach().requires_grad_()
        (gradient,) = torch.autograd.grad(function(leaf).sum(), leaf, create_graph=create_graph)
    return gradient


def _logit(probability: float) -> float:
    return math.log(probability / (1 - probability))
