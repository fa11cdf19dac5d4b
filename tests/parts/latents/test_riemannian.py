"""The learned metric: its formula, its gradients by autograd, its buffer of centroids, and its sampler."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.distributions import MultivariateNormal

from aeframe.errors import AeframeError
from aeframe.factory import build
from aeframe.model.assembly import assemble
from aeframe.model.autoencoder import Autoencoder
from aeframe.parts.latents.hamiltonian import leapfrog
from aeframe.parts.latents.riemannian import Curved, RiemannianHamiltonian
from aeframe.types import Batch, DataSpec, Domain, TrainingProgress


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)


def curved(dim: int = 3) -> Curved:
    """Return a metric of four centroids in double precision."""
    lower = torch.randn(4, dim, dim, dtype=torch.float64).tril()
    return Curved(torch.randn(4, dim, dtype=torch.float64), lower @ lower.mT, 1.3, 0.2)


def model_of(**options: Any) -> Autoencoder:
    config = {
        "encoder": {"name": "mlp", "hidden": [8]},
        "latent": {"name": "riemannian", "dim": 2, "centroids": 5, **options},
        "loss": "mse",
        "objective": "elbo",
    }
    return assemble(config, DataSpec((6,), Domain("real")))


def space_of(model: Autoencoder) -> RiemannianHamiltonian:
    assert isinstance(model.latent, RiemannianHamiltonian)
    return model.latent


def metric(space: Curved, z: Tensor) -> Tensor:
    """Return G(z) of one z by an explicit sum over centroids."""
    inverse = space.regularisation * torch.eye(len(z), dtype=z.dtype)
    for centroid, square in zip(space.centroids, space.squares, strict=True):
        inverse = inverse + square * torch.exp(-(z - centroid).square().sum() / space.temperature**2)
    return inverse.inverse()


def test_the_kinetic_energy_is_that_of_a_normal_momentum_with_the_metric_as_covariance() -> None:
    space, z, momentum = curved(), *torch.randn(2, 5, 3, dtype=torch.float64)
    found = space.kinetic(z, momentum) + 1.5 * torch.tensor(2 * torch.pi, dtype=torch.float64).log()
    zero = torch.zeros(3, dtype=torch.float64)
    for b in range(5):
        expected = -MultivariateNormal(zero, metric(space, z[b])).log_prob(momentum[b])
        torch.testing.assert_close(found[b], expected)
        torch.testing.assert_close(space.velocity(z, momentum)[b], torch.linalg.solve(metric(space, z[b]), momentum[b]))


def test_a_momentum_has_the_metric_as_covariance() -> None:
    space, z = curved(), torch.randn(3, dtype=torch.float64)
    momenta = space.momentum(z.expand(20_000, 3), torch.randn(20_000, 3, dtype=torch.float64))
    scale = metric(space, z).diagonal().sqrt()
    torch.testing.assert_close(
        (momenta / scale).T.cov(), metric(space, z) / torch.outer(scale, scale), atol=0.04, rtol=0
    )


def test_the_gradients_of_the_kinetic_energy() -> None:
    space = curved()
    z, momentum = torch.randn(2, 6, 4, 3, dtype=torch.float64).requires_grad_()
    by_z, by_momentum = torch.autograd.grad(space.kinetic(z, momentum).sum(), (z, momentum))
    torch.testing.assert_close(space.position_gradient(z, momentum), -by_z)
    torch.testing.assert_close(space.velocity(z, momentum), by_momentum)


def test_the_generalised_leapfrog_can_be_reversed() -> None:
    space, z, momentum = curved(), *torch.randn(2, 5, 3, dtype=torch.float64)
    end, moved, gradient = leapfrog(z, momentum, -z, torch.neg, space, 0.1, 30)
    back, reversed_, _ = leapfrog(end, -moved, gradient, torch.neg, space, 0.1, 30)
    torch.testing.assert_close(back, z)
    torch.testing.assert_close(reversed_, -momentum)
    assert (end - z).abs().max() > 0.05


def test_energy_is_kept_to_second_order() -> None:
    space, z, momentum = curved(), *torch.randn(2, 50, 3, dtype=torch.float64)

    def drift(step: float) -> Tensor:
        at, moving, gradient = z, momentum, -z
        before = 0.5 * z.square().sum(1) + space.kinetic(z, momentum)
        for _ in range(round(0.2 / step)):
            at, moving, gradient = leapfrog(at, moving, gradient, torch.neg, space, step, 20)
        return (0.5 * at.square().sum(1) + space.kinetic(at, moving) - before).abs().mean()

    assert 3.2 < drift(0.02) / drift(0.01) < 4.8


def test_the_metric_of_a_model_is_the_papers_formula() -> None:
    model = model_of(temperature=0.7, regularisation=0.1)
    latent = space_of(model)
    latent.observe(torch.randn(3, 2))
    space = latent.geometry()
    numbers = latent.triangles(latent.means)
    z = torch.randn(2)
    inverse = 0.1 * torch.eye(2)
    for i in range(3):
        a, b, c = numbers[i]
        lower = torch.stack([torch.stack([a.exp(), torch.zeros(())]), torch.stack([b, c.exp()])])
        inverse = inverse + lower @ lower.T * torch.exp(-(z - latent.means[i]).square().sum() / 0.49)
    torch.testing.assert_close(space.velocity(z, torch.eye(2)), inverse)
    assert space_of(model_of()).temperature == 2**0.5


def test_centroids_are_the_last_training_codes_before_the_batch() -> None:
    model = model_of()
    latent = space_of(model)
    first, second = torch.randn(3, 6), torch.randn(4, 6)
    before = latent.geometry()
    p = model(Batch(first))
    means = model.embed(Batch(first)).mean.detach()
    assert torch.equal(before.squares, torch.zeros(5, 2, 2))
    assert torch.equal(latent.means[:3], means)
    assert latent.known.tolist() == [1, 1, 1, 0, 0]
    more = model.embed(Batch(second)).mean.detach()
    q = model(Batch(second))
    assert torch.equal(latent.means, torch.stack([more[2], more[3], means[2], more[0], more[1]]))
    assert (latent.known.tolist(), latent.place.item()) == ([1, 1, 1, 1, 1], 2)
    # The buffer was overwritten, and the backward passes of both batches still work.
    (model.terms(p, TrainingProgress()).total() + model.terms(q, TrainingProgress()).total()[:3]).sum().backward()
    assert all(parameter.grad is not None for parameter in latent.parameters())
    assert latent.triangles.get_submodule("1").get_parameter("weight").grad.any()  # type: ignore[union-attr]
    state = {name: value.clone() for name, value in latent.state_dict().items()}
    with torch.no_grad():
        model(Batch(first))
    model.eval()(Batch(first), sample=True)
    assert all(torch.equal(value, state[name]) for name, value in latent.state_dict().items())
    latent.train()
    model.train()(Batch(torch.randn(12, 6)), sample=True)
    assert latent.place.item() == (2 + 5) % 5


def test_importance_samples_add_each_mean_once() -> None:
    model = model_of()
    batch = Batch(torch.randn(3, 6))
    model(batch, num_samples=4)
    assert torch.equal(space_of(model).means[:3], model.embed(batch).mean.detach())
    assert space_of(model).known.tolist() == [1, 1, 1, 0, 0]


@pytest.mark.parametrize(
    ("option", "found"),
    [
        ("centroids", "0, 3, 64, 4.0 and 0.01"),
        ("iterations", "100, 0, 64, 4.0 and 0.01"),
        ("hidden", "100, 3, 0, 4.0 and 0.01"),
        ("temperature", "100, 3, 64, 0.0 and 0.01"),
        ("regularisation", "100, 3, 64, 4.0 and 0.0"),
    ],
)
def test_invalid_options_are_rejected(option: str, found: str) -> None:
    with pytest.raises(AeframeError) as error:
        build("latent", {"name": "riemannian", option: 0}, feature_shape=(4,))
    assert str(error.value) == (
        "latent riemannian needs centroids, iterations and hidden of at least 1, and temperature and regularisation "
        f"above 0, found {found}"
    )


# -- the sampler -------------------------------------------------------------------------------------------------


def test_samples_have_the_density_of_the_metric() -> None:
    model = model_of(regularisation=0.05, temperature=0.8).eval()
    latent = space_of(model)
    latent.observe(torch.tensor([[-1.0, 0.0], [0.5, 1.0], [1.5, -0.5], [0.0, 0.3], [2.0, 2.0]]))
    # Steps so long that many are rejected.
    options = {"num_steps": 60, "num_leapfrog": 3, "step_size": 1.5}
    sampler = build("sampler", {"name": "riemannian", **options}, model=model)
    samples = sampler.sample(model, 3000)
    space = latent.geometry()
    # The box around the centroids, wider by the temperature.
    sides = [torch.linspace(low, high, 201) for low, high in ((-1.8, 2.8), (-1.3, 2.8))]
    plane = torch.cartesian_prod(*sides)
    with torch.no_grad():
        density = (-space.kinetic(plane, torch.zeros_like(plane))).softmax(0)
    mean = density @ plane
    second = plane.T @ (density.unsqueeze(1) * plane) - torch.outer(mean, mean)
    assert ((samples >= plane[0]) & (samples <= plane[-1])).all()
    torch.testing.assert_close(samples.mean(0), mean, atol=0.12, rtol=0)
    torch.testing.assert_close(samples.T.cov(), second, atol=0.15, rtol=0.1)


def test_the_sampler_requires_a_metric_and_valid_steps() -> None:
    with pytest.raises(AeframeError) as error:
        build("sampler", {"name": "riemannian", "num_steps": 0}, model=model_of())
    assert str(error.value) == (
        "sampler riemannian needs num_steps and num_leapfrog of at least 1 and a step_size above 0, found 0, 10 and 0.1"
    )
    config = {"encoder": "mlp", "latent": "gaussian", "loss": "mse"}
    with pytest.raises(AeframeError) as error:
        build("sampler", "riemannian", model=assemble(config, DataSpec((6,), Domain("real"))))
    assert str(error.value) == (
        "sampler riemannian requires a latent with a metric, found Gaussian; choose latent=riemannian, or sampler=prior"
    )
