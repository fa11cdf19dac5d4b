"""Outputs for a row depend neither on its missing values nor on the other rows of the batch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from aeframe.data.tabular import Numbers
from aeframe.data.vector import Vector
from aeframe.testing.batch_invariance import expect_batch_invariance, expect_invariant_metrics, small_model

torch.set_num_threads(1)


def table(folder: Path, missing: float) -> Numbers:
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(80, 6)) * [1.0, 10.0, 0.1, 1.0, 5.0, 2.0]
    rows[rng.random(rows.shape) < missing] = np.nan
    np.save(folder / "rows.npy", rows)
    return Numbers(path=str(folder / "rows.npy"))


@pytest.mark.parametrize("missing", [0.0, 0.2])
@pytest.mark.parametrize("parts", [{}, {"loss": "mae"}, {"loss": {"name": "gaussian", "variance": "learned"}}])
def test_a_row_has_its_own_numbers(tmp_path: Path, parts: dict[str, Any], missing: float) -> None:
    modality, dataset = Vector(missing="mask"), table(tmp_path, missing)
    model = small_model(modality, modality.spec(dataset), **parts)
    source = modality.prepare(dataset).test
    batch = source.batch(torch.arange(len(source)))
    assert batch.mask is not None
    assert bool(batch.mask.all()) == (missing == 0)
    expect_batch_invariance(model, batch)
    expect_invariant_metrics(model, modality, source)
