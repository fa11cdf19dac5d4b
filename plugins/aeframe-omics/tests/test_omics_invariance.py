"""Losses and metrics of a cell do not depend on its batch, on where counts are stored or on the number of devices.

Omics batches have no mask: absent counts are 0, and missing genes are an error.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from omics_files import cells, dataset, saved

from aeframe.data.modality import Splits
from aeframe.testing.batch_invariance import (
    expect_batch_invariance,
    expect_invariant_metrics,
    outputs_per_sample,
    small_model,
)
from aeframe.testing.two_process_run import expect_two_processes_equal_one
from aeframe.types import DataSpec
from aeframe_omics.modality import Omics
from aeframe_omics.simulated import CellsSimulated

torch.set_num_threads(1)
LIKELIHOODS = ("poisson", "negative_binomial", "zero_inflated_negative_binomial")
DISPERSIONS = ("gene_batch", "gene_cell")


def simulated(values: Any = "counts", **options: Any) -> tuple[Omics, DataSpec, Splits]:
    """Return cells with covariates."""
    modality = Omics(values=values)
    data = CellsSimulated(cells=150, genes=30, categorical=("batch",), continuous=("total",), **options)
    return modality, modality.spec(data), modality.prepare(data)


@pytest.mark.parametrize(
    ("options", "parts"),
    [
        *(({}, {"loss": name}) for name in LIKELIHOODS),
        *(({}, {"loss": {"name": name, "dispersion": d}}) for name in LIKELIHOODS[1:] for d in DISPERSIONS),
        ({}, {"encoder": {"name": "counts_mlp", "normalise": True}}),
        ({"proteins": 4}, {"loss": "views"}),
        ({"values": "log"}, {"encoder": "mlp", "loss": "gaussian"}),
    ],
)
def test_a_cell_does_not_depend_on_its_batch(options: dict[str, Any], parts: dict[str, Any]) -> None:
    modality, spec, splits = simulated(**options)
    expect_batch_invariance(small_model(modality, spec, **parts), splits.test.batch(torch.arange(15)))


def test_metrics_do_not_depend_on_batches() -> None:
    modality, spec, splits = simulated()
    found = expect_invariant_metrics(small_model(modality, spec), modality, splits.test)
    assert {"mse", "r2", "poisson_deviance", "ari", "batch_silhouette", "pca_nmi"} <= found.keys()


def test_backed_and_in_memory_cells_have_the_same_losses(tmp_path: Path) -> None:
    path = saved(cells(), tmp_path)
    options = {"label": "type", "categorical": ("batch",), "continuous": ("age",), "views": ("protein",)}
    results = []
    for backed in (False, True):
        modality, data = Omics(), dataset(path, backed=backed, **options)
        model = small_model(modality, modality.spec(data), loss="views")
        source = modality.prepare(data).train
        rows = source.epoch_permutation() if backed else torch.arange(len(source))  # type: ignore[attr-defined]
        parts = [outputs_per_sample(model, source.batch(chunk)) for chunk in rows.split(3 if backed else len(source))]
        results.append({name: torch.cat([part[name] for part in parts])[rows.argsort()] for name in parts[0]})
    for name, value in results[0].items():
        torch.testing.assert_close(results[1][name], value, rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_two_processes_train_the_same_model_as_one(tmp_path: Path) -> None:
    # 320 training cells in a backed file, read in shuffled blocks by each process.
    path = saved(cells(400), tmp_path)
    data = ["data=h5ad", f"data.path={path}", "data.backed=true", "data.label=type", "data.categorical=[batch]"]
    small = ["encoder.hidden=[16]", "latent.dim=4", "batch_size=32"]
    expect_two_processes_equal_one(tmp_path, ["modality=omics", *data, *small])
