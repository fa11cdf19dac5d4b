"""The Hamiltonian latent: a normal posterior moved by the model's own gradient.

Shapes: D numbers of a flattened z, ``...`` samples (``(B,)`` or ``(K, B)``).
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
    """What a momentum is at a place: N(0, G(z)) with G the metric."""

    def momentum(self, z: Tensor, noise: Tensor) -> Tensor:
        """Return ``(..., D)``, distributed as N(0, G(z)), of standard normal noise."""

    def kinetic(self, z: Tensor, momentum: Tensor) -> Tensor:
        """Return ``(...)``: -log N(momentum; 0, G(z)) in nats, up to a constant."""

    def velocity(self, z: Tensor, momentum: Tensor) -> Tensor:
        """Return ``(..., D)``: the kinetic energy's gradient by the momentum."""

    def pull(self, z: Tensor, momentum: Tensor) -> Tensor:
        """Return ``(..., D)``: minus the kinetic energy's gradient by z."""


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

    def pull(self, z: Tensor, momentum: Tensor) -> Tensor:
        """Return nothing: every place is alike."""
        return torch.zeros_like(z)


class HamiltonianPosterior(Distribution):
    """What is known of a code that other draws beside it led to: an estimate of log q(z|x), for that code alone."""

    arg_constraints = {}  # noqa: RUF012 -- torch's own way

    def __init__(self, who: str, z: Tensor, log_prob: Tensor, event_shape: Shape) -> None:
        super().__init__(log_prob.shape[-1:], torch.Size(event_shape), validate_args=False)
        self.who, self.z, self.estimate = who, z, log_prob

    def log_prob(self, z: Tensor) -> Tensor:
        """Return ``(..., B)`` of the drawn z.

        Raises:
            AeframeError: Another z.
        """
        if z is not self.z:
            raise AeframeError(
                f"{self.who} knows the density of the codes it has drawn only, and was asked for that of others; "
                "choose a latent with a density everywhere, such as gaussian or flow"
            )
        return self.estimate


class Hamiltonian(Gaussian):
    """A normal posterior whose draws follow Hamiltonian dynamics towards p(z|x) (HVAE: Caterini, Doucet & Sejdinovic
    2018, arXiv 1805.11328).

    z0 ~ N(mean, diag(std^2)) is given a momentum and moved by leapfrog steps with the gradient of log p(x, z), through
    the decoder, the loss and the prior, cooled after each step. The result is a bound on log p(x) as the plain one
    is; in its KL stands log q(z0|x) + log N(gamma) - log N(momentum at the end), gamma being the standard normal that
    was divided by sqrt(beta) for the first momentum: its density and the cooling's change of volume cancel. The mean,
    and so an embedding, is that of the normal; only drawn codes are moved.

    Args:
        feature_shape: ``(C, *positions)``.
        dim: Numbers of z; with `spatial` at each position.
        spatial: Keep the positions of the features.
        num_steps: Leapfrog steps; each one takes a gradient of the decoder.
        step_size: At the start; each number of z learns its own, below 10 times of it.
        tempering: ``fixed``: beta rises to 1 along the paper's quadratic, from a first value that is learned;
            ``free``: each step's cooling is learned; ``none``: beta is 1 throughout, and the bound about what it would
            be without the dynamics, which keep the divergence from their target as long as nothing is cooled.
        beta: The first inverse temperature, in (0, 1), before it is learned.
        max_log_variance: Of the normal, as in latent gaussian.
    """

    provides = frozenset({"posterior"})
    _who = "latent hamiltonian"
    iterations: int = 1
    """Of the leapfrog's two implicit equations; they are explicit in flat space."""

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
        self.num_steps, self.largest_step = num_steps, 10 * step_size
        self.step = nn.Parameter(torch.full((math.prod(self.shape),), _logit(1 / 10)))
        self.cooling: nn.Parameter | None = None
        if tempering == "fixed":
            self.cooling = nn.Parameter(torch.tensor(_logit(beta**0.5)))
        elif tempering == "free":
            self.cooling = nn.Parameter(torch.full((num_steps,), _logit(beta ** (0.5 / num_steps))))

    def coolings(self) -> Tensor:
        """Return ``(num_steps,)``: what the momentum is multiplied by after each step; sqrt(beta) altogether."""
        if self.cooling is None:
            return self.step.new_ones(self.num_steps)
        if self.cooling.ndim:
            return self.cooling.sigmoid()
        hot = 1 / self.cooling.sigmoid()
        share = torch.linspace(0, 1, self.num_steps + 1, dtype=hot.dtype, device=hot.device)
        heat = (1 - hot) * share.square() + hot
        return heat[1:] / heat[:-1]

    def geometry(self) -> Geometry:
        """Return the metric that the dynamics follow."""
        return Flat()

    def refine_posterior(self, latent: Latent, log_joint: Callable[[Tensor], Tensor]) -> Latent:
        lead, space = 1 + latent.z.ndim - latent.mean.ndim, self.geometry()

        def force(z: Tensor) -> Tensor:
            return _gradient(lambda at: log_joint(at.reshape(latent.z.shape)), z)

        start = latent.z.flatten(lead)
        first = space.momentum(start, torch.randn_like(start))
        end, last = self.travel(start, first, force, space)
        assert latent.posterior is not None
        log_prob = per_sample(latent.posterior.log_prob(latent.z), lead)
        log_prob = log_prob - space.kinetic(start, first) + space.kinetic(end, last)
        z = end.reshape(latent.z.shape)
        return replace(
            latent, z=z, posterior=HamiltonianPosterior(self._who, z, log_prob, self.shape), decoder_input=None
        )

    def travel(
        self, z: Tensor, momentum: Tensor, force: Callable[[Tensor], Tensor], space: Geometry
    ) -> tuple[Tensor, Tensor]:
        """Heat a momentum ``(..., D)``, make all the steps, and return z and momentum at the end; volume stays."""
        coolings, step = self.coolings(), self.largest_step * self.step.sigmoid()
        momentum, pushed = momentum / coolings.prod(), force(z)
        for cooling in coolings:
            z, momentum, pushed = leapfrog(z, momentum, pushed, force, space, step, self.iterations)
            momentum = cooling * momentum
        return z, momentum


def leapfrog(
    z: Tensor,
    momentum: Tensor,
    pushed: Tensor,
    force: Callable[[Tensor], Tensor],
    space: Geometry,
    step: Tensor | float,
    iterations: int,
) -> tuple[Tensor, Tensor, Tensor]:
    """Make one step of the generalised leapfrog: the next z, momentum, and force there (Girolami & Calderhead 2011).

    It keeps volume, and can be reversed, as far as `iterations` solve its implicit equations; in flat space 1 does.

    Args:
        z: ``(..., D)``.
        momentum: ``(..., D)``.
        pushed: The force at z.
        force: Minus the gradient of the potential energy.
        space: The geometry.
        step: Its length, or one for each of the D numbers.
        iterations: Of the fixed points.
    """
    half = momentum
    for _ in range(iterations):
        half = momentum + 0.5 * step * (pushed + space.pull(z, half))
    before = space.velocity(z, half)
    there = z
    for _ in range(iterations):
        there = z + 0.5 * step * (before + space.velocity(there, half))
    pushed = force(there)
    return there, half + 0.5 * step * (pushed + space.pull(there, half)), pushed


def _gradient(function: Callable[[Tensor], Tensor], z: Tensor) -> Tensor:
    """Return the gradient of each sample's number by its own z; it can be differentiated where gradients are on."""
    training = torch.is_grad_enabled()
    with torch.enable_grad():
        at = z if z.requires_grad else z.detach().requires_grad_()
        (gradient,) = torch.autograd.grad(function(at).sum(), at, create_graph=training)
    return gradient


def _logit(share: float) -> float:
    return math.log(share / (1 - share))
