"""Saved models without training, for the tests of the explorer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import torch

from aeframe.experiment.checks import check
from aeframe.experiment.compose import compose
from aeframe.factory import build
from aeframe.model.assembly import assemble
from aeframe.model_store.writer import save_model
from aeframe.types import TrainingProgress

MakeModel = Callable[[Sequence[str]], Path]


@pytest.fixture(scope="session")
def make_model(tmp_path_factory: pytest.TempPathFactory) -> MakeModel:
    """Return a function that saves a model without training it, from the overrides of aeframe-train."""

    def make(overrides: Sequence[str]) -> Path:
        torch.set_num_threads(1)
        config = {**compose(["model=vae", *overrides]), "batch_size": 64}
        modality, dataset = build("modality", config["modality"]), build("dataset", config["data"])
        modality.prepare(dataset)
        torch.manual_seed(0)
        model = assemble(config, check(config)[2])
        folder = tmp_path_factory.mktemp("run")
        sampler = build("sampler", config["sampler"], model=model)
        progress = TrainingProgress(batch=9, planned=9)
        save_model(folder / "model", model, modality, config, sampler, metrics={}, progress=progress)
        return folder

    return make


@pytest.fixture(scope="session")
def tables(make_model: MakeModel) -> Path:
    """Return the folder of a model of tables."""
    return make_model(["data=breast_cancer", "latent.dim=4"])
