"""Write cells, codes and denoised counts to AnnData files."""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import anndata
import h5py
import numpy as np
import pandas as pd
from anndata.io import write_elem
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from aeframe.data.notes import Notes
from aeframe.errors import AeframeError, first_sentence
from aeframe_omics.cells import CellMetadata
from aeframe_omics.files import AnnDataFile, open_cells
from aeframe_omics.layers import RAW_NAMES
from aeframe_omics.stores import is_zarr

_CHUNK_VALUES = 1 << 17
"""Values of a chunk of a dense matrix."""
_MAX_DENSITY = 0.5
"""Matrices with a smaller fraction of non-zero values are written sparse."""


def check_suffix(path: Path) -> None:
    """Raise AeframeError unless a path ends in .h5ad."""
    if path.suffix.lower() != ".h5ad":
        raise AeframeError(f"modality 'omics' writes .h5ad files, not '{path.name}'; end the path in .h5ad")


def as_anndata(
    counts: NDArray[np.float32],
    genes: tuple[str, ...],
    *,
    layer: str | None,
    views: Mapping[str, NDArray[np.float32]],
    names: Sequence[str] | None = None,
) -> anndata.AnnData:
    """Return cells with counts ``(cells, genes)`` in X, in ``raw`` or a layer, and views in obsm.

    Args:
        counts: The counts.
        genes: The names of the genes.
        layer: Where training had the counts; None for X.
        views: Tables ``(cells, columns)``.
        names: The names of the cells; None for ``cell0``, ``cell1``, ...
    """
    values = _sparse_if_mostly_zero(counts)
    is_raw = layer in RAW_NAMES
    with warnings.catch_warnings():
        # Of names that several cells share, as in the file that they are of.
        warnings.simplefilter("ignore", UserWarning)
        return anndata.AnnData(
            X=values if layer is None else None,
            obs=_index_only((f"cell{row}" for row in range(len(counts))) if names is None else names),
            var=_index_only(genes),
            layers=None if layer is None or is_raw else {layer: values},
            obsm=dict(views),
            raw={"X": values, "var": _index_only(genes)} if is_raw else None,
        )


def write_cells(
    path: Path,
    counts: NDArray[np.float32],
    genes: tuple[str, ...],
    *,
    layer: str | None,
    views: Mapping[str, NDArray[np.float32]],
    names: Sequence[str] | None = None,
) -> list[Path]:
    """Write counts ``(cells, genes)`` to X, ``raw`` or a layer of a new file, and views to obsm; return the file."""
    cells = as_anndata(counts, genes, layer=layer, views=views, names=names)
    cells.write_h5ad(path, compression="gzip")
    return [path]


class Annotations:
    """A copy of a file of cells to which codes and denoised counts are added, batch by batch.

    Use it in a ``with`` statement, which renames the complete file, or removes it after an error. Codes are
    ``obsm["X_aeframe"]``, denoised counts ``layers["aeframe"]``. Rows that are not written are NaN, and so are genes
    that are not part of the model.

    Args:
        path: The file of cells. An ``.h5ad`` of the current format is copied, others are read and written as one.
        out: The path of the copy.
        genes: The genes of the denoised counts; None adds none.
        model: The name of the model, for ``uns["aeframe"]``.
    """

    def __init__(self, path: Path, out: Path, *, genes: tuple[str, ...] | None, model: str) -> None:
        self.out, self._model = out, model
        file = open_cells(path, origin=f"'{path}'", notes=Notes())
        self._partial = _partial_path(out)
        if isinstance(file, AnnDataFile) and path.is_file() and not is_zarr(path):
            shutil.copyfile(path, self._partial)
            metadata = file.axes()
        else:
            adata = file.adata()
            try:
                adata.write_h5ad(self._partial)
            except Exception as error:
                self._partial.unlink(missing_ok=True)
                raise AeframeError(
                    f"'{path}' cannot be written as .h5ad ({first_sentence(error)}); remove what is named"
                ) from error
            metadata = CellMetadata(tuple(str(name) for name in adata.var_names), adata.obs, file.origin)
        self._num_cells, self._num_genes = len(metadata.obs), len(metadata.genes)
        column_of = {name: column for column, name in enumerate(metadata.genes)}
        self._genes, self._made = genes, set[tuple[str, str]]()
        present = [] if genes is None else [number for number, name in enumerate(genes) if name in column_of]
        self._chosen = np.array(present, np.int64)
        self._columns = np.array([column_of[genes[number]] for number in present] if genes else [], np.int64)

    @property
    def num_left_out(self) -> int:
        """The number of genes of the model that are not in ``var``, as after a selection of genes of X."""
        return 0 if self._genes is None else len(self._genes) - len(self._chosen)

    def __enter__(self) -> Annotations:
        self._file = h5py.File(self._partial, "r+")
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, traceback: object) -> None:
        if kind is None:
            write_elem(self._file.require_group("uns"), "aeframe", {"model": self._model})
        self._file.close()
        if kind is None:
            self._partial.rename(self.out)
        else:
            self._partial.unlink()

    def write(self, rows: NDArray[np.int64], codes: NDArray[np.float32], denoised: NDArray[np.float32] | None) -> None:
        """Write codes ``(n, D)`` and denoised counts ``(n, genes)`` of the rows ``(n,)``, which must ascend."""
        self._array("obsm", "X_aeframe", codes.shape[1])[rows] = codes
        if denoised is not None:
            values = np.full((len(rows), self._num_genes), np.nan, np.float32)
            values[:, self._columns] = denoised[:, self._chosen]
            self._array("layers", "aeframe", self._num_genes)[rows] = values

    def _array(self, group: str, name: str, num_columns: int) -> Any:
        """Return an array ``(cells, columns)`` of the file, made of NaN at its first use."""
        if (group, name) not in self._made:
            parent = self._file.require_group(group)
            if name in parent:
                del parent[name]
            rows = max(1, min(self._num_cells, _CHUNK_VALUES // max(1, num_columns)))
            array = parent.create_dataset(
                name,
                (self._num_cells, num_columns),
                np.float32,
                chunks=(rows, num_columns),
                compression="gzip",
                fillvalue=np.nan,
            )
            # As anndata marks a dense matrix.
            array.attrs.update({"encoding-type": "array", "encoding-version": "0.2.0"})
            self._made.add((group, name))
        return self._file[group][name]


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
