"""Read cells in memory: an AnnData, or counts in a data frame, a sparse matrix or an array."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from aeframe.data.samples import as_array, described, is_anndata, is_frame, is_sparse
from aeframe.data.sparse_checks import checked_csr
from aeframe.errors import AeframeError
from aeframe_omics.backed import BackedCounts, BackedDense
from aeframe_omics.cells import CellMetadata, CellTable
from aeframe_omics.counts import Counts, MemoryCounts
from aeframe_omics.layers import RAW_NAMES, MissingLayerError, names_raw, no_view_error, with_counts


def table_of(
    x: Any, *, layer: str | None, views: tuple[str, ...], origin: str, genes: tuple[str, ...] | None = None
) -> CellTable:
    """Return the cells of an AnnData, or of counts ``(N, genes)`` in a data frame, sparse matrix or array.

    The counts of an AnnData in backed mode stay in its file if they are stored as CSR in X.

    Args:
        x: The cells.
        layer: The layer of an AnnData with the counts, ``raw`` for the X of ``raw``; None for X.
        views: The tables of ``obsm`` to return.
        origin: How error messages name x.
        genes: The genes of training, which are then the columns of a matrix without names, and the columns of a data
            frame with counts; its others become ``obs``. None takes all columns of a data frame as genes.

    Raises:
        AeframeError: A layer or a view is missing, the counts are not numbers, or a matrix without names does not have
            the genes of training.
    """
    if is_anndata(x):
        holder = x.raw if names_raw(layer, list(x.layers), x.raw is not None) else x
        metadata = CellMetadata(tuple(str(name) for name in holder.var_names), x.obs, origin)
        tables = {name: _view_of(x, name, origin) for name in views}
        return CellTable(metadata, _counts_of(x, layer, origin), tables, lambda: _other_counts(x, layer))
    if layer is not None or views:
        what = f"layer '{layer}'" if layer is not None else f"'{views[0]}' in obsm"
        raise AeframeError(f"{origin} is {described(x)}, which has no {what}; pass an AnnData")
    if is_frame(x):
        return _table_of_frame(x, genes, origin)
    matrix = x if is_sparse(x) else as_array(x)
    if matrix.ndim != 2 or matrix.dtype.kind not in "fiub":
        raise AeframeError(
            f"{origin} is {described(x)}, expected an AnnData, or counts (cells, genes) in a data frame, a sparse "
            "matrix or an array"
        )
    if genes is not None and len(genes) != matrix.shape[1]:
        raise AeframeError(
            f"{origin} is {described(x)} without names of genes, expected the {len(genes)} genes of training in their "
            "order; pass an AnnData or a data frame, whose genes are matched by name"
        )
    names = tuple(str(number) for number in range(matrix.shape[1])) if genes is None else genes
    counts = MemoryCounts(_as_csr(matrix, origin, "x"))
    return CellTable(CellMetadata(names, _numbered(matrix.shape[0]), origin), counts)


def _as_csr(matrix: Any, origin: str, what: str) -> csr_matrix[Any]:
    """Return a dense or a sparse matrix, whose indices are checked, as CSR."""
    return checked_csr(matrix, origin, what, noun="gene") if is_sparse(matrix) else csr_matrix(matrix)


def _counts_of(adata: Any, layer: str | None, origin: str) -> Counts:
    """Return the counts of a layer of an AnnData, of ``raw``, or of X if `layer` is None."""
    layers, has_raw = [str(name) for name in adata.layers], adata.raw is not None
    is_raw = names_raw(layer, layers, has_raw)
    if layer is not None and layer not in layers and not is_raw:
        raise MissingLayerError(origin, layer, layers, has_raw)
    if layer is None and adata.isbacked and adata.is_view:
        # Reading these counts fails in anndata 0.12 with scipy 1.17.
        raise AeframeError(
            f"{origin} is a view of an AnnData in backed mode, whose counts stay in the file; pass "
            "adata.to_memory()[rows], or name a column of splits: validation='column'"
        )
    matrix: Any = adata.raw.X if is_raw else adata.X if layer is None else adata.layers[layer]
    if matrix is None:
        raise MissingLayerError(origin, None, layers, has_raw)
    if layer is None and adata.isbacked:
        if getattr(matrix, "format", None) == "csr":
            return BackedCounts(Path(adata.filename), "X", origin=origin)
        if not hasattr(matrix, "format"):
            return BackedDense(Path(adata.filename), "X", origin=origin)
    if adata.isbacked and hasattr(matrix, "to_memory"):
        matrix = matrix.to_memory()
    if not (is_sparse(matrix) or isinstance(matrix, np.ndarray)) or matrix.dtype.kind not in "fiub":
        raise AeframeError(
            f"{origin} has {described(matrix)} in {_where(layer)}, expected numbers in a sparse matrix or an array; "
            "convert it with adata.to_memory()"
        )
    return MemoryCounts(_as_csr(matrix, origin, _where(layer)))


def _where(layer: str | None) -> str:
    return "X" if layer is None else "raw/X" if layer in RAW_NAMES else f"layer '{layer}'"


def _other_counts(adata: Any, layer: str | None) -> tuple[str, ...]:
    """Return the matrices of an AnnData with counts besides that of `layer`."""
    matrices = {"X": adata.X, "raw": None if adata.raw is None else adata.raw.X, **dict(adata.layers)}
    used = "X" if layer is None else layer.partition("/")[0]
    return with_counts({name: matrix for name, matrix in matrices.items() if name != used})


def _view_of(adata: Any, name: str, origin: str) -> NDArray[np.float32]:
    """Return a table ``(N, P)`` of ``obsm``."""
    if name not in adata.obsm:
        raise no_view_error(origin, name, [str(key) for key in adata.obsm])
    table: Any = adata.obsm[name]
    if is_sparse(table):
        table = checked_csr(table, origin, f"obsm/{name}", noun="gene").toarray()
    return np.ascontiguousarray(np.asarray(table), np.float32)


def _table_of_frame(frame: Any, genes: tuple[str, ...] | None, origin: str) -> CellTable:
    """Return the cells of a data frame with a column of counts for each gene."""
    names = [str(name) for name in frame.columns]
    columns = dict(zip(names, frame.columns, strict=True))
    is_gene = set(names if genes is None else genes)
    chosen = [name for name in names if name in is_gene]
    text = next((name for name in chosen if as_array(frame[columns[name]]).dtype.kind not in "fiub"), None)
    if text is not None:
        raise AeframeError(
            f"{origin} has the column '{text}' of {frame[columns[text]].dtype}, expected counts of a gene; drop it, or "
            f"name it as y='{text}' or condition='{text}'"
        )
    obs = _numbered(len(frame)) if not hasattr(frame, "index") else pd.DataFrame(index=frame.index.astype(str))
    others = {name: as_array(frame[columns[name]]) for name in names if name not in is_gene}
    matrix = csr_matrix(np.asarray(frame[[columns[name] for name in chosen]].to_numpy(), np.float32))
    return CellTable(CellMetadata(tuple(chosen), obs.assign(**others), origin), MemoryCounts(matrix))


def _numbered(num: int) -> pd.DataFrame:
    """Return ``obs`` without columns; the names of the cells are their rows."""
    return pd.DataFrame(index=pd.Index([str(row) for row in range(num)], dtype=object))
