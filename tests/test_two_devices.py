"""Two processes train the model that one would: whole runs, from the command line to the saved model."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from aeframe.testing.two_process_run import expect_two_processes_equal_one

pytestmark = pytest.mark.slow

# What draws no noise in training: where a run draws, each device draws its own.
RUNS = {
    "ae": ["model=ae"],
    "clipped, averaged, with two batches in a step": ["model=ae", "clip=0.5", "ema=0.9", "accumulate=2"],
    "a codebook": ["model=vqvae", "latent.codebook_size=16"],
}


@pytest.mark.parametrize("words", RUNS.values(), ids=RUNS)
def test_two_processes_train_what_one_would(words: list[str], tmp_path: Path) -> None:
    # 384 to train on: every batch is whole, and can be shared equally.
    np.save(tmp_path / "rows.npy", np.random.default_rng(0).normal(size=(480, 6)) @ np.diag([3, 2, 1, 1, 0.5, 0.1]))
    data = ["data=table", f"data.path={tmp_path / 'rows.npy'}", "batch_size=32"]
    small = ["encoder.hidden=[32,16]", "latent.dim=4"]
    expect_two_processes_equal_one(tmp_path, [*data, *small, *words])
