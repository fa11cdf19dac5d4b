"""`TrainedModel.score`: a function of the sample, and an estimate whose errors fall with the number of draws."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from scipy import stats
from torch import Tensor

from aeframe.errors import AeframeError
from aeframe.evaluation.evaluator import Evaluator, measure
from aeframe.evaluation.scoring import content_keys
from aeframe.experiment.checks import check
from aeframe.experiment.compose import compose
from aeframe.experiment.composition.option_files import core_recipes
from aeframe.factory import build
from aeframe.model.assembly import assemble
from aeframe.model_store.trained_model import TrainedModel
from aeframe.registry import registry
from aeframe.types import Batch, DataSpec, Domain, TrainingProgress

from .conftest import Save

CPU = torch.device("cpu")
# Patches need positions, which rows of numbers do not have.
RECIPES = [name for name in core_recipes() if name != "mae"]
NUM = 40


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


@functools.cache
def default_encoder() -> Any:
    return compose(["data=breast_cancer", "model=ae"])["encoder"]


def model_of(recipe: str) -> tuple[TrainedModel, Batch]:
    """Return a small model of a recipe with random weights, and samples of breast_cancer."""
    config = compose(["data=breast_cancer", f"model={recipe}", "label_classes=2" if recipe == "cvae" else "seed=0"])
    if config["encoder"] == default_encoder():
        config["encoder"] = {**config["encoder"], "hidden": (16,)}
    modality, dataset = build("modality", config["modality"]), build("dataset", config["data"])
    splits, spec = modality.prepare(dataset), modality.spec(dataset)
    extras = {"partner": spec.shape} if config["pairs"] else {}
    spec = DataSpec(spec.shape, spec.domain, 2 if recipe == "cvae" else 0, extras=extras)
    model = assemble(config, spec).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    batch = Batch(splits.train.batch(torch.arange(NUM)).x)
    if spec.condition:
        batch.condition = torch.eye(2)[torch.arange(NUM) % 2]
    progress = TrainingProgress(batch=30, planned=40)
    sampler = build("sampler", "prior" if "prior" in config else "gmm", model=model)
    return TrainedModel(model, modality, sampler, config, spec, progress, CPU), batch


@pytest.mark.parametrize("recipe", RECIPES)
def test_the_score_is_a_function_of_the_sample(recipe: str) -> None:
    model, batch = model_of(recipe)
    score = model.score(batch)

    def check(actual: Tensor, expected: Tensor) -> None:
        torch.testing.assert_close(actual, expected, rtol=1e-4, atol=1e-3)

    assert score.isfinite().all()
    assert torch.equal(model.score(batch), score)
    check(torch.cat([model.score(batch.rows(slice(row, row + 1))) for row in range(5)]), score[:5])
    order = torch.randperm(NUM)
    check(model.score(batch.rows(order)), score[order])
    for batch_size in (1, 7):
        check(model.score(batch.rows(slice(9)), batch_size=batch_size), score[:9])
    # Copies of a sample have its score.
    check(model.score(batch.rows(torch.zeros(3, dtype=torch.long))), score[:1].expand(3))
    if "posterior" in model.model.latent.provides:
        assert not torch.allclose(model.score(batch, seed=1), score, rtol=1e-4, atol=1e-3)
    few = batch.rows(slice(5))
    check(model.score(few, draws=3, batch_size=7), model.score(few, draws=3))
    if model.model.objective.bounds_likelihood:
        alone = torch.cat([model.score(batch.rows(slice(row, row + 1)), importance=3) for row in range(5)])
        check(model.score(few, importance=3, batch_size=4), alone)


@pytest.mark.parametrize("modality", registry().names("modality"))
def test_the_score_of_every_modality_is_a_function_of_the_sample(modality: str) -> None:
    config = compose([f"modality={modality}", "model=vae", "latent.dim=3"])
    prepared, dataset, spec = check(config)
    batch = prepared.prepare(dataset).test.batch(torch.arange(9))
    network = assemble(config, spec).eval()
    sampler, progress = build("sampler", "prior", model=network), TrainingProgress(batch=30, planned=40)
    model = TrainedModel(network, prepared, sampler, config, spec, progress, CPU)
    score = model.score(batch, draws=2)
    for rows in (torch.tensor([4]), torch.arange(9).flip(0)):
        torch.testing.assert_close(model.score(batch.rows(rows), draws=2), score[rows], rtol=1e-4, atol=1e-3)
    torch.testing.assert_close(model.score(batch, draws=2, batch_size=2), score, rtol=1e-4, atol=1e-3)
    bound = model.score(batch, importance=3)
    torch.testing.assert_close(model.score(batch.rows(slice(2, 3)), importance=3), bound[2:3], rtol=1e-4, atol=1e-3)


def test_equal_samples_have_equal_noise_and_others_independent_noise(save: Save) -> None:
    model, _ = save()
    x = torch.randn(400, 30)
    # At a constant weight of the noise, the score's error is a function of the noise.
    noise = torch.stack([model.score(x, seed=seed) for seed in range(20)])
    noise = noise - noise.mean(0)
    correlations = torch.corrcoef(noise.T)
    # Off the diagonal, correlations of 20 independent seeds have mean 0 and standard deviation 1 / sqrt(19).
    off_diagonal = correlations[~torch.eye(400, dtype=torch.bool)]
    assert off_diagonal.mean().abs() < 0.01
    assert (off_diagonal.std() - 19**-0.5).abs() < 0.02


def test_the_key_of_a_sample_is_a_hash_of_what_the_model_reads() -> None:
    x = torch.randn(5, 4, 3)
    mask = torch.rand(5, 4) < 0.8
    mask[:, 0] = True
    condition = torch.eye(5)
    batch = Batch(x, mask=mask, condition=condition, index=torch.arange(5))
    keys = content_keys(batch)
    assert keys.unique().numel() == 5
    assert torch.equal(content_keys(batch.rows(torch.tensor([3, 1]))), keys[[3, 1]])
    assert torch.equal(content_keys(Batch(x, mask=mask, condition=condition, index=torch.arange(5) + 7)), keys)
    hidden = x.masked_fill(~mask.unsqueeze(2), float("nan"))
    assert torch.equal(content_keys(Batch(hidden, mask=mask, condition=condition)), keys)
    changes = (Batch(x, mask=mask), Batch(x, condition=condition), Batch(x.flip(1), mask=mask, condition=condition))
    for changed in changes:
        assert not (content_keys(changed) == keys).any()
    # Zero has two signs, and samples of integers are hashed too.
    assert torch.equal(content_keys(Batch(-torch.zeros(2, 3))), content_keys(Batch(torch.zeros(2, 3))))
    assert content_keys(Batch(torch.tensor([[1, 2], [2, 1]]))).unique().numel() == 2


def variance(score: Callable[[int], Tensor]) -> float:
    """Return the mean variance of the scores of samples over seeds."""
    return float(torch.stack([score(seed) for seed in range(12)]).var(0).mean())


def test_the_variance_falls_with_the_number_of_draws(save: Save) -> None:
    model, _ = save()
    x = torch.randn(60, 30)
    single = variance(lambda seed: model.score(x, seed=seed))
    assert variance(lambda seed: model.score(x, seed=seed, draws=64)) == pytest.approx(single / 64, rel=0.3)


@pytest.fixture(scope="module")
def linear_gaussian() -> tuple[TrainedModel, Any]:
    """Return a VAE of x = W z + b + noise, and the exact marginal distribution of x.

    The posterior has the exact mean, and independent dimensions with a constant variance, unlike the exact one.
    """
    generator = torch.Generator().manual_seed(1)
    weight, bias, noise = torch.randn(4, 2, generator=generator), torch.randn(4, generator=generator), 0.7
    config: dict[str, Any] = {
        "model": {"name": "vae"},
        "encoder": {"name": "mlp", "hidden": []},
        "decoder": {"name": "mlp", "hidden": []},
        "latent": {"name": "gaussian", "dim": 2},
        "loss": {"name": "gaussian", "scale": noise},
    }
    config |= {"prior": "normal", "objective": "elbo"}
    spec = DataSpec((4,), Domain("real"))
    model = assemble(config, spec).eval()
    to_mean = torch.linalg.solve(torch.eye(2) + weight.T @ weight / noise**2, weight.T / noise**2)
    set_linear(model.decoder, weight, bias)
    set_linear(
        model.latent, torch.cat([to_mean, 0 * to_mean]), torch.cat([-to_mean @ bias, torch.tensor([-1.0, -1.5])])
    )
    sampler, progress = build("sampler", "prior", model=model), TrainingProgress(batch=1, planned=1)
    trained = TrainedModel(model, build("modality", "vector"), sampler, config, spec, progress, CPU)
    covariance = weight @ weight.T + noise**2 * torch.eye(4)
    return trained, stats.multivariate_normal(bias.numpy(), covariance.numpy())


def set_linear(module: torch.nn.Module, weight: Tensor, bias: Tensor) -> None:
    """Set weight and bias of the only linear layer of a module."""
    (layer,) = [layer for layer in module.modules() if isinstance(layer, torch.nn.Linear)]
    with torch.no_grad():
        layer.weight.copy_(weight)
        layer.bias.copy_(bias)


def test_importance_samples_tighten_the_bound_towards_the_log_likelihood(
    linear_gaussian: tuple[TrainedModel, Any],
) -> None:
    model, marginal = linear_gaussian
    x = torch.from_numpy(marginal.rvs(200, random_state=0)).float()
    exact = torch.from_numpy(-marginal.logpdf(x.numpy())).float()
    gaps = [float((model.score(x, importance=k, draws=64, batch_size=10_000) - exact).mean()) for k in (1, 2, 8, 64)]
    # Each gap is a mean over 12,800 bounds, whose standard deviation is below 1.
    assert gaps[0] > gaps[1] + 0.05 > gaps[2] + 0.1 > gaps[3]
    assert gaps[3] == pytest.approx(0, abs=0.02)
    # One sample is the evidence lower bound, whose KL the objective has in closed form.
    assert gaps[0] == pytest.approx(float((model.score(x, draws=64) - exact).mean()), abs=0.05)
    torch.testing.assert_close(model.score(x, importance=5000, batch_size=10_000), exact, atol=0.15, rtol=0)


def test_the_metric_is_the_mean_over_batches_of_any_size(linear_gaussian: tuple[TrainedModel, Any]) -> None:
    model, marginal = linear_gaussian
    x = torch.from_numpy(marginal.rvs(50, random_state=0)).float()
    exact = float(-marginal.logpdf(x.numpy()).mean())
    values = []
    for sizes, chunk in (([50], 10_000), ([20, 20, 10], 333)):
        evaluator = Evaluator(model.model, {"nll": {"samples": 2000, "chunk": chunk}})
        batches = [Batch(rows) for rows in x.split(sizes)]
        values.append(measure(evaluator, batches, model.progress, CPU)["nll"])
    assert values[0] == pytest.approx(values[1], abs=1e-4)
    assert values[0] == pytest.approx(exact, abs=0.02)
    assert values[0] == pytest.approx(float(model.score(x, importance=2000).mean()), abs=1e-4)


def test_the_metric_is_left_out_where_no_likelihood_is_bounded(linear_gaussian: tuple[TrainedModel, Any]) -> None:
    config = linear_gaussian[0].config
    for changes in ({"latent": {"name": "point", "dim": 2}, "objective": "deterministic"}, {"loss": "mse"}):
        model = assemble({**config, **changes}, linear_gaussian[0].spec).eval()
        assert not Evaluator(model, {"nll": {}}).metrics


def test_the_bound_of_an_iwae_has_its_number_of_samples(linear_gaussian: tuple[TrainedModel, Any]) -> None:
    model, marginal = linear_gaussian
    x = torch.from_numpy(marginal.rvs(100, random_state=0)).float()
    iwae = TrainedModel(
        assemble({**model.config, "objective": {"name": "importance", "num_samples": 8}}, model.spec).eval(),
        model.modality, model.sampler, model.config, model.spec, model.progress, CPU,
    )  # fmt: skip
    iwae.model.load_state_dict(model.model.state_dict())
    own = iwae.score(x, draws=64)
    assert float((own - iwae.score(x, draws=64, importance=8)).mean()) == pytest.approx(0, abs=0.02)
    assert float((own - iwae.score(x, draws=64, importance=1)).mean()) < -0.1
    torch.testing.assert_close(iwae.score(x[:3], batch_size=2), iwae.score(x)[:3], rtol=1e-4, atol=1e-3)


def test_draws_of_a_deterministic_model_are_one(save: Save) -> None:
    model, _ = save(latent={"name": "point", "dim": 3}, objective="deterministic")
    x = torch.randn(5, 30)
    assert torch.equal(model.score(x, draws=10**6), model.score(x))


def test_the_global_generator_is_unchanged(save: Save) -> None:
    model, _ = save()
    state = torch.get_rng_state()
    model.score(torch.randn(3, 30, generator=torch.Generator()), draws=3)
    assert torch.equal(torch.get_rng_state(), state)


POINT: dict[str, Any] = {"latent": {"name": "point", "dim": 3}, "objective": "deterministic"}
INVALID: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "no draws": ({}, {"draws": 0}, "takes draws of at least 1, found 0"),
    "a fraction": ({}, {"importance": 2.5}, "takes importance of at least 1, found 2.5"),
    "no posterior": (
        POINT,
        {"importance": 5},
        "draws importance samples from a posterior, found the latent Point without one; leave out importance",
    ),
    "no bound on the likelihood": (
        {"objective": {"name": "mmd"}},
        {"importance": 5},
        "takes importance where its bound is one on the likelihood, found the objective MaximumMeanDiscrepancy; leave "
        "out importance",
    ),
}


@pytest.mark.parametrize(("changes", "arguments", "message"), INVALID.values(), ids=INVALID)
def test_arguments_that_do_not_fit_are_errors(
    save: Save, changes: dict[str, Any], arguments: dict[str, Any], message: str
) -> None:
    model, _ = save(**changes)
    with pytest.raises(AeframeError) as error:
        model.score(torch.randn(4, 30), **arguments)
    assert str(error.value) == f"model 'vae' {message}"


def test_an_mmd_with_a_kl_has_a_bound_on_the_likelihood(save: Save) -> None:
    model, _ = save(objective={"name": "mmd", "beta": 0.5})
    assert model.score(torch.randn(4, 30), importance=2).shape == (4,)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("recipe", ["vae", "iwae", "svae", "poincare_vae", "categorical_vae", "nvae"])
def test_every_device_has_the_same_scores(recipe: str) -> None:
    model, batch = model_of(recipe)
    expected = model.score(batch, draws=3)
    on_gpu = replace(model, model=model.model.to("cuda"), device=torch.device("cuda"))
    torch.testing.assert_close(on_gpu.score(batch, draws=3), expected, rtol=1e-3, atol=1e-2)
