"""Reconstructions of a model with a random code: hardly used units are drawn, used ones stay at the mean."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn

from aeframe.evaluation.evaluator import Evaluator, measure
from aeframe.evaluation.reconstruction import PROTOCOL, decode_posterior, draws_units, reconstruct_batch
from aeframe.row_noise import RowNoise, row_normals, row_uniforms
from aeframe.types import Batch, TrainingProgress

PROGRESS = TrainingProgress(batch=1, planned=1)
CPU = torch.device("cpu")


class _Stated(nn.Module):
    """A latent head that returns the mean x[:, :2] and a stated standard deviation."""

    def __init__(self, std: list[float]) -> None:
        super().__init__()
        self.std = torch.tensor(std)

    def forward(self, features: Tensor) -> Tensor:
        return torch.cat([features[:, :2], (2 * self.std.log()).expand(len(features), -1)], 1)


@pytest.fixture
def x() -> Tensor:
    return torch.randn(40, 30, generator=torch.Generator().manual_seed(0))


def stated(make_model: Any, std: list[float], **parts: Any) -> Any:
    model = make_model((30,), latent={"name": "gaussian", "dim": 2}, **parts).eval()
    model.latent.head = _Stated(std)
    return model


def test_used_units_stay_at_the_mean(make_model: Any, x: Tensor) -> None:
    model = stated(make_model, [0.1, 0.8])
    latent, seen = model.embed(Batch(x)), []
    decode_posterior(model, latent, Batch(x), lambda z: (seen.append(z), z)[1])
    assert len(seen) == 1
    assert torch.equal(seen[0], latent.mean)


def test_hardly_used_units_are_mirrored_draws_from_the_posterior(make_model: Any) -> None:
    x = torch.randn(4000, 30, generator=torch.Generator().manual_seed(1))
    model, batch = stated(make_model, [0.1, 0.9]), Batch(x)
    latent, seen = model.embed(batch), []
    output = decode_posterior(model, latent, batch, lambda z: (seen.append(z), 2 * z + 1)[1])
    # A linear decoder returns the output of the mean.
    assert torch.allclose(output, 2 * latent.mean + 1, atol=1e-5)
    step = torch.stack(seen) - latent.mean
    assert torch.allclose(step[0], -step[1], atol=1e-6)
    assert not step[..., 0].any()
    noise = step[0, :, 1] / 0.9
    assert [noise.mean().item(), noise.std().item()] == pytest.approx([0, 1], abs=0.05)
    assert abs(torch.corrcoef(torch.stack([noise, x[:, 1]]))[0, 1].item()) < 0.05


def test_row_normals_are_the_first_draw_of_row_noise() -> None:
    rows = torch.arange(7) * 1000
    with RowNoise(rows, seed=3):
        expected = torch.randn(7, 5, dtype=torch.float64)
    assert torch.equal(row_normals(rows, 5, seed=3), expected)


def test_row_uniforms_are_a_draw_of_row_noise_by_its_number() -> None:
    rows = torch.arange(7) * 1000
    with RowNoise(rows, seed=3):
        expected = [torch.rand(7, 5) for _ in range(2)]
    for draw in (0, 1):
        assert torch.equal(row_uniforms(rows, 5, seed=3, draw=draw).float(), expected[draw])


def test_a_reconstruction_depends_on_the_sample_and_the_seed_only(make_model: Any, x: Tensor) -> None:
    model = stated(make_model, [1.0, 1.0])
    whole = reconstruct_batch(model, Batch(x), seed=5)
    parts = [reconstruct_batch(model, Batch(part), seed=5) for part in x.flip(0).split([1, 16, 23])]
    assert torch.allclose(torch.cat(parts).flip(0), whole, atol=1e-6)
    assert not torch.allclose(reconstruct_batch(model, Batch(x), seed=6), whole, atol=1e-3)


@pytest.mark.parametrize("sizes", [[40], [1] * 40, [17, 23]])
def test_the_metric_is_that_of_the_reconstruction(make_model: Any, x: Tensor, sizes: list[int]) -> None:
    model = stated(make_model, [1.0, 0.2])
    evaluator = Evaluator(model, {"mse": {}}, seed=5)
    values = measure(evaluator, (Batch(part) for part in x.split(sizes)), PROGRESS, CPU)
    mse = (reconstruct_batch(model, Batch(x), seed=5) - x).square().mean().item()
    assert values["mse"] == pytest.approx(mse, rel=1e-5)
    assert evaluator.protocols() == {"mse": PROTOCOL}


def test_outputs_that_cannot_be_averaged_are_those_of_the_mean(make_model: Any, x: Tensor) -> None:
    deterministic = make_model((30,))
    assert not draws_units(deterministic)
    assert "mse" not in Evaluator(deterministic, {"mse": {}}).protocols()
    sphere = make_model((30,), latent={"name": "hypersphere", "dim": 3}, prior="sphere")
    assert not draws_units(sphere)


def _trained(make_model: Any, dim: int, steps: int) -> tuple[Any, Tensor, Tensor]:
    torch.manual_seed(0)
    x = torch.tensor(load_digits().data / 16, dtype=torch.float32)
    train, test = x[:1400], x[1400:]
    model = make_model(
        (64,),
        "unit",
        encoder={"name": "mlp", "hidden": [128]},
        decoder={"name": "mlp", "hidden": [128]},
        latent={"name": "gaussian", "dim": dim},
        loss="bernoulli",
        objective="elbo",
    ).train()
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)
    for _ in range(steps):
        batch = Batch(train[torch.randint(len(train), (64,))])
        optimizer.zero_grad()
        model.terms(model(batch), PROGRESS).total().mean().backward()
        optimizer.step()
    return model.eval(), train, test


@torch.no_grad()
def _errors(model: Any, test: Tensor) -> dict[str, float]:
    batch = Batch(test)
    latent = model.embed(batch)
    z = model.embed(batch, sample=True).z
    reconstructions = {
        "mean": model.generate(latent.mean),
        "draw": model.generate(z),
        "both": reconstruct_batch(model, batch),
    }
    return {name: (x_hat - test).square().mean().item() for name, x_hat in reconstructions.items()}


def test_an_unused_code_reconstructs_as_well_as_the_mean_sample(make_model: Any) -> None:
    model, train, test = _trained(make_model, 50, 100)
    errors = _errors(model, test)
    of_mean = (train.mean(0) - test).square().mean().item()
    assert errors["both"] < min(errors["mean"], errors["draw"])
    assert errors["both"] <= 1.02 * of_mean


def test_a_used_code_reconstructs_as_well_as_its_mean(make_model: Any) -> None:
    model, _, test = _trained(make_model, 8, 1000)
    errors = _errors(model, test)
    assert errors["both"] <= 1.01 * errors["mean"] < errors["draw"]
