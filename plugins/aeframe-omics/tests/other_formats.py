"""Small cells in formats other than the current AnnData, for tests; written without the libraries that read them."""

from __future__ import annotations

import gzip
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import anndata
import h5py
import numpy as np
from scipy.sparse import csc_matrix, csr_matrix


def tenx_folder(
    adata: anndata.AnnData,
    folder: Path,
    *,
    zipped: bool = True,
    prefix: str = "",
    features: Sequence[tuple[str, ...]] | None = None,
) -> Path:
    """Write counts as 10x Genomics does, genes by cells; `features` has the columns of each line of the features."""
    folder.mkdir()
    matrix = csc_matrix(adata.X.T).tocoo()
    entries = zip(matrix.row.tolist(), matrix.col.tolist(), matrix.data.tolist(), strict=True)
    lines = [f"{row + 1} {column + 1} {int(value)}" for row, column, value in entries]
    sizes = f"{matrix.shape[0]} {matrix.shape[1]} {matrix.nnz}"
    head = ["%%MatrixMarket matrix coordinate integer general", "%", sizes]
    rows = features or [(f"ENSG{number}", str(name)) for number, name in enumerate(adata.var_names)]
    files = {
        "matrix.mtx": [*head, *lines],
        "features.tsv" if zipped else "genes.tsv": ["\t".join(row) for row in rows],
        "barcodes.tsv": [str(name) for name in adata.obs_names],
    }
    for name, content in files.items():
        data = ("\n".join(content) + "\n").encode()
        path = folder / f"{prefix}{name}{'.gz' if zipped else ''}"
        path.write_bytes(gzip.compress(data) if zipped else data)
    return folder


def tenx_h5(adata: anndata.AnnData, path: Path, *, version: int = 3, types: Sequence[str] | None = None) -> Path:
    """Write counts as an ``.h5`` of Cell Ranger 2 or 3."""
    matrix = csc_matrix(adata.X.T)
    ids, names = [f"ENSG{number}" for number in range(matrix.shape[0])], [str(name) for name in adata.var_names]
    with h5py.File(path, "w") as file:
        group = file.create_group("matrix" if version == 3 else "hg19")
        group["data"], group["indices"], group["indptr"] = matrix.data.astype("i4"), matrix.indices, matrix.indptr
        group["shape"], group["barcodes"] = np.array(matrix.shape, "i4"), np.array(list(adata.obs_names), "S")
        if version == 3:
            group["features/id"], group["features/name"] = np.array(ids, "S"), np.array(names, "S")
            group["features/feature_type"] = np.array(types or ["Gene Expression"] * len(ids), "S")
        else:
            group["genes"], group["gene_names"] = np.array(ids, "S"), np.array(names, "S")
    return path


def old_h5ad(adata: anndata.AnnData, path: Path, *, sparse: bool) -> Path:
    """Write cells as anndata 0.5 and 0.6 did: ``obs`` and ``var`` as records, sparse matrices with other attributes."""
    kinds = [("index", "S8"), ("age", "<f4")]
    rows = zip([str(name) for name in adata.obs_names], adata.obs["age"], strict=True)
    with h5py.File(path, "w") as file:
        file["obs"] = np.array([(name.encode(), age) for name, age in rows], kinds)
        file["var"] = np.array([(str(name).encode(),) for name in adata.var_names], [("index", "S8")])
        if not sparse:
            file["X"] = adata.X.toarray()
            return path
        matrix: Any = csr_matrix(adata.X)
        group = file.create_group("X")
        group.attrs["h5sparse_format"], group.attrs["h5sparse_shape"] = "csr", np.array(matrix.shape)
        group["data"], group["indices"], group["indptr"] = matrix.data, matrix.indices, matrix.indptr
    return path
