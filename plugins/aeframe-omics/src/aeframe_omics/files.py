"""Open AnnData files, element by element: only what is asked for is read."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import anndata
import h5py
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.sparse import csr_matrix, issparse

from aeframe.errors import AeframeError, did_you_mean
from aeframe_omics.cells import Known
from aeframe_omics.counts import BackedCounts, Counts, MemoryCounts, check_sparse, unreadable

Read = TypeVar("Read")

# What h5py and anndata raise for files that are cut off, damaged or of another kind.
_BROKEN = (OSError, KeyError, ValueError, TypeError, RuntimeError)


class CellFile:
    """An ``.h5ad`` file.

    Args:
        path: The file.
        origin: What to call it in a sentence.
    """

    def __init__(self, path: Path, *, origin: str) -> None:
        self.path, self.origin = path, origin
        if not path.is_file():
            raise AeframeError(f"{origin}: there is no file '{path}'; give the path of an .h5ad file")

    def known(self) -> Known:
        """Read the names of cells and genes, and ``obs``."""

        def read(file: h5py.File) -> Known:
            obs, var = anndata.io.read_elem(file["obs"]), anndata.io.read_elem(file["var"])
            if not (isinstance(obs, pd.DataFrame) and isinstance(var, pd.DataFrame)):
                raise ValueError("obs and var are no tables")
            return Known(tuple(str(name) for name in var.index), obs, self.origin)

        return self._read(read)

    def counts(self, layer: str | None, *, backed: bool = False) -> Counts:
        """Return the counts of a layer, or of X where that is None.

        Raises:
            AeframeError: No such layer, or a file that is damaged.
        """
        key = "X" if layer is None else f"layers/{layer}"

        def read(file: h5py.File) -> Counts:
            if key not in file:
                layers, what = list(file.get("layers", {})), "X" if layer is None else f"layer '{layer}'"
                raise AeframeError(
                    f"{self.origin} has no {what}{did_you_mean(layer or '', layers)}; "
                    f"its layers are {', '.join(layers) or 'none'}, "
                    "choose one with data.layer=..."
                )
            if backed:
                return BackedCounts(self.path, key, origin=self.origin)
            return MemoryCounts(csr_matrix(self._elem(file, key)))

        return self._read(read)

    def view(self, name: str) -> NDArray[np.float32]:
        """Return a table of ``obsm`` ``(N, P)``."""

        def read(file: h5py.File) -> NDArray[np.float32]:
            if f"obsm/{name}" not in file:
                known = list(file.get("obsm", {}))
                raise AeframeError(
                    f"{self.origin} has no '{name}' in obsm{did_you_mean(name, known)}; "
                    f"it has {', '.join(known) or 'none'}"
                )
            table = self._elem(file, f"obsm/{name}")
            sparse = issparse(table)
            return np.ascontiguousarray(table.toarray() if sparse else table, np.float32)

        return self._read(read)

    def _elem(self, file: h5py.File, key: str) -> Any:
        """Return a matrix of the file, dense or sparse; a sparse one is checked before anything reads its indices."""
        matrix = anndata.io.read_elem(file[key])
        if issparse(matrix):
            check_sparse(matrix, self.origin, key)
        return matrix

    def _read(self, read: Callable[[h5py.File], Read]) -> Read:
        try:
            with h5py.File(self.path, "r") as file:
                return read(file)
        except AeframeError:
            raise
        except _BROKEN as error:
            raise unreadable(self.path, self.origin, error) from error
