"""With 3 to 50 samples, every modality trains, or says which number to change; from memory as from files."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import aeframe
from aeframe.errors import AeframeError
from aeframe.registry import registry

RNG = np.random.default_rng(0)


def cells(num: int) -> Any:
    anndata = pytest.importorskip("anndata")
    counts = RNG.poisson(2.0, (num, 6)).astype(np.float32) + 1
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return anndata.AnnData(X=counts)


# Samples, and settings of a small model of them.
CASES: dict[str, tuple[Callable[[int], Any], dict[str, Any], str]] = {
    "vector": (lambda num: RNG.normal(size=(num, 4)), {}, "rows"),
    "image": (lambda num: RNG.integers(0, 256, (num, 8, 8), np.uint8), {"encoder": {"channels": [4]}}, "images"),
    "text": (lambda num: [f"a cat {number}" for number in range(num)], {"encoder": {"embedding": 4}}, "texts"),
    "audio": (
        lambda num: [RNG.uniform(-0.5, 0.5, 400) for _ in range(num)],
        {"modality": {"seconds": 0.1}, "data": {"rate": 4000}, "encoder": {"channels": [4, 6, 8]}},
        "sounds",
    ),
    "video": (lambda num: RNG.integers(0, 256, (num, 4, 16, 16), np.uint8), {"modality": {"frames": 4}}, "videos"),
    "omics": (cells, {}, "cells"),
}


@pytest.mark.parametrize("modality", CASES)
def test_few_samples(modality: str, tmp_path: Path) -> None:
    if not registry().has("modality", modality):
        pytest.skip(f"modality '{modality}' comes with a plugin that is not installed")
    make, options, noun = CASES[modality]
    quick = {"model": "ae", "latent": {"dim": 2}, "max_batches": 1, "pictures": False, "folder": tmp_path / "run"}
    cpu = {"threads": 1, "accelerator": "cpu"}
    settings = {**quick, **options, "modality": {"name": modality, **options.get("modality", {})}, "trainer": cpu}
    with pytest.raises(AeframeError) as error:
        aeframe.fit(make(3), **settings)
    assert str(error.value) == (
        f"fit has too few {noun}, 3: 1 for validation and 1 for test leave 1 for training, which needs at least 2; add "
        f"{noun}, or lower validation and test"
    )
    with pytest.raises(AeframeError) as error:
        aeframe.fit(make(10), **settings, batch_size=64)
    assert str(error.value) == "batch_size=64 is larger than the 8 training samples; set batch_size=8 or less"
    # A batch size that is not set fits the data.
    run = aeframe.fit(make(10), **settings)
    assert run.model.config["batch_size"] == 4
    assert np.isfinite(run.metrics["reconstruction"])


def test_few_steps_of_a_series(tmp_path: Path) -> None:
    if not registry().has("modality", "series"):
        pytest.skip("modality 'series' comes with a plugin that is not installed")
    x = RNG.normal(size=(50, 2))
    series = {"name": "series", "window": 8}
    with pytest.raises(AeframeError, match=r"the train split has 6 rows, expected at least one window of 8; lower"):
        aeframe.fit(x[:10], model="ae", modality=series, folder=tmp_path / "run")
    with pytest.raises(AeframeError, match=r"batch_size=64 is larger than the 23 training samples; set batch_size=23"):
        aeframe.fit(x, model="ae", modality=series, batch_size=64, folder=tmp_path / "run")
