"""Hamiltonian posteriors: steps of length 0, volume by autograd, and the exact likelihood of a linear model."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.distributions import MultivariateNormal

from aeframe.errors import AeframeError
from aeframe.factory import build
from aeframe.model.assembly import assemble
from aeframe.parts.latents.hamiltonian import Flat, Hamiltonian, leapfrog
from aeframe.types import Batch, DataSpec, Domain, TrainingProgress

NAMES = ["hamiltonian", "riemannian"]
NOISE = 0.6


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)


def linear_model(latent: str = "hamiltonian", **options: Any) -> Any:
    """Return the model x = W z + b + noise of standard deviation 0.6, 3 x and 2 z, in double precision."""
    if latent == "riemannian":
        options = {"centroids": 8, **options}
    config = {
        "encoder": {"name": "mlp", "hidden": [3], "activation": "tanh"},
        "latent": {"name": latent, "dim": 2, **options},
        "decoder": {"name": "mlp", "hidden": []},
        "loss": {"name": "gaussian", "scale": NOISE},
        "objective": "elbo",
    }
    model: Any = assemble(config, DataSpec((3,), Domain("real"))).double()
    with torch.no_grad():
        model.decoder.last.weight.copy_(torch.tensor([[1.0, 0.2], [0.5, -0.8], [-0.3, 0.6]]))
        # A posterior near the exact one, and wide enough that the importance weights have a finite variance.
        model.latent.head.linear.weight.mul_(0.3)
        model.latent.head.linear.bias.copy_(torch.tensor([0.1, -0.1, -0.2, -0.2]))
    if latent == "riemannian":
        model.latent.observe(torch.randn(6, 2, dtype=torch.float64))
    return model


def rows(num: int = 4) -> Batch:
    return Batch(torch.randn(num, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(5)))


def log_likelihood(model: Any, x: Tensor) -> Tensor:
    """Return log p(x) of the linear model in closed form."""
    weight, bias = model.decoder.last.weight, model.decoder.last.bias
    return MultivariateNormal(bias, weight @ weight.T + NOISE**2 * torch.eye(3, dtype=weight.dtype)).log_prob(x)


def log_weights(model: Any, batch: Batch, num: int) -> Tensor:
    """Return log p(x, z) - log q(z|x) of `num` samples, ``(num, B)``."""
    with torch.no_grad():
        p = model(batch, sample=True, num_samples=num)
        return (-p.reconstruction - model.prior.kl(p.latent)).unflatten(0, (num, -1))


def set_zero_steps(latent: Any) -> None:
    """Set the step sizes to zero."""
    with torch.no_grad():
        latent.step.fill_(-torch.inf)


# -- flat and Riemannian -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("tempering", ["fixed", "free", "none"])
@pytest.mark.parametrize("name", NAMES)
def test_steps_of_length_zero_are_the_bound_of_the_normal(name: str, tempering: str) -> None:
    model = linear_model(name, tempering=tempering)
    set_zero_steps(model.latent)
    plain = model.embed(rows(), sample=True)
    moved = model.latent.refine_posterior(plain, model.objective.log_joint(model, rows()))
    assert torch.equal(moved.z, plain.z)
    expected = plain.posterior.log_prob(plain.z).sum(-1) - model.prior.log_prob(plain.z)
    torch.testing.assert_close(model.prior.kl(moved), expected)


@pytest.mark.parametrize("tempering", ["fixed", "free", "none"])
@pytest.mark.parametrize("name", NAMES)
def test_the_mean_importance_weight_is_the_likelihood(name: str, tempering: str) -> None:
    # Enough iterations to solve the implicit equations, and a step size that moves the samples.
    more = {"iterations": 8, "temperature": 1.5} if name == "riemannian" else {}
    step_size = 0.06 if name == "riemannian" else 0.25
    model = linear_model(name, tempering=tempering, step_size=step_size, num_steps=3, **more)
    weights = log_weights(model, rows(), 10_000)
    exact = log_likelihood(model, rows().x)
    # The mean of p(x, z) / q(z|x) is p(x) for any valid dynamics; a wrong momentum or volume would change it.
    ratio = (weights - exact).exp()
    assert ((ratio.mean(0) - 1).abs() < 4 * ratio.std(0) / 100).all()
    assert (ratio.std(0) / 100 < 0.05).all()
    # The bound is below log p(x).
    assert (weights.mean(0) < exact).all()


def test_learned_dynamics_tighten_the_bound_of_the_same_encoder() -> None:
    model = linear_model(step_size=0.2, num_steps=8)
    with torch.no_grad():
        model.latent.head.linear.bias[2:] = -1.0
    optimizer = torch.optim.Adam([model.latent.step, model.latent.tempering], lr=0.1)
    for _ in range(30):
        optimizer.zero_grad()
        p = model(rows(), num_samples=32)
        (p.reconstruction + model.prior.kl(p.latent)).mean().backward()
        optimizer.step()
    exact, moved = log_likelihood(model, rows().x), log_weights(model, rows(), 5000)
    set_zero_steps(model.latent)
    plain = log_weights(model, rows(), 5000)
    error = 4 * (moved.var(0) + plain.var(0)).sqrt() / 5000**0.5
    assert (moved.mean(0) < exact + error).all()
    # The gap closes by a fifth or more.
    assert (exact - moved.mean(0)).mean() < 0.8 * (exact - plain.mean(0)).mean()


@pytest.mark.parametrize("tempering", ["fixed", "free", "none"])
@pytest.mark.parametrize("name", NAMES)
def test_the_dynamics_preserve_volume(name: str, tempering: str) -> None:
    more = {"iterations": 40, "temperature": 1.5} if name == "riemannian" else {}
    latent = linear_model(name, tempering=tempering, step_size=0.2, num_steps=3, **more).latent
    assert isinstance(latent, Hamiltonian)
    with torch.no_grad():
        latent.step.add_(torch.tensor([0.5, -0.5]))

    def integrate(at: Tensor) -> Tensor:
        z, momentum = latent.integrate(at[:2], at[2:], lambda z: -z + z.cos(), latent.geometry())
        return torch.cat([z, momentum])

    jacobian = torch.autograd.functional.jacobian(integrate, torch.randn(4, dtype=torch.float64))
    # The division of the momentum by sqrt(beta) and the tempering factors cancel in the volume.
    torch.testing.assert_close(jacobian.det(), torch.ones((), dtype=torch.float64), atol=1e-5, rtol=0)
    assert (jacobian - torch.eye(4)).abs().max() > 0.1


@pytest.mark.parametrize("name", NAMES)
def test_gradients_go_through_the_dynamics(name: str) -> None:
    model = linear_model(name, step_size=0.1)

    def loss() -> Tensor:
        torch.manual_seed(3)
        return model.terms(model(rows(), sample=True), TrainingProgress()).total().sum()

    model.eval()
    names = ["latent.step", "latent.tempering", "latent.head.linear.bias", "decoder.last.weight"]
    names += ["latent.triangles.1.bias"] * (name == "riemannian")
    parameters = dict(model.named_parameters())
    for label, found in zip(names, torch.autograd.grad(loss(), [parameters[n] for n in names]), strict=True):
        flat = parameters[label].data.view(-1)
        before, values = flat[0].item(), []
        for shift in (1e-5, -1e-5):
            flat[0] = before + shift
            values.append(loss().item())
        flat[0] = before
        assert found.flatten()[0].item() == pytest.approx((values[0] - values[1]) / 2e-5, rel=1e-5, abs=1e-6), label


@pytest.mark.parametrize("name", NAMES)
def test_only_samples_are_moved(name: str) -> None:
    model = linear_model(name).eval()
    with torch.no_grad():
        p = model(rows(), sample=False)
        assert torch.equal(p.latent.z, model.embed(rows()).mean)
        sampled = model(rows(), sample=True).latent
    assert not sampled.z.requires_grad
    assert torch.equal(sampled.mean, p.latent.mean)
    assert sampled.posterior is not None
    assert sampled.posterior.log_prob(sampled.z).shape == (4,)
    with pytest.raises(AeframeError) as error:
        sampled.posterior.log_prob(sampled.z + 0)
    assert str(error.value) == (
        f"latent {name} has a density for its own samples only, found another z; choose a latent with a density "
        "everywhere, such as gaussian or flow"
    )


# -- flat --------------------------------------------------------------------------------------------------------


def test_a_leapfrog_step_by_hand() -> None:
    # Gradient -z, step 0.5: half = 1 - 0.25 * 2 = 0.5; z = 2 + 0.5 * 0.5 = 2.25; momentum = 0.5 - 0.25 * 2.25.
    z, momentum, gradient = leapfrog(
        torch.tensor([2.0]), torch.tensor([1.0]), torch.tensor([-2.0]), torch.neg, Flat(), 0.5, 1
    )
    assert (z.item(), momentum.item(), gradient.item()) == (2.25, -0.0625, -2.25)


def test_tempering_factors_by_hand() -> None:
    # 1 / sqrt(0.25) = 2 decreases quadratically to 1: 2, 1.75, 1.
    latent = build("latent", {"name": "hamiltonian", "num_steps": 2, "beta": 0.25}, feature_shape=(4,))
    torch.testing.assert_close(latent.tempering_factors(), torch.tensor([1.75 / 2, 1 / 1.75]))
    free = build("latent", {"name": "hamiltonian", "num_steps": 2, "tempering": "free"}, feature_shape=(4,))
    torch.testing.assert_close(free.tempering_factors(), torch.tensor([0.5**0.25, 0.5**0.25]))
    none = build("latent", {"name": "hamiltonian", "num_steps": 2, "tempering": "none"}, feature_shape=(4,))
    assert torch.equal(none.tempering_factors(), torch.ones(2))
    torch.testing.assert_close(none.max_step * none.step.sigmoid(), torch.full((16,), 0.1))


@pytest.mark.parametrize(("option", "found"), [("num_steps", 0), ("step_size", 0.0), ("beta", 1.0)])
def test_invalid_options_are_rejected(option: str, found: float) -> None:
    with pytest.raises(AeframeError) as error:
        build("latent", {"name": "hamiltonian", option: found}, feature_shape=(4,))
    shown = {"num_steps": 5, "step_size": 0.1, "beta": 0.5, option: found}
    assert str(error.value) == (
        "latent hamiltonian needs num_steps of at least 1, a step_size above 0 and beta in (0, 1), "
        f"found {shown['num_steps']}, {shown['step_size']} and {shown['beta']}"
    )


def test_a_spatial_z_is_flattened_for_the_dynamics() -> None:
    config = {
        "encoder": {"name": "conv", "channels": [4]},
        "latent": {"name": "hamiltonian", "dim": 2, "spatial": True},
        "loss": "mse",
        "objective": "elbo",
    }
    model: Any = assemble(config, DataSpec((1, 8, 8), Domain("real")))
    p = model(Batch(torch.randn(3, 1, 8, 8)))
    assert p.latent.z.shape == (3, *model.latent.shape)
    assert model.prior.kl(p.latent).shape == (3,)
    assert math.prod(model.latent.shape) == len(model.latent.step)
