"""Write cells to AnnData files."""

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

_SPARSE = 0.5
"""Values of which less than this share is not zero are written sparse."""


def check_new(path: Path) -> None:
    """Refuse another suffix than .h5ad, and a file that exists."""
    if path.suffix.lower() != ".h5ad":
        raise AeframeError(f"modality 'omics' writes .h5ad files, not '{path.name}'; end the path in .h5ad")
    if path.exists():
        raise AeframeError(f"'{path}' exists, and nothing is overwritten; remove it, or write elsewhere")


def write_cells(
    path: Path,
    counts: NDArray[np.float32],
    genes: tuple[str, ...],
    *,
    layer: str | None,
    views: Mapping[str, NDArray[np.float32]],
) -> list[Path]:
    """Write ``(cells, genes)`` into X, or into a layer, and views into obsm."""
    check_new(path)
    values = compact(counts)
    cells = anndata.AnnData(
        X=values if layer is None else None,
        obs=_named(f"cell{row}" for row in range(len(counts))),
        var=_named(genes),
        layers=None if layer is None else {layer: values},
        obsm=dict(views),
    )
    partial = _beside(path)
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
    """Copy a file of cells, and add codes ``(N, D)`` and denoised counts ``(N, genes)`` to the copy.

    Everything else in it stays as it is, byte for byte.
    """
    known = CellFile(path, origin=f"'{path}'").known()
    partial = _beside(out)
    shutil.copyfile(path, partial)
    with h5py.File(partial, "r+") as file:
        write_elem(file.require_group("obsm"), "X_aeframe", codes)
        if denoised is not None:
            layer = np.full((len(known.obs), len(known.genes)), np.nan, np.float32)
            place = {name: column for column, name in enumerate(known.genes)}
            layer[:, [place[name] for name in genes]] = denoised
            write_elem(file.require_group("layers"), "aeframe", layer, dataset_kwargs={"compression": "gzip"})
        write_elem(file.require_group("uns"), "aeframe", {"model": model})
    partial.rename(out)
    return [out]


def _beside(path: Path) -> Path:
    """Return where a file is written before it is moved to its place, so that nobody finds a half of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    return path.with_name(f".{path.name}.partial")


def _named(names: Iterable[str]) -> pd.DataFrame:
    # Strings as objects: anndata has no way to write those that pandas 3 keeps as Arrow.
    return pd.DataFrame(index=pd.Index(list(names), dtype=object))


def compact(values: NDArray[np.float32]) -> NDArray[np.float32] | csr_matrix[Any]:
    """Return values as CSR where most of them are zero."""
    return csr_matrix(values) if np.count_nonzero(values) < _SPARSE * values.size else values
