"""The von Mises-Fisher mixture sampler, fitted to a known mixture."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn.functional import normalize

import aeframe
from aeframe.errors import AeframeError
from aeframe.factory import build
from aeframe.model.assembly import assemble
from aeframe.model.autoencoder import Autoencoder
from aeframe.parts.distributions.von_mises_fisher import VonMisesFisher
from aeframe.types import DataSpec, Domain

WEIGHTS = torch.tensor([0.2, 0.3, 0.5])
DIRECTIONS = normalize(torch.tensor([[1.0, 0, 0, 0.2], [-1, 1, 0, 0], [0, 0, -1, 1]]), dim=1)
CONCENTRATIONS = torch.tensor([100.0, 20.0, 6.0])


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)


def model_of(dim: int) -> Autoencoder:
    config = {"encoder": "mlp", "latent": {"name": "hypersphere", "dim": dim}, "prior": "sphere", "loss": "mse"}
    return assemble(config, DataSpec((4,), Domain("real"))).eval()


def make(dim: int = 4, **options: Any) -> Any:
    return build("sampler", {"name": "hypersphere", **options}, model=model_of(dim))


def known_mixture(num: int) -> torch.Tensor:
    which = torch.multinomial(WEIGHTS, num, replacement=True)
    return VonMisesFisher(DIRECTIONS[which], CONCENTRATIONS[which]).sample()


def test_it_recovers_a_known_mixture() -> None:
    sampler = make(components=3)
    # Codes of other lengths are normalised.
    sampler.fit(2 * known_mixture(6000), None)
    order = sampler.weights.argsort()
    torch.testing.assert_close(sampler.weights[order], WEIGHTS, atol=0.03, rtol=0)
    torch.testing.assert_close(sampler.directions[order], DIRECTIONS, atol=0.05, rtol=0)
    torch.testing.assert_close(sampler.concentrations[order], CONCENTRATIONS, atol=0, rtol=0.1)
    drawn = sampler.sample(model_of(4), 6000)
    torch.testing.assert_close(drawn.norm(dim=1), torch.ones(6000))
    torch.testing.assert_close(drawn.mean(0), known_mixture(6000).mean(0), atol=0.05, rtol=0)
    torch.testing.assert_close(
        drawn.T @ drawn / 6000,
        known_mixture(6000).T.cov(correction=0) + torch.outer(drawn.mean(0), drawn.mean(0)),
        atol=0.05,
        rtol=0,
    )


@pytest.mark.parametrize("d", [2, 50, 500])
def test_one_component_has_the_mean_cosine_of_the_codes(d: int) -> None:
    sampler = make(d, components=1)
    codes = VonMisesFisher(normalize(torch.ones(d), dim=0).expand(400, d), torch.full((400,), 3.0 * d)).sample()
    sampler.fit(codes, None)
    fitted = VonMisesFisher(sampler.directions, sampler.concentrations)
    torch.testing.assert_close(fitted.mean[0], codes.mean(0), atol=1e-4, rtol=1e-4)


def test_there_are_no_more_components_than_different_codes() -> None:
    sampler = make()
    sampler.fit(DIRECTIONS.repeat(3, 1), None)
    assert int((sampler.weights > 0).sum()) == 3
    drawn = sampler.sample(model_of(4), 200)
    assert float(torch.cdist(drawn, DIRECTIONS).min(1).values.max()) < 0.02


def test_generates_from_a_saved_model(tmp_path: Path) -> None:
    run = aeframe.fit(
        model="svae",
        data="breast_cancer",
        overrides=["encoder.hidden=[4]", "sampler=hypersphere", "sampler.components=3"],
        max_batches=2,
        pictures=False,
        trainer={"threads": 1, "accelerator": "cpu"},
        folder=str(tmp_path / "run"),
    )
    saved = aeframe.load(run.folder)
    weights: Any = saved.sampler.weights
    torch.testing.assert_close(weights.sum(), torch.tensor(1.0))
    assert saved.sample(5, seed=1).shape == (5, 30)
    with pytest.raises(AeframeError) as error:
        saved.with_sampler("gmm")
    assert str(error.value) == (
        "sampler 'gmm' draws codes of euclidean space, and those of model 'svae' live in sphere space"
    )


def test_error_messages() -> None:
    with pytest.raises(AeframeError) as error:
        make(components=0)
    assert str(error.value) == "sampler hypersphere needs components of at least 1, found 0"
    with pytest.raises(AeframeError) as error:
        make().fit(torch.ones(1, 4), None)
    assert str(error.value) == "sampler hypersphere needs at least 2 codes to fit, found 1"
    with pytest.raises(AeframeError) as error:
        make().sample(model_of(4), 3)
    assert str(error.value) == (
        "sampler hypersphere must be fitted before it can sample; fit it to training codes first"
    )
