"""Experiments with a published number start, train two batches and compute the metric of their protocol."""

from __future__ import annotations

from pathlib import Path

import pytest

import aeframe
from aeframe.experiment.compose import compose

# The digits of scikit-learn at the size of MNIST, so that no download is needed.
DIGITS = ["data=digits", "modality.size=28"]


@pytest.mark.parametrize(
    ("experiment", "overrides", "metric"),
    [
        ("mnist_vae", [*DIGITS, "metrics.nll.samples=2"], "nll"),
        ("mnist_svae", [*DIGITS, "metrics.nll.samples=2"], "nll"),
        ("mnist_poincare_vae", [*DIGITS, "metrics.nll.samples=2"], "nll"),
        ("mnist_vqvae", [*DIGITS, "sampler.steps=2"], "nll_with_codes"),
        ("mnist_linear_ae", DIGITS, "mse_of_pca"),
        ("mnist_conv_ae", DIGITS, "mse_of_pca"),
        ("shapes_beta_tc_vae", ["data.images=600"], "mig"),
    ],
)
def test_an_experiment_trains_two_batches(experiment: str, overrides: list[str], metric: str, tmp_path: Path) -> None:
    run = aeframe.fit(
        overrides=[f"experiment={experiment}", *overrides, "max_batches=2", "pictures=false", "verbose=false"],
        folder=str(tmp_path / "run"),
        trainer={"threads": 1, "accelerator": "cpu"},
    )
    assert metric in run.metrics
    rows = run.history
    assert metric in set(rows["name"])
    assert ("nll" in set(rows["name"])) == (metric == "nll")
    assert "nll" not in set(rows[rows["split"] == "val"]["name"])


@pytest.mark.parametrize(
    ("experiment", "samples", "epochs", "batch_size", "dim"),
    [("mnist_vae", 200, 500, 100, 40), ("mnist_svae", 500, 500, 64, 11), ("mnist_poincare_vae", 500, 80, 128, 10)],
)
def test_the_protocol_of_a_published_likelihood(
    experiment: str, samples: int, epochs: int, batch_size: int, dim: int
) -> None:
    config = compose([f"experiment={experiment}"])
    assert config["metrics"]["nll"] == {"samples": samples}
    assert (config["max_epochs"], config["batch_size"], config["latent"]["dim"]) == (epochs, batch_size, dim)
    assert config["modality"]["domain"] == "binary"
