"""A cell's numbers are its own, whatever it is batched with, wherever it is read from, and on any devices.

No cell is masked: what has no count is a 0, and missing genes are refused.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from omics_files import cells, dataset, saved

from aeframe.data.modality import Splits
from aeframe.testing.samples import expect_own_numbers, expect_same_metrics, numbers, small_model
from aeframe.testing.whole_runs import expect_two_processes_equal_one
from aeframe.types import DataSpec
from aeframe_omics.modality import Omics
from aeframe_omics.simulated import CellsSimulated

torch.set_num_threads(1)
LIKELIHOODS = ("poisson", "negative_binomial", "zero_inflated_negative_binomial")
DISPERSIONS = ("gene_batch", "gene_cell")


def simulated(values: Any = "counts", **options: Any) -> tuple[Omics, DataSpec, Splits]:
    """Return cells whose covariates decoder and encoder are told of."""
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
def test_a_cell_has_its_own_numbers(options: dict[str, Any], parts: dict[str, Any]) -> None:
    modality, spec, splits = simulated(**options)
    expect_own_numbers(small_model(modality, spec, **parts), splits.test.batch(torch.arange(15)))


def test_metrics_are_those_of_any_batches() -> None:
    modality, spec, splits = simulated()
    found = expect_same_metrics(small_model(modality, spec), modality, splits.test)
    assert {"mse", "r2", "poisson_deviance", "ari", "batch_silhouette", "pca_nmi"} <= found.keys()


def test_a_cell_of_a_file_is_that_of_memory_in_whatever_order_it_is_read(tmp_path: Path) -> None:
    path = saved(cells(), tmp_path)
    options = {"label": "type", "categorical": ("batch",), "continuous": ("age",), "views": ("protein",)}
    found = []
    for backed in (False, True):
        modality, data = Omics(), dataset(path, backed=backed, **options)
        model = small_model(modality, modality.spec(data), loss="views")
        source = modality.prepare(data).train
        rows = source.epoch_permutation() if backed else torch.arange(len(source))  # type: ignore[attr-defined]
        parts = [numbers(model, source.batch(each)) for each in rows.split(3 if backed else len(source))]
        found.append({name: torch.cat([part[name] for part in parts])[rows.argsort()] for name in parts[0]})
    for name, value in found[0].items():
        torch.testing.assert_close(found[1][name], value, rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_two_processes_train_what_one_would(tmp_path: Path) -> None:
    # 320 cells to train on, left in their file and read by shuffled blocks; each process reads for itself.
    path = saved(cells(400), tmp_path)
    data = ["data=h5ad", f"data.path={path}", "data.backed=true", "data.label=type", "data.categorical=[batch]"]
    small = ["encoder.hidden=[16]", "latent.dim=4", "batch_size=32"]
    expect_two_processes_equal_one(tmp_path, ["modality=omics", *data, *small])
