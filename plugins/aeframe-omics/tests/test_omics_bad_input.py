"""Bad cells in a run: one sentence with the file and the row, and nothing written; or a list of what was left out."""

from __future__ import annotations

from pathlib import Path

import anndata
import h5py
import numpy as np
import pytest
from omics_files import cells, saved, strings
from scipy.sparse import csr_matrix

from aeframe.testing.error_messages import run_expecting_error, run_expecting_skipped

WORDS = ["modality=omics", "data=h5ad", "data.path=a.h5ad", "batch_size=8", "encoder.hidden=[8]", "latent.dim=2"]
WAY_OUT = "; mend or drop it, or leave such cells out of training with modality.on_error=skip"


def with_counts(changes: dict[tuple[int, int], float], empty: int | None = None) -> anndata.AnnData:
    made = cells()
    dense = made.X.toarray()
    for place, value in changes.items():
        dense[place] = value
    if empty is not None:
        dense[empty] = 0
    made.X = csr_matrix(dense)
    return made


@pytest.mark.parametrize("backed", ["false", "true"])
def test_bad_cells_are_named_or_listed(tmp_path: Path, backed: str) -> None:
    saved(with_counts({(5, 2): np.nan, (7, 0): -1, (11, 3): 0.5}, empty=13), tmp_path)
    told = [
        "dataset 'h5ad' at 'a.h5ad': cell 'c5' (row 5): the count nan of gene 'g2' is not a number",
        "dataset 'h5ad' at 'a.h5ad': cell 'c7' (row 7): the count -1 of gene 'g0' is negative",
        "dataset 'h5ad' at 'a.h5ad': cell 'c11' (row 11): the count 0.5 of gene 'g3' is no whole number (raw "
        "counts may be in a layer: data.layer)",
        "dataset 'h5ad' at 'a.h5ad': cell 'c13' (row 13) is empty: all of its counts are 0",
    ]
    words = [*WORDS, f"data.backed={backed}"]
    assert run_expecting_error(tmp_path, words) == told[0] + WAY_OUT
    assert run_expecting_skipped(tmp_path, [*words, "modality.on_error=skip"]) == told


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["data.layer=count"], " has no layer 'count', did you mean 'counts'?; its layers are counts, choose one with "
         "data.layer=..."),
        (["data.categorical=[bach]"], " has no column 'bach' in obs for a categorical covariate, did you mean 'batch'?;"
         " it has type, batch, age"),
        (["data.views=[protien]", "loss=views"], " has no 'protien' in obsm, did you mean 'protein'?; it has protein"),
    ],
)  # fmt: skip
def test_what_is_missing(tmp_path: Path, words: list[str], told: str) -> None:
    made = cells()
    made.layers["counts"] = made.X.copy()
    saved(made, tmp_path)
    assert run_expecting_error(tmp_path, [*WORDS, *words]) == f"dataset 'h5ad' at 'a.h5ad'{told}"


@pytest.mark.parametrize("on_error", ["raise", "skip"])
def test_genes_of_one_name_are_no_fault_of_a_cell(tmp_path: Path, on_error: str) -> None:
    made = cells()
    made.var_names = strings(["a", "b", "a", "c", "d", "e", "f"])
    saved(made, tmp_path)
    assert run_expecting_error(tmp_path, [*WORDS, f"modality.on_error={on_error}"]) == (
        "dataset 'h5ad' at 'a.h5ad' has 1 gene name more than once, the first is 'a'; make them unique "
        "(AnnData.var_names_make_unique) and save it again"
    )


def test_a_second_view_that_is_not_finite(tmp_path: Path) -> None:
    made = cells()
    made.obsm["protein"][9, 1] = np.nan
    saved(made, tmp_path)
    told = "dataset 'h5ad' at 'a.h5ad': cell 'c9' (row 9) has a value in obsm 'protein' that is not finite"
    words = [*WORDS, "data.views=[protein]", "loss=views"]
    assert run_expecting_error(tmp_path, words) == told + WAY_OUT
    assert run_expecting_skipped(tmp_path, [*words, "modality.on_error=skip"]) == [told]


def damage(path: Path) -> None:
    """Spoil the compressed values of X, which nothing looks at until they are read."""
    with h5py.File(path, "r") as file:
        place = file["X/data"].id.get_chunk_info(0)
    content = bytearray(path.read_bytes())
    content[place.byte_offset : place.byte_offset + 20] = b"\xff" * 20
    path.write_bytes(bytes(content))


@pytest.mark.parametrize("backed", ["false", "true"])
def test_a_file_that_is_damaged_inside(tmp_path: Path, backed: str) -> None:
    path = tmp_path / "a.h5ad"
    cells(400).write_h5ad(path, compression="gzip")
    damage(path)
    told = run_expecting_error(tmp_path, [*WORDS, f"data.backed={backed}"])
    assert told.startswith("dataset 'h5ad' at 'a.h5ad': 'a.h5ad' cannot be read as an AnnData file (")
    assert told.endswith("); write it again with AnnData.write_h5ad")
