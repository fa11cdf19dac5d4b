"""Read single elements of AnnData files: metadata, counts and views (tables of further measurements, in ``obsm``)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeVar

import anndata
import h5py
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.sparse import csr_matrix, issparse

from aeframe.errors import AeframeError, did_you_mean
from aeframe_omics.cells import CellMetadata, CellTable
from aeframe_omics.counts import BackedCounts, Counts, MemoryCounts, check_sparse, unreadable_file_error

Element = TypeVar("Element")

# Exceptions of h5py and anndata for truncated or damaged files and for other formats.
_BROKEN = (OSError, KeyError, ValueError, TypeError, RuntimeError)


class CellFile:
    """An ``.h5ad`` file, opened for each read.

    Args:
        path: The file.
        origin: The dataset, for messages.

    Raises:
        AeframeError: No such file; from the methods, a file that cannot be read as AnnData.
    """

    def __init__(self, path: Path, *, origin: str) -> None:
        self.path, self.origin = path, origin
        if not path.is_file():
            raise AeframeError(f"{origin}: there is no file '{path}'; set the path of an .h5ad file")

    def metadata(self) -> CellMetadata:
        """Read the names of the genes, and ``obs``."""

        def read(file: h5py.File) -> CellMetadata:
            obs, var = anndata.io.read_elem(file["obs"]), anndata.io.read_elem(file["var"])
            if not (isinstance(obs, pd.DataFrame) and isinstance(var, pd.DataFrame)):
                raise ValueError("obs and var are not data frames")
            return CellMetadata(tuple(str(name) for name in var.index), obs, self.origin)

        return self._read(read)

    def table(self, layer: str | None, views: Iterable[str], *, backed: bool = False) -> CellTable:
        """Return all cells, with the counts of a layer (None for X) and some tables of ``obsm``.

        Raises:
            AeframeError: As in `counts` and `view`.
        """
        counts = self.counts(layer, backed=backed)
        return CellTable(self.metadata(), counts, {name: self.view(name) for name in views})

    def counts(self, layer: str | None, *, backed: bool = False) -> Counts:
        """Return the counts of a layer, or of X if `layer` is None.

        Args:
            layer: The name of the layer, or None for X.
            backed: Leave the counts in the file.

        Raises:
            AeframeError: No such layer, or a damaged file.
        """
        key = "X" if layer is None else f"layers/{layer}"

        def read(file: h5py.File) -> Counts:
            if key not in file:
                raise no_layer_error(self.origin, layer, list(file.get("layers", {})))
            if backed:
                return BackedCounts(self.path, key, origin=self.origin)
            return MemoryCounts(csr_matrix(self._matrix(file, key)))

        return self._read(read)

    def view(self, name: str) -> NDArray[np.float32]:
        """Return a table ``(N, P)`` of ``obsm``.

        Raises:
            AeframeError: No such table, or a damaged file.
        """

        def read(file: h5py.File) -> NDArray[np.float32]:
            if f"obsm/{name}" not in file:
                raise no_view_error(self.origin, name, list(file.get("obsm", {})))
            table = self._matrix(file, f"obsm/{name}")
            sparse = issparse(table)
            return np.ascontiguousarray(table.toarray() if sparse else table, np.float32)

        return self._read(read)

    def _matrix(self, file: h5py.File, key: str) -> Any:
        """Return a dense or sparse matrix of the file; the indices of a sparse one are checked."""
        matrix = anndata.io.read_elem(file[key])
        if issparse(matrix):
            check_sparse(matrix, self.origin, key)
        return matrix

    def _read(self, read: Callable[[h5py.File], Element]) -> Element:
        """Return the value of `read` on the open file; errors of h5py and anndata become an `AeframeError`."""
        try:
            with h5py.File(self.path, "r") as file:
                return read(file)
        except AeframeError:
            raise
        except _BROKEN as error:
            raise unreadable_file_error(self.path, self.origin, error) from error


def no_layer_error(origin: str, layer: str | None, layers: list[str]) -> AeframeError:
    """Return the error for cells without the layer, or without X if `layer` is None."""
    missing = "X" if layer is None else f"layer '{layer}'"
    return AeframeError(
        f"{origin} has no {missing}{did_you_mean(layer or '', layers)}; its layers are {', '.join(layers) or 'none'}; "
        "choose one with data.layer=..."
    )


def no_view_error(origin: str, name: str, names: list[str]) -> AeframeError:
    """Return the error for cells without the table `name` in ``obsm``."""
    return AeframeError(
        f"{origin} has no '{name}' in obsm{did_you_mean(name, names)}; it has {', '.join(names) or 'none'}"
    )
