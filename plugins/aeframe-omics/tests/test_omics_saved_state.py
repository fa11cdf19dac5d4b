"""Preparing cells with the genes, covariates and split of an earlier run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import anndata
import numpy as np
import pandas as pd
import pytest
from omics_files import categorical, cells, columns, dataset, saved, strings
from scipy.sparse import vstack

from aeframe.testing.saved_state import assert_state_restores_data
from aeframe_omics.modality import Omics
from aeframe_omics.simulated import CellsSimulated

OPTIONS: dict[str, Any] = {"categorical": ("batch",), "continuous": ("age",), "label": "type"}


def test_the_dataset_cells_simulated() -> None:
    assert_state_restores_data(Omics, lambda: CellsSimulated(cells=60, proteins=3, categorical=("batch",)))


@pytest.mark.parametrize("views", [(), ("protein",)])
def test_cells_added_to_the_file_change_no_split(tmp_path: Path, views: tuple[str, ...]) -> None:
    path, first, others = saved(cells(), tmp_path), cells(), cells(10, seed=5)
    parts = (others, first)
    obs = pd.DataFrame(
        {
            "type": categorical([str(value) for part in parts for value in part.obs["type"]]),
            # A batch without training cells.
            "batch": categorical([*["b9"] * 10, *(str(value) for value in first.obs["batch"])]),
            "age": np.concatenate([part.obs["age"] for part in parts]),
        },
        index=strings([*(f"new{row}" for row in range(10)), *first.obs_names]),
    )
    changed = anndata.AnnData(X=vstack([part.X for part in parts], format="csr"), obs=obs, var=first.var)
    changed.obsm["protein"] = np.concatenate([part.obsm["protein"] for part in parts])
    splits = assert_state_restores_data(
        Omics, lambda: dataset(path, **OPTIONS, views=views), change=lambda: saved(changed, tmp_path)
    )
    assert len(splits.train) == 32


def test_genes_are_matched_by_name(tmp_path: Path) -> None:
    path = saved(cells(), tmp_path)
    assert_state_restores_data(
        Omics, lambda: dataset(path), change=lambda: saved(columns(cells(), [3, 1, 2, 0, 6, 5, 4]), tmp_path)
    )
