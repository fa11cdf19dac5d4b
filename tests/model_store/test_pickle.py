"""A trained model of every modality and sampler is pickled and copied, and works in another process."""

from __future__ import annotations

import copy
import io
import multiprocessing
import pickle  # noqa: TID251 -- users pickle models to send them to other processes
from collections.abc import Callable
from typing import Any

import pytest
import torch

from aeframe.experiment.checks import check
from aeframe.experiment.compose import compose
from aeframe.factory import build
from aeframe.model.assembly import assemble
from aeframe.model.autoencoder import Autoencoder
from aeframe.model_store.trained_model import TrainedModel
from aeframe.registry import registry
from aeframe.types import TrainingProgress

Save = Callable[..., tuple[TrainedModel, Autoencoder]]


def copies(model: TrainedModel) -> list[TrainedModel]:
    saved = io.BytesIO()
    torch.save(model, saved)
    saved.seek(0)
    return [pickle.loads(pickle.dumps(model)), torch.load(saved, weights_only=False), copy.deepcopy(model)]


@pytest.mark.parametrize("modality", registry().names("modality"))
def test_a_trained_model_of_every_modality_pickles_and_copies(modality: str) -> None:
    config = compose([f"modality={modality}", "model=ae"])
    prepared, dataset, spec = check(config)
    splits = prepared.prepare(dataset)
    model = assemble(config, spec).eval()
    sampler = build("sampler", {"name": "prior"}, model=model)
    trained = TrainedModel(
        model, prepared, sampler, config, spec, TrainingProgress(batch=1, planned=1), torch.device("cpu")
    )
    batch = splits.test.batch(torch.arange(2))
    expected = trained.encode(batch)
    for each in copies(trained):
        assert torch.equal(each.encode(batch), expected)
        assert each.spec == spec
        assert each.modality.state().keys() == prepared.state().keys()


QUANTIZED: dict[str, Any] = {
    "latent": {"name": "vq", "dim": 2, "codebook_size": 8, "tokens": 4},
    "objective": "deterministic",
}
SPHERE: dict[str, Any] = {"latent": {"name": "hypersphere", "dim": 3}, "prior": "sphere"}
SAMPLERS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "prior": ({}, {}),
    "gmm": ({"components": 2}, {}),
    "kde": ({}, {}),
    "flow": ({"steps": 2}, {}),
    "two_stage": ({"steps": 2}, {}),
    "hypersphere": ({"components": 2}, SPHERE),
    "riemannian": ({"num_steps": 2}, {"latent": {"name": "riemannian", "dim": 3}}),
    "codes": ({}, QUANTIZED),
    "autoregressive": ({"steps": 2}, QUANTIZED),
}


def test_every_sampler_is_listed() -> None:
    assert {entry.name for entry in registry().plugins[0].entries if entry.kind == "sampler"} == set(SAMPLERS)


@pytest.mark.parametrize("name", SAMPLERS)
def test_a_trained_model_with_every_sampler_pickles_and_copies(save: Save, name: str) -> None:
    options, parts = SAMPLERS[name]
    model, _ = save(sampler={"name": name, **options}, **parts)
    expected = model.sample(3, seed=0)
    for each in copies(model):
        assert torch.equal(each.sample(3, seed=0), expected)


def test_a_trained_model_works_in_another_process(save: Save) -> None:
    model, _ = save()
    x = torch.randn(4, 30)
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert torch.allclose(pool.apply(model.encode, (x,)), model.encode(x), atol=1e-6)
