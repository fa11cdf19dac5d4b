"""Point latents: the code of the identity, and the statistics of the noise on z."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from aeframe.factory import build
from aeframe.model.assembly import assemble
from aeframe.parts.latents.point import PointLatent
from aeframe.types import Batch, DataSpec, Domain, TrainingProgress

SHAPE = (4, 3, 3)
LATENTS: list[dict[str, Any]] = [
    {"name": "point", "dim": 6},
    {"name": "point", "dim": 2, "spatial": True, "activation": "tanh"},
    {"name": "identity"},
    {"name": "identity", "norm": "layer"},
]


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)


def latent_with(config: dict[str, Any], **options: Any) -> PointLatent:
    latent = build("latent", {**config, **options}, feature_shape=SHAPE)
    assert isinstance(latent, PointLatent)
    return latent


@pytest.mark.parametrize("config", LATENTS)
def test_without_noise_z_is_the_mean_and_no_random_number_is_drawn(config: dict[str, Any]) -> None:
    latent, features = latent_with(config), torch.randn(5, *SHAPE)
    state = torch.get_rng_state()
    latent.on_progress(TrainingProgress(planned=10))
    found = latent(features, sample=True)
    assert found.z is found.mean
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("config", LATENTS)
def test_noise_is_on_z_in_training_only(config: dict[str, Any]) -> None:
    latent, features = latent_with(config, noise=0.5), torch.randn(2000, *SHAPE)
    found = latent(features, sample=True)
    noise = found.z - found.mean
    torch.testing.assert_close(noise.std().item(), 0.5, rtol=0.05, atol=0)
    torch.testing.assert_close(noise.mean().item(), 0.0, rtol=0, atol=0.02)
    # The mean has none: it is the code of the same latent without noise.
    torch.testing.assert_close(found.mean, latent(features, sample=False).z, rtol=0, atol=0)
    latent.eval()
    assert torch.equal(latent(features, sample=True).z, found.mean)


@pytest.mark.parametrize(("scale", "mean_of_std"), [("uniform", 0.5), ("half_normal", (2 / torch.pi) ** 0.5)])
def test_each_sample_has_its_own_standard_deviation(scale: str, mean_of_std: float) -> None:
    latent = latent_with({"name": "identity"}, noise=2.0, noise_scale=scale)
    features = torch.zeros(4000, 100, 2, 2)
    stds = latent(features, sample=True).z.flatten(1).std(1)
    torch.testing.assert_close(stds.mean().item(), 2.0 * mean_of_std, rtol=0.05, atol=0)
    # Second moment: that of |N(0, 1)| is 1, of the uniform 1/3.
    second = 1.0 if scale == "half_normal" else 1 / 3
    torch.testing.assert_close(stds.square().mean().item(), 4.0 * second, rtol=0.08, atol=0)
    if scale == "uniform":
        assert stds.max() < 2.0 * 1.3


def test_a_schedule_changes_the_noise() -> None:
    latent = latent_with({"name": "identity"}, noise={"name": "linear", "start": 0.0, "end": 1.0})
    features = torch.zeros(1000, *SHAPE)
    for batch, expected in ((0, 0.0), (5, 0.5), (10, 1.0)):
        latent.on_progress(TrainingProgress(batch=batch, planned=10))
        torch.testing.assert_close(latent(features, sample=True).z.std().item(), expected, rtol=0.05, atol=0)


def test_noise_has_no_place_in_the_saved_weights() -> None:
    assert list(latent_with({"name": "identity"}, noise=0.5).state_dict()) == []


def test_a_model_trains_with_noise_and_embeds_without() -> None:
    spec = DataSpec((6,), Domain("real"))
    config = {
        "encoder": {"name": "mlp", "hidden": (4,)},
        "latent": {"name": "identity", "noise": 1.0},
        "loss": "mse",
    }
    model, batch = assemble(config, spec), Batch(torch.randn(3, 6))
    model.train()
    assert not torch.equal(model(batch).latent.z, model(batch).latent.z)
    torch.testing.assert_close(model.embed(batch).z, model.embed(batch).z, rtol=0, atol=0)
    assert torch.equal(model.embed(batch).z, model.encode_features(batch))
    model.eval()
    assert torch.equal(model(batch).latent.z, model.embed(batch).z)


def test_layer_norm_by_hand() -> None:
    latent, features = latent_with({"name": "identity", "norm": "layer"}), torch.randn(2, *SHAPE)
    centred = features - features.mean(1, keepdim=True)
    expected = centred / (centred.square().mean(1, keepdim=True) + 1e-5).sqrt()
    torch.testing.assert_close(latent(features, sample=False).z, expected)
    assert latent.shape == SHAPE
