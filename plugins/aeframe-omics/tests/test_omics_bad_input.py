"""Unusable cells in a run: an error that names file and row and leaves no files, or a list of the skipped cells."""

from __future__ import annotations

from pathlib import Path

import anndata
import h5py
import numpy as np
import pytest
from omics_files import cells, saved, strings
from scipy.sparse import csr_matrix

from aeframe.testing.error_messages import run_expecting_error, run_expecting_skipped

OVERRIDES = ["modality=omics", "data=h5ad", "data.path=a.h5ad", "batch_size=8", "encoder.hidden=[8]", "latent.dim=2"]
NEXT_STEP = "; correct or remove it, or set modality.on_error=skip to leave such cells out of training"


def with_counts(changes: dict[tuple[int, int], float], empty: int | None = None) -> anndata.AnnData:
    adata = cells()
    dense = adata.X.toarray()
    for cell_and_gene, value in changes.items():
        dense[cell_and_gene] = value
    if empty is not None:
        dense[empty] = 0
    adata.X = csr_matrix(dense)
    return adata


@pytest.mark.parametrize("backed", ["false", "true"])
def test_unusable_cells_are_reported_or_skipped(tmp_path: Path, backed: str) -> None:
    saved(with_counts({(5, 2): np.nan, (7, 0): -1, (11, 3): 0.5}, empty=13), tmp_path)
    messages = [
        "dataset 'h5ad' at 'a.h5ad': cell 'c5' (row 5): the count nan of gene 'g2' is not a number",
        "dataset 'h5ad' at 'a.h5ad': cell 'c7' (row 7): the count -1 of gene 'g0' is negative",
        "dataset 'h5ad' at 'a.h5ad': cell 'c11' (row 11): the count 0.5 of gene 'g3' is not a whole number",
        "dataset 'h5ad' at 'a.h5ad': cell 'c13' (row 13) is empty: all of its counts are 0",
    ]
    run = [*OVERRIDES, f"data.backed={backed}"]
    assert run_expecting_error(tmp_path, run) == messages[0] + NEXT_STEP
    assert run_expecting_skipped(tmp_path, [*run, "modality.on_error=skip"]) == messages


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["data.layer=count"], " has no layer 'count', did you mean 'counts'?; its layers are counts; choose one with "
         "data.layer=..."),
        (["data.categorical=[bach]"], " has no column 'bach' in obs for a categorical covariate, did you mean 'batch'?;"
         " it has type, batch, age"),
        (["data.views=[protien]", "loss=views"], " has no 'protien' in obsm, did you mean 'protein'?; it has protein"),
    ],
)  # fmt: skip
def test_missing_elements_are_errors(tmp_path: Path, overrides: list[str], message: str) -> None:
    adata = cells()
    adata.layers["counts"] = adata.X.copy()
    saved(adata, tmp_path)
    assert run_expecting_error(tmp_path, [*OVERRIDES, *overrides]) == f"dataset 'h5ad' at 'a.h5ad'{message}"


@pytest.mark.parametrize("on_error", ["raise", "skip"])
def test_repeated_genes_are_an_error_whatever_on_error(tmp_path: Path, on_error: str) -> None:
    adata = cells()
    adata.var_names = strings(["a", "b", "a", "c", "d", "e", "f"])
    saved(adata, tmp_path)
    assert run_expecting_error(tmp_path, [*OVERRIDES, f"modality.on_error={on_error}"]) == (
        "dataset 'h5ad' at 'a.h5ad' has 1 gene name more than once, the first is 'a'; make them unique "
        "(AnnData.var_names_make_unique) and save it again"
    )


def test_a_view_that_is_not_finite_is_reported_or_skipped(tmp_path: Path) -> None:
    adata = cells()
    adata.obsm["protein"][9, 1] = np.nan
    saved(adata, tmp_path)
    message = "dataset 'h5ad' at 'a.h5ad': cell 'c9' (row 9) has a value in obsm 'protein' that is not finite"
    run = [*OVERRIDES, "data.views=[protein]", "loss=views"]
    assert run_expecting_error(tmp_path, run) == message + NEXT_STEP
    assert run_expecting_skipped(tmp_path, [*run, "modality.on_error=skip"]) == [message]


def damage(path: Path) -> None:
    """Damage the compressed values of X, which is detected only when they are read."""
    with h5py.File(path, "r") as file:
        chunk = file["X/data"].id.get_chunk_info(0)
    content = bytearray(path.read_bytes())
    content[chunk.byte_offset : chunk.byte_offset + 20] = b"\xff" * 20
    path.write_bytes(bytes(content))


@pytest.mark.parametrize("backed", ["false", "true"])
def test_damaged_values_are_an_error(tmp_path: Path, backed: str) -> None:
    path = tmp_path / "a.h5ad"
    cells(400).write_h5ad(path, compression="gzip")
    damage(path)
    message = run_expecting_error(tmp_path, [*OVERRIDES, f"data.backed={backed}"])
    assert message.startswith("dataset 'h5ad' at 'a.h5ad': 'a.h5ad' cannot be read as an AnnData file (")
    assert message.endswith("); write it again with AnnData.write_h5ad")
