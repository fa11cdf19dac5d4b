"""Latents on a sphere, in a ball, of classes, and of numbers and classes: codes, priors, and schedules."""

from __future__ import annotations

import copy
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import aeframe
from aeframe.errors import AeframeError
from aeframe.experiment.checks import check_parts
from aeframe.experiment.compose import compose
from aeframe.factory import build
from aeframe.model.assembly import assemble
from aeframe.parts.priors.base import Prior
from aeframe.types import Batch, DataSpec, Domain, Shape, TrainingProgress

PRIORS = {"hypersphere": "sphere", "poincare": "ball", "categorical": "categorical", "joint": "joint"}
EVERY: dict[str, dict[str, Any]] = {
    "hypersphere": {"name": "hypersphere", "dim": 4},
    "wrapped": {"name": "poincare", "dim": 3, "curvature": 0.7},
    "riemannian": {"name": "poincare", "dim": 3, "posterior": "riemannian"},
    "gyroplanes": {"name": "poincare", "dim": 3, "gyroplanes": 6},
    "categorical": {"name": "categorical", "dim": 3, "classes": 5},
    "hard": {"name": "categorical", "dim": 3, "classes": 5, "hard": True},
    "joint": {"name": "joint", "dim": 2, "variables": 2, "classes": 3},
}


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)


def make(config: dict[str, Any], feature_shape: Shape = (6, 3, 2)) -> Any:
    return build("latent", config, feature_shape=feature_shape)


def prior_of(latent: Any, name: str, **options: Any) -> Any:
    return build("prior", {"name": name, **options}, z_shape=latent.shape, latent=latent)


def both(name: str) -> tuple[Any, Any]:
    latent = make(EVERY[name])
    return latent, prior_of(latent, PRIORS[EVERY[name]["name"]])


def model_of(latent: dict[str, Any], **parts: Any) -> Any:
    prior = PRIORS.get(latent["name"], "normal")
    config = {"encoder": {"name": "mlp", "hidden": (5,)}, "latent": latent, "prior": prior, "loss": "gaussian"}
    return assemble({**config, "objective": "elbo", **parts}, DataSpec((6,), Domain("real")))


# -- every latent ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("feature_shape", [(6,), (6, 5), (6, 3, 2)])
@pytest.mark.parametrize("name", list(EVERY))
def test_shapes(name: str, feature_shape: Shape) -> None:
    latent = make(EVERY[name], feature_shape)
    features = torch.randn(4, *feature_shape)
    for mode in (True, False):
        latent.train(mode)
        for sample in (True, False):
            one = latent(features, sample=sample)
            assert one.z.shape == one.mean.shape == (4, *latent.shape)
            assert one.posterior.log_prob(one.z).shape == (4,)
            assert latent.decoder_input(one.z).shape == (4, *latent.decoder_shape)
            assert sample == (not torch.equal(one.z, one.mean))


@pytest.mark.parametrize("name", list(EVERY))
def test_the_gradient_reaches_every_parameter(name: str) -> None:
    latent, prior = both(name)
    code = latent(torch.randn(16, 6, 3, 2), sample=True)
    (latent.decoder_input(code.z).square().sum() + prior.kl(code).sum()).backward()
    for parameter_name, parameter in latent.named_parameters():
        assert bool(parameter.grad.any()), parameter_name
    assert not list(prior.parameters())


@pytest.mark.parametrize("scale", [0.0, 1e-3, 1e4])
@pytest.mark.parametrize("name", list(EVERY))
def test_large_features_yield_finite_numbers(name: str, scale: float) -> None:
    latent, prior = both(name)
    features = (scale * torch.randn(8, 6, 3, 2)).requires_grad_()
    for sample in (True, False):
        code = latent(features, sample=sample)
        total = latent.decoder_input(code.z).square().sum() + prior.kl(code).sum()
        total.backward()
        assert bool(total.isfinite())
        assert features.grad is not None
        assert bool(features.grad.isfinite().all())


@pytest.mark.parametrize("name", list(EVERY))
def test_the_kl_is_the_mean_over_samples(name: str) -> None:
    latent, prior = both(name)
    # In evaluation, where samples are one-hot and the estimate is unbiased.
    latent.eval()
    with torch.no_grad():
        features = torch.randn(3, 6, 3, 2)
        code = latent(features.repeat(20_000, 1, 1, 1), sample=True)
        estimates = Prior.kl(prior, code).unflatten(0, (-1, 3))
        few = latent(features, sample=True)
        exact = prior.kl(few)
    if "poincare" in EVERY[name].values():
        assert torch.equal(exact, Prior.kl(prior, few))
        # Both are densities with respect to the same measure: the mean of q / p over samples of p is 1.
        z = prior.sample(20_000).unsqueeze(1)
        weights = (few.posterior.log_prob(z) - prior.log_prob(z)).exp()
        assert bool(((weights.mean(0) - 1).abs() < 5 * weights.std(0) / 20_000**0.5).all())
        return
    exact = exact.flatten(1).sum(1) if name in ("categorical", "hard", "joint") else exact
    assert exact.shape == (3,)
    assert bool(((estimates.mean(0) - exact).abs() < 4 * estimates.std(0) / 20_000**0.5).all())


@pytest.mark.parametrize("name", list(EVERY))
def test_the_prior_samples_points_of_the_space(name: str) -> None:
    latent, prior = both(name)
    z = prior.sample(500)
    assert z.shape == (500, *latent.shape)
    assert prior.log_prob(z).shape == (500,)
    assert latent.decoder_input(z).shape == (500, *latent.decoder_shape)


@pytest.mark.parametrize("name", list(EVERY))
def test_autocast_changes_codes_little(name: str) -> None:
    latent, prior = both(name)
    latent.eval()
    features = torch.randn(8, 6, 3, 2)
    plain = latent(features, sample=False)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        half = latent(features, sample=False)
        decoder_input, kl = latent.decoder_input(half.z), prior.kl(half)
    assert half.z.dtype == kl.dtype == torch.float32
    torch.testing.assert_close(half.z, plain.z, atol=0.05, rtol=0.05)
    torch.testing.assert_close(decoder_input.float(), latent.decoder_input(plain.z), atol=0.05, rtol=0.05)
    torch.testing.assert_close(kl, prior.kl(plain), atol=0.1, rtol=0.1)


@pytest.mark.parametrize("name", list(EVERY))
def test_a_deep_copy_computes_the_same(name: str) -> None:
    model = model_of(EVERY[name]).eval()
    again = copy.deepcopy(model)
    again.load_state_dict(model.state_dict())
    batch = Batch(torch.randn(5, 6))
    assert torch.equal(model(batch).reconstruction, again(batch).reconstruction)
    model.prior.sample(3)


# -- sphere ------------------------------------------------------------------------------------------------------


def test_codes_have_length_one() -> None:
    latent, prior = both("hypersphere")
    code = latent(torch.randn(8, 6, 3, 2), sample=True)
    for z in (code.z, code.mean, prior.sample(8)):
        torch.testing.assert_close(z.norm(dim=1), torch.ones(8))
    # The area of the sphere in four dimensions is 2 pi^2.
    torch.testing.assert_close(prior.log_prob(code.z), torch.full((8,), -math.log(2 * math.pi**2)))
    # The mean of the prior is zero.
    assert float(prior.sample(10_000).mean(0).norm()) < 4 / 10_000**0.5


def test_the_concentration_is_clamped() -> None:
    latent = make({"name": "hypersphere", "dim": 4, "max_concentration": 50.0}, (6,))
    kappa = latent(1e3 * torch.randn(50, 6), sample=False).posterior.concentration.detach()
    assert float(kappa.min()) >= 1
    assert float(kappa.max()) == 50


# -- ball --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["wrapped", "riemannian", "gyroplanes"])
def test_codes_stay_inside_the_ball(name: str) -> None:
    latent, prior = both(name)
    code = latent(1e4 * torch.randn(64, 6, 3, 2), sample=True)
    for z in (code.z, code.mean, prior.sample(2000)):
        assert bool((latent.ball.curvature * z.square().sum(-1) < 1).all())


def test_the_decoder_reads_the_tangent_space_at_the_origin() -> None:
    latent, _ = both("wrapped")
    steps = torch.randn(9, 3)
    z = latent.ball.exp(torch.zeros(9, 3), steps)
    torch.testing.assert_close(latent.decoder_input(z), steps)


def test_gyroplanes_of_a_nearly_flat_ball_are_a_dense_layer_with_an_activation() -> None:
    latent = make({"name": "poincare", "dim": 3, "curvature": 1e-8, "gyroplanes": 6}).double()
    with torch.no_grad():
        latent.planes.offsets.normal_()
    z = torch.randn(9, 3).double()
    # Distances are twice those of coordinates at the origin, and so are offsets.
    differences = 2 * z.unsqueeze(1) - latent.planes.offsets
    torch.testing.assert_close(
        latent.decoder_input(z), (differences * latent.planes.normals).sum(-1).relu(), rtol=1e-5, atol=1e-5
    )
    assert latent.decoder_shape == (6,)


def test_the_prior_has_the_latents_family_and_curvature() -> None:
    for name in ("wrapped", "riemannian"):
        latent, _ = both(name)
        prior = prior_of(latent, "ball", scale=0.5)
        code = latent(torch.zeros(1, 6, 3, 2), sample=False)
        same = type(code.posterior)(torch.zeros(3), torch.tensor([0.5]), latent.ball)
        z = prior.sample(5)
        torch.testing.assert_close(prior.log_prob(z), same.log_prob(z))


# -- classes -----------------------------------------------------------------------------------------------------


def rows_are_one_hot(z: Tensor) -> bool:
    return bool(((z - z.round()).abs() < 1e-6).all())


@pytest.mark.parametrize("name", ["categorical", "hard", "joint"])
def test_samples_are_one_hot_in_evaluation_and_with_hard(name: str) -> None:
    latent, prior = both(name)
    start = 2 if name == "joint" else 0
    features = torch.randn(7, 6, 3, 2)
    in_training = latent(features, sample=True).z[:, start:]
    assert rows_are_one_hot(in_training) == (name == "hard")
    assert rows_are_one_hot(latent.eval()(features, sample=True).z[:, start:])
    samples = prior.sample(4000)[:, start:]
    assert rows_are_one_hot(samples)
    variables, classes = latent.groups[-1], len(latent.groups) - (name == "joint")
    torch.testing.assert_close(samples.sum(1), torch.full((4000,), float(classes)))
    torch.testing.assert_close(samples.mean(0), torch.full((samples.shape[1],), 1 / variables), atol=0.035, rtol=0)
    mean = latent(features, sample=False).mean[:, start:]
    torch.testing.assert_close(mean.sum(1), torch.full((7,), float(classes)))


def test_classes_are_equally_likely() -> None:
    _, prior = both("categorical")
    torch.testing.assert_close(prior.log_prob(prior.sample(4)), torch.full((4,), -3 * math.log(5)))
    _, prior = both("joint")
    z = prior.sample(4)
    normal = -0.5 * (z[:, :2].square() + math.log(2 * math.pi)).sum(1)
    torch.testing.assert_close(prior.log_prob(z), normal - 2 * math.log(3))


@pytest.mark.parametrize("name", ["categorical", "joint"])
def test_a_schedule_sets_the_temperature(name: str) -> None:
    falling = {"name": "linear", "start": 1.0, "end": 0.5}
    model = model_of({**EVERY[name], "temperature": falling})
    part = model.latent.classes if name == "joint" else model.latent
    assert float(part.tau) == 1
    model.set_progress(TrainingProgress(batch=50, planned=100))
    assert float(part.tau) == 0.75
    batch = Batch(torch.randn(400, 6))
    heights = []
    for tau in (0.75, 0.05):
        part.tau.fill_(tau)
        heights.append(float(model(batch).latent.z.detach().amax(1).mean()))
    if name == "categorical":
        assert heights[1] > heights[0] + 0.05
    # It is part of the state.
    again = model_of({**EVERY[name], "temperature": falling})
    again.load_state_dict(model.state_dict())
    assert torch.equal((again.latent.classes if name == "joint" else again.latent).tau, part.tau)


def test_a_run_decreases_the_temperature(tmp_path: Path) -> None:
    run = aeframe.fit(
        model="categorical_vae",
        data="breast_cancer",
        overrides=["encoder.hidden=[4]", "latent.temperature={name: linear, start: 1.0, end: 0.0, over: 20}"],
        max_batches=10,
        max_epochs=100,
        pictures=False,
        trainer={"threads": 1, "accelerator": "cpu"},
        folder=str(tmp_path / "run"),
    )
    latent: Any = aeframe.load(run.folder).model.latent
    best = latent.tau
    # That of the last batch before the best checkpoint; the last of ten batches has 0.55.
    assert 0.55 - 1e-6 <= float(best) < 1
    assert math.isclose(20 * float(best), round(20 * float(best)), abs_tol=1e-4)


# -- errors ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (
            {"name": "hypersphere", "dim": 1},
            "latent hypersphere needs dim of at least 2 and max_concentration above 1, found 1 and 1000000.0",
        ),
        (
            {"name": "poincare", "curvature": 0.0},
            "latent poincare needs dim of at least 2, curvature above 0 and gyroplanes of at least 0, found 16, 0.0 "
            "and 0",
        ),
        (
            {"name": "categorical", "classes": 1},
            "a categorical latent needs dim of at least 1 and classes of at least 2, found 16 and 1",
        ),
        (
            {"name": "joint", "temperature": 0.0},
            "a categorical latent needs a temperature above 0, found 0 at batch 0",
        ),
    ],
)
def test_invalid_options_are_rejected(config: dict[str, Any], message: str) -> None:
    with pytest.raises(AeframeError) as error:
        make(config)
    assert str(error.value) == message


@pytest.mark.parametrize(
    ("name", "latent", "options", "message"),
    [
        (
            "ball",
            {"name": "point", "dim": 3},
            {},
            "prior ball requires a latent poincare, found Point; choose latent=poincare",
        ),
        (
            "ball",
            EVERY["riemannian"],
            {"scale": 0.0},
            "prior ball needs scale above 0 and at most 2.23, the limit of single precision in 3 dimensions, found 0; "
            "change prior.scale, or lower latent.dim",
        ),
        (
            "ball",
            {"name": "poincare", "dim": 20, "posterior": "riemannian"},
            {},
            "prior ball needs scale above 0 and at most 0.722, the limit of single precision in 20 dimensions, found "
            "1; change prior.scale, or lower latent.dim",
        ),
        (
            "categorical",
            {"name": "point", "dim": 3},
            {},
            "prior categorical needs variables with equally many classes, found groups () of latent Point; "
            "choose latent=categorical",
        ),
        (
            "joint",
            {"name": "point", "dim": 3},
            {},
            "prior joint requires a latent joint, found Point; choose latent=joint",
        ),
    ],
)
def test_invalid_options_of_a_prior_are_rejected(
    name: str, latent: dict[str, Any], options: dict[str, Any], message: str
) -> None:
    with pytest.raises(AeframeError) as error:
        prior_of(make(latent), name, **options)
    assert str(error.value) == message


@pytest.mark.parametrize(
    ("overrides", "start"),
    [
        (
            ["model=svae", "prior=normal"],
            "prior 'normal' is a density of euclidean space, but the codes of latent 'hypersphere' live in sphere "
            "space; choose prior=sphere",
        ),
        (
            ["model=poincare_vae", "sampler=gmm"],
            "sampler 'gmm' is a density of euclidean space, but the codes of latent 'poincare' live in ball space; "
            "choose sampler=prior",
        ),
        (
            ["model=vae", "sampler=hypersphere"],
            "sampler 'hypersphere' is a density of sphere space, but the codes of latent 'gaussian' live in euclidean "
            "space; choose sampler=",
        ),
        (
            ["model=vae", "objective.capacity=5", "objective.class_capacity=2"],
            "objective elbo takes class_capacity for latents of numbers and classes only; choose latent=joint, or "
            "leave class_capacity at null",
        ),
    ],
)
def test_parts_that_do_not_fit_are_rejected_before_a_run(overrides: list[str], start: str) -> None:
    with pytest.raises(AeframeError) as error:
        check_parts(compose(["data=breast_cancer", *overrides]), DataSpec((30,), Domain("real")))
    assert str(error.value).startswith(start)


# -- capacities --------------------------------------------------------------------------------------------------


def test_numbers_and_classes_have_separate_capacities() -> None:
    objective = {"name": "elbo", "beta": 30, "capacity": {"name": "linear", "end": 4.0}, "class_capacity": 0.5}
    model = model_of(EVERY["joint"], objective=objective)
    p = model(Batch(torch.randn(5, 6)))
    terms = model.terms(p, TrainingProgress(batch=5, planned=10))
    by_dimension = model.prior.kl(p.latent)
    assert by_dimension.shape == (5, 4)
    numbers, classes = by_dimension[:, :2].sum(1), by_dimension[:, 2:].sum(1)
    torch.testing.assert_close(terms.raw["kl_from_capacity"], (numbers - 2).abs())
    torch.testing.assert_close(terms.raw["classes_from_capacity"], (classes - 0.5).abs())
    torch.testing.assert_close(terms.raw["kl"], numbers + classes)
    assert terms.bound is not None
    torch.testing.assert_close(terms.bound, p.reconstruction + numbers + classes)
    assert {name: terms.weights[name] for name in ("kl", "kl_from_capacity", "classes_from_capacity")} == {
        "kl": 0,
        "kl_from_capacity": 30,
        "classes_from_capacity": 30,
    }


def test_class_capacity_without_capacity_is_rejected() -> None:
    with pytest.raises(AeframeError) as error:
        build("objective", {"name": "elbo", "class_capacity": 2.0}, z_shape=(2,), shape=(3,))
    assert str(error.value) == "objective elbo takes class_capacity beside capacity; set objective.capacity as well"


def test_a_geodesic_of_the_sphere_is_a_great_circle() -> None:
    latent = build("latent", {"name": "hypersphere", "dim": 3}, feature_shape=(6,))
    start = torch.tensor([[1.0, 0.0, 0.0]])
    halfway = torch.tensor([0.5]).reshape(1, 1)
    for end, expected in (
        ([0.0, 1.0, 0.0], [0.5**0.5, 0.5**0.5, 0.0]),
        ([1.0, 0.0, 0.0], [1.0, 0.0, 0.0]),
        # Antipodes: one of the great circles through both.
        ([-1.0, 0.0, 0.0], [0.0, 1.0, 0.0]),
    ):
        found = latent.geodesic(start, torch.tensor([end]), halfway)
        torch.testing.assert_close(found, torch.tensor([expected]), atol=1e-6, rtol=0)


@pytest.mark.parametrize("curvature", [0.5, 2.0])
def test_a_geodesic_of_the_ball_is_the_shortest_path(curvature: float) -> None:
    latent = build("latent", {"name": "poincare", "dim": 3, "curvature": curvature}, feature_shape=(6,))
    ball, origin = latent.ball, torch.zeros(5, 3)
    start, end = (ball.exp(origin, 2 * torch.randn(5, 3)) for _ in range(2))

    def distance(a: Tensor, b: Tensor) -> Tensor:
        found: Tensor = ball.log(a, b).norm(dim=-1)
        return found

    middle = latent.geodesic(start, end, torch.tensor(0.3))
    total = distance(start, end)
    torch.testing.assert_close(distance(start, middle), 0.3 * total, atol=1e-3, rtol=1e-3)
    torch.testing.assert_close(distance(middle, end), 0.7 * total, atol=1e-3, rtol=1e-3)
    torch.testing.assert_close(latent.geodesic(start, end, torch.tensor(1.0)), end, atol=1e-4, rtol=0)


def test_distances_on_the_sphere_are_angles() -> None:
    latent = make({"name": "hypersphere", "dim": 3}, (6,))
    points = torch.tensor([[1.0, 0, 0], [0, 1.0, 0], [-1.0, 0, 0], [math.cos(1e-3), math.sin(1e-3), 0]])
    found = latent.distances(points[:1], points)
    torch.testing.assert_close(found, torch.tensor([[0, math.pi / 2, math.pi, 1e-3]]), atol=2e-7, rtol=1e-5)


@pytest.mark.parametrize("curvature", [0.5, 2.0])
def test_distances_in_the_ball_are_lengths_of_shortest_paths(curvature: float) -> None:
    latent = make({"name": "poincare", "dim": 2, "curvature": curvature}, (6,))
    radius = curvature**-0.5
    a = torch.tensor([[0.0, 0.0], [0.3, -0.4]]) * radius
    b = torch.tensor([[0.5, 0.0], [-0.2, 0.9], [0.3, -0.4]]) * radius
    pairs = [[float(latent.ball.log(x[None], z[None]).norm()) for z in b] for x in a]
    torch.testing.assert_close(latent.distances(a, b), torch.tensor(pairs), atol=1e-6, rtol=1e-5)
    # From the origin: 2 artanh(|x| / radius) * radius.
    assert float(latent.distances(a, b)[0, 0]) == pytest.approx(2 * math.atanh(0.5) * radius)
