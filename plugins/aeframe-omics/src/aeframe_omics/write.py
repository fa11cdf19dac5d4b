"""Write cells, codes and denoised counts to AnnData files."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import anndata
import h5py
import numpy as np
import pandas as pd
from anndata.io import write_elem
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from aeframe.errors import AeframeError
from aeframe_omics.files import CellFile

_MAX_DENSITY = 0.5
"""Matrices with a smaller fraction of non-zero values are written sparse."""


def check_new(path: Path) -> None:
    """Check that a path ends in .h5ad and does not exist.

    Raises:
        AeframeError: The path has another suffix, or exists.
    """
    if path.suffix.lower() != ".h5ad":
        raise AeframeError(f"modality 'omics' writes .h5ad files, not '{path.name}'; end the path in .h5ad")
    if path.exists():
        raise AeframeError(f"'{path}' exists and is not overwritten; remove it, or choose another path")


def as_anndata(
    counts: NDArray[np.float32],
    genes: tuple[str, ...],
    *,
    layer: str | None,
    views: Mapping[str, NDArray[np.float32]],
) -> anndata.AnnData:
    """Return cells with counts ``(cells, genes)`` in X or a layer, and views in obsm."""
    values = _sparse_if_mostly_zero(counts)
    return anndata.AnnData(
        X=values if layer is None else None,
        obs=_index_only(f"cell{row}" for row in range(len(counts))),
        var=_index_only(genes),
        layers=None if layer is None else {layer: values},
        obsm=dict(views),
    )


def write_cells(
    path: Path,
    counts: NDArray[np.float32],
    genes: tuple[str, ...],
    *,
    layer: str | None,
    views: Mapping[str, NDArray[np.float32]],
) -> list[Path]:
    """Write counts ``(cells, genes)`` to X or a layer of a new file, and views to obsm; return the file."""
    check_new(path)
    cells = as_anndata(counts, genes, layer=layer, views=views)
    partial = _partial_path(path)
    cells.write_h5ad(partial, compression="gzip")
    partial.rename(path)
    return [path]


def annotate(
    path: Path,
    out: Path,
    codes: NDArray[np.float32],
    denoised: NDArray[np.float32] | None,
    genes: tuple[str, ...],
    model: str,
) -> list[Path]:
    """Copy a file of cells and add codes and denoised counts to the copy; return the copy.

    Args:
        path: The file of cells.
        out: The path of the copy.
        codes: ``(N, D)``, for ``obsm["X_aeframe"]``.
        denoised: ``(N, genes)``, for ``layers["aeframe"]``; other genes of the file are NaN. None adds no layer.
        genes: The columns of `denoised`.
        model: The name of the model, for ``uns["aeframe"]``.
    """
    metadata = CellFile(path, origin=f"'{path}'").metadata()
    partial = _partial_path(out)
    shutil.copyfile(path, partial)
    with h5py.File(partial, "r+") as file:
        write_elem(file.require_group("obsm"), "X_aeframe", codes)
        if denoised is not None:
            layer = np.full((len(metadata.obs), len(metadata.genes)), np.nan, np.float32)
            columns = {name: column for column, name in enumerate(metadata.genes)}
            layer[:, [columns[name] for name in genes]] = denoised
            write_elem(file.require_group("layers"), "aeframe", layer, dataset_kwargs={"compression": "gzip"})
        write_elem(file.require_group("uns"), "aeframe", {"model": model})
    partial.rename(out)
    return [out]


def _partial_path(path: Path) -> Path:
    """Return the temporary path of a file that is renamed when it is complete; create its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    return path.with_name(f".{path.name}.partial")


def _index_only(names: Iterable[str]) -> pd.DataFrame:
    """Return a data frame without columns."""
    return pd.DataFrame(index=pd.Index(list(names)))


def _sparse_if_mostly_zero(values: NDArray[np.float32]) -> NDArray[np.float32] | csr_matrix[Any]:
    """Return a matrix as CSR if most of its values are zero."""
    return csr_matrix(values) if np.count_nonzero(values) < _MAX_DENSITY * values.size else values
