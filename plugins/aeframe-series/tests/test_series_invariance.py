"""Results of a window do not depend on missing values, on its batch or on the number of processes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from series_files import csv, values

from aeframe.data.modality import Splits
from aeframe.testing.batch_invariance import (
    expect_batch_invariance,
    expect_invariant_metrics,
    outputs_per_sample,
    small_model,
)
from aeframe.testing.two_process_run import expect_two_processes_equal_one
from aeframe.types import DataSpec
from aeframe_series.modality import Series
from aeframe_series.simulated import SeriesSimulated

torch.set_num_threads(1)


def simulated() -> tuple[Series, DataSpec, Splits]:
    """Return windows of 16 time steps with anomalies and missing values."""
    modality = Series(window=16, stride=3, missing="mask")
    data = SeriesSimulated(rows=600, anomalies=8, missing=0.1)
    return modality, modality.spec(data), modality.prepare(data)


@pytest.mark.parametrize("parts", [{}, {"encoder": {"name": "mlp", "hidden": [8]}, "loss": "mae"}])
def test_results_of_a_window_depend_on_it_alone(parts: dict[str, Any]) -> None:
    modality, spec, splits = simulated()
    batch = splits.test.batch(torch.arange(len(splits.test)))
    assert batch.mask is not None
    assert not batch.mask.all()
    expect_batch_invariance(small_model(modality, spec, **parts), batch)


def test_metrics_do_not_depend_on_the_batches() -> None:
    modality, spec, splits = simulated()
    metrics = expect_invariant_metrics(small_model(modality, spec), modality, splits.test)
    assert {"mse", "mae", "r2", "anomaly_auroc", "anomaly_ap"} <= metrics.keys()


def test_padding_does_not_change_other_windows(tmp_path: Path) -> None:
    modality, spec, _ = simulated()
    model = small_model(modality, spec)
    rows = np.random.default_rng(1).normal(size=(40, spec.shape[0]))
    np.save(tmp_path / "whole.npy", rows)
    np.save(tmp_path / "longer.npy", np.concatenate([rows, rows]))
    # The last window of the first file is padded after row 40, at which the second file continues.
    padded, longer = (
        outputs_per_sample(model, modality.read(tmp_path / f"{name}.npy")) for name in ("whole", "longer")
    )
    assert len(padded["code"]) == 3
    for name, value in padded.items():
        torch.testing.assert_close(value[:2], longer[name][:2], rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_two_processes_train_the_same_model_as_one(tmp_path: Path) -> None:
    rows = values(300)
    rows[20::17, 1] = np.nan
    path = csv(tmp_path, rows)
    # 224 training windows.
    data = ["data=series_file", f"data.path={path}", "data.time=date", "data.bounds=[0,239,270,300]"]
    options = ["modality.window=16", "modality.missing=mask", "encoder.channels=[4,8]", "latent.dim=4", "batch_size=32"]
    expect_two_processes_equal_one(tmp_path, ["modality=series", *data, *options])
