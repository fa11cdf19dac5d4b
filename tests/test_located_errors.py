"""Where anomalies are, in the words of each modality."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from aeframe.data.modality import Modality
from aeframe.factory import build
from aeframe.registry import registry
from aeframe.types import Batch


def prepared(name: str, dataset: dict[str, Any], **options: Any) -> tuple[Modality, Batch]:
    """Return a modality with the state of a dataset, and two of its samples."""
    if not registry().has("modality", name):
        pytest.skip(f"modality '{name}' comes with a plugin that is not installed")
    modality: Modality = build("modality", {"name": name, **options})
    data = build("dataset", dataset)
    modality.spec(data)
    return modality, modality.prepare(data).train.batch(torch.tensor([0, 1]))


def one_error(batch: Batch, *place: int) -> torch.Tensor:
    errors = torch.zeros(batch.x.shape)
    errors[(slice(None), *place)] = 2.0
    return errors


def test_pictures() -> None:
    modality, batch = prepared("image", {"name": "digits"})
    assert modality.locate_errors(one_error(batch, 0, 3, 5), batch) == ["row 3, column 5"] * 2


def test_sounds() -> None:
    sounds = {"name": "vowels_simulated", "sounds": 60, "rate": 4000, "seconds": (0.06, 0.1)}
    modality, batch = prepared("audio", sounds, seconds=0.05)
    # A fiftieth of 200 samples at 4 kHz are 4 samples, a millisecond.
    assert modality.locate_errors(one_error(batch, 0, 101), batch) == ["0.025 to 0.026 s"] * 2


def test_texts() -> None:
    modality, batch = prepared("text", {"name": "sentences"}, tokeniser="characters")
    texts: Any = modality.restore_samples(batch.x)
    found = modality.locate_errors(one_error(batch, 2), batch)
    assert found == [f"{text[2]!r} at 2" for text in texts]


def test_cells() -> None:
    modality, batch = prepared("omics", {"name": "cells_simulated"})
    errors = one_error(batch, 4) + 0.5 * one_error(batch, 1)
    genes: Any = modality.state()["genes"]
    assert modality.locate_errors(errors, batch) == [f"{genes[4]}, {genes[1]}"] * 2


def test_series() -> None:
    modality, batch = prepared("series", {"name": "series_simulated", "columns": 3}, window=8)
    columns = modality.state()["columns"] or ["0", "1", "2"]
    assert modality.locate_errors(one_error(batch, 2, 6), batch) == [f"{columns[2]}, step 6"] * 2
