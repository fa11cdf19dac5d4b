"""Open files of cells: AnnData (.h5ad, .zarr, also those of old versions) and 10x Genomics."""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeVar

import anndata
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.sparse import issparse

from aeframe.data.notes import Notes
from aeframe.data.sparse_checks import checked_csr
from aeframe.errors import AeframeError
from aeframe_omics.backed import BackedCounts, BackedDense
from aeframe_omics.cells import CellMetadata, CellTable
from aeframe_omics.counts import Counts, MemoryCounts
from aeframe_omics.layers import RAW_NAMES, MissingLayerError, names_raw, no_view_error, with_counts
from aeframe_omics.memory import table_of
from aeframe_omics.stores import (
    check_references,
    check_size,
    close_store,
    is_array,
    is_zarr,
    open_store,
    read_element,
    unreadable_file_error,
)

Element = TypeVar("Element")

_CONVERTED: dict[tuple[str, ...], str] = {
    (".csv", ".csv.gz"): "read_csv",
    (".tsv", ".tsv.gz", ".txt", ".txt.gz"): "read_text",
    (".loom",): "read_loom",
    (".xlsx",): "read_excel",
}
"""The functions of anndata for formats that are not read, by endings: tables do not say whether cells are rows."""


class CellFile(ABC):
    """Cells in a file or folder, which is opened for each read.

    Args:
        path: The file or folder.
        origin: How error messages name it.
        notes: Receives what is changed, left out or guessed.
    """

    def __init__(self, path: Path, *, origin: str, notes: Notes) -> None:
        self.path, self.origin, self.notes = path, origin, notes

    @abstractmethod
    def metadata(self, layer: str | None = None) -> CellMetadata:
        """Read ``obs`` and the names of the genes of a layer, or of X."""

    @abstractmethod
    def table(self, layer: str | None, views: Iterable[str], *, backed: bool | None = False) -> CellTable:
        """Return all cells, with the counts of a layer (None for X) and some tables of ``obsm``.

        Args:
            layer: The name of the layer, or None for X.
            views: The tables of ``obsm``.
            backed: Leave the counts in the file; None does so where its format allows it.

        Raises:
            AeframeError: There is no such layer or table, the file is damaged, or refers to other files.
        """

    @abstractmethod
    def view(self, name: str) -> NDArray[np.float32]:
        """Return a table ``(N, P)`` of ``obsm``.

        Raises:
            AeframeError: There is no such table, or it has no numbers.
        """

    @abstractmethod
    def adata(self) -> anndata.AnnData:
        """Return all content, in memory.

        Raises:
            AeframeError: The file is damaged, or would not fit into memory.
        """


class LoadedFile(CellFile):
    """Cells in a format that is read completely.

    Args:
        path: The file or folder.
        origin: How error messages name it.
        notes: Receives what is changed, left out or guessed.
        load: Reads the file.
    """

    def __init__(self, path: Path, *, origin: str, notes: Notes, load: Callable[[], anndata.AnnData]) -> None:
        super().__init__(path, origin=origin, notes=notes)
        self._load, self._adata = load, None

    def adata(self) -> anndata.AnnData:
        if self._adata is None:
            self._adata = reading(self.path, self.origin, self._load)
        return self._adata

    def metadata(self, layer: str | None = None) -> CellMetadata:
        return self.table(layer, ()).metadata

    def table(self, layer: str | None, views: Iterable[str], *, backed: bool | None = False) -> CellTable:
        if backed:
            raise AeframeError(
                f"{self.origin}: its format is read completely, found data.backed=true; leave that out, or save it by "
                "AnnData.write_h5ad"
            )
        return table_of(self.adata(), layer=layer, views=tuple(views), origin=self.origin)

    def view(self, name: str) -> NDArray[np.float32]:
        return self.table(None, (name,)).views[name]


class AnnDataFile(CellFile):
    """An ``.h5ad`` file or a ``.zarr`` folder, whose elements are read one by one."""

    def metadata(self, layer: str | None = None) -> CellMetadata:
        def read(root: Any) -> CellMetadata:
            axes = self._axes(root, "var")
            return self._axes(root, "raw/var") if self._key(root, layer) == "raw/X" else axes

        return self._read(read)

    def axes(self) -> CellMetadata:
        """Read ``obs`` and the names in ``var``, whether or not there is an X."""
        return self._read(lambda root: self._axes(root, "var"))

    def _axes(self, root: Any, var_key: str) -> CellMetadata:
        obs, var = read_element(root, "obs", self.origin), read_element(root, var_key, self.origin)
        if not (isinstance(obs, pd.DataFrame) and isinstance(var, pd.DataFrame)):
            raise ValueError("obs and var are not data frames")
        return CellMetadata(tuple(str(name) for name in var.index), obs, self.origin)

    def table(self, layer: str | None, views: Iterable[str], *, backed: bool | None = False) -> CellTable:
        metadata = self.metadata(layer)
        shape = (len(metadata.obs), len(metadata.genes))
        counts = self._read(lambda root: self._counts(root, self._key(root, layer), shape, backed))
        tables = {name: self.view(name) for name in views}
        for name, table in tables.items():
            if len(table) != len(metadata.obs):
                raise AeframeError(
                    f"{self.origin} has {len(table)} rows in obsm '{name}', expected {len(metadata.obs)} as in obs; "
                    "save the file again"
                )
        return CellTable(metadata, counts, tables, lambda: self._other_counts(layer))

    def view(self, name: str) -> NDArray[np.float32]:
        def read(root: Any) -> NDArray[np.float32]:
            if f"obsm/{name}" not in root:
                raise no_view_error(self.origin, name, _children(root, "obsm"))
            table = read_element(root, f"obsm/{name}", self.origin)
            if issparse(table):
                table = checked_csr(table, self.origin, f"obsm/{name}", noun="gene").toarray()
            return np.ascontiguousarray(table, np.float32)

        return self._read(read)

    def adata(self) -> anndata.AnnData:
        def read(root: Any) -> anndata.AnnData:
            check_size(root, self.origin)
            return _whole_anndata(self.path)

        return self._read(read)

    def _key(self, root: Any, layer: str | None) -> str:
        """Return where the file has the counts of a layer."""
        layers, has_raw = _children(root, "layers"), "raw/X" in root
        if layer in RAW_NAMES and has_raw and "raw" in layers:
            used = (
                "the layer (data.layer=raw/X takes raw)" if layer == "raw" else "raw (data.layer=raw takes the layer)"
            )
            self.notes.add(f"{self.origin} has a layer 'raw' as well as raw; the counts are those of {used}")
        if names_raw(layer, layers, has_raw):
            return "raw/X"
        key = "X" if layer is None else f"layers/{layer}"
        if key not in root:
            raise MissingLayerError(self.origin, layer, layers, has_raw)
        return key

    def _counts(self, root: Any, key: str, shape: tuple[int, int], backed: bool | None) -> Counts:
        node = root[key]
        found = tuple(int(size) for size in (node.shape if is_array(node) else node.attrs["shape"]))
        if found != shape:
            raise AeframeError(
                f"{self.origin} has the shape {found} in '{key}', expected {shape} as obs and var have rows; save the "
                "file again"
            )
        if is_array(node):
            dense = BackedDense(self.path, key, origin=self.origin)
            return MemoryCounts(dense.rows(np.arange(dense.shape[0]))) if backed is False else dense
        if backed or (backed is None and node.attrs.get("encoding-type") == "csr_matrix"):
            return BackedCounts(self.path, key, origin=self.origin)
        matrix = read_element(root, key, self.origin)
        if not issparse(matrix):
            raise ValueError(f"'{key}' is {type(matrix).__name__}, expected a matrix")
        return MemoryCounts(checked_csr(matrix, self.origin, key, noun="gene"))

    def _other_counts(self, layer: str | None) -> tuple[str, ...]:
        """Return the matrices with counts besides that of `layer`."""

        def read(root: Any) -> tuple[str, ...]:
            matrices = {"X": root.get("X"), "raw": root.get("raw/X")}
            matrices |= {name: root[f"layers/{name}"] for name in _children(root, "layers")}
            used = "X" if layer is None else layer.partition("/")[0]
            return with_counts({name: matrix for name, matrix in matrices.items() if name != used})

        return self._read(read)

    def _read(self, read: Callable[[Any], Element]) -> Element:
        """Return the value of `read` on the open file; errors of other libraries become an `AeframeError`."""

        def opened() -> Element:
            root = open_store(self.path)
            try:
                check_references(root, self.origin)
                return read(root)
            finally:
                close_store(root)

        return reading(self.path, self.origin, opened)


def open_cells(path: Path, *, origin: str, notes: Notes, gene_names: str = "symbols") -> CellFile:
    """Return the cells of a file or folder, whose format is taken from its content.

    Args:
        path: An ``.h5ad`` file, a ``.zarr`` folder, or an ``.h5`` file or a folder of 10x Genomics.
        origin: How error messages name it.
        notes: Receives what is changed, left out or guessed.
        gene_names: ``symbols`` or ``ids``: the names of the genes of formats that have both.

    Raises:
        AeframeError: There is no such file, it has none of these formats, or it refers to other files.
    """
    if not path.exists():
        raise AeframeError(f"{origin}: there is no file '{path}'; set the path of an .h5ad file")
    from aeframe_omics import tenx

    if path.is_dir() and not is_zarr(path):
        folder = tenx.TenXFolder.find(path, origin)
        return LoadedFile(path, origin=origin, notes=notes, load=lambda: folder.read(gene_names, notes))
    if path.name.lower().endswith((".mtx", ".mtx.gz")):
        folder = tenx.TenXFolder.beside(path, origin)
        return LoadedFile(path, origin=origin, notes=notes, load=lambda: folder.read(gene_names, notes))

    for endings, function in _CONVERTED.items():
        if path.name.lower().endswith(endings):
            raise AeframeError(
                f"{origin} reads AnnData (.h5ad, .zarr) and 10x Genomics (.h5, folders), found '{path.name}'; convert "
                f"it: anndata.io.{function}(path).write_h5ad(new_path)"
            )

    def format_of() -> str:
        root = open_store(path)
        try:
            check_references(root, origin)
            return "tenx" if tenx.is_tenx(root) else "legacy" if _is_legacy(root) else "anndata"
        finally:
            close_store(root)

    found = reading(path, origin, format_of)
    if found == "tenx":
        return tenx.TenXFile(path, origin=origin, notes=notes, gene_names=gene_names)
    if found == "legacy":
        return LoadedFile(path, origin=origin, notes=notes, load=lambda: _legacy(path, origin))
    return AnnDataFile(path, origin=origin, notes=notes)


def reading(path: Path, origin: str, read: Callable[[], Element]) -> Element:
    """Return the value of `read`; errors of the libraries that read files become an `AeframeError`."""
    try:
        return read()
    except AeframeError:
        raise
    except Exception as error:
        raise unreadable_file_error(path, origin, error) from error


def _is_legacy(root: Any) -> bool:
    """Return whether a file is of anndata before 0.7, which wrote ``obs`` as one array of records."""
    return any(name in root and is_array(root[name]) for name in ("obs", "var"))


def _legacy(path: Path, origin: str) -> anndata.AnnData:
    root = open_store(path)
    try:
        check_size(root, origin)
    finally:
        close_store(root)
    return _whole_anndata(path)


def _whole_anndata(path: Path) -> anndata.AnnData:
    with warnings.catch_warnings():
        # Of old formats, of repeated names, which are checked later, and of other elements.
        warnings.simplefilter("ignore")
        if not is_zarr(path):
            return anndata.io.read_h5ad(path)
        return anndata.io.read_zarr(open_store(path))


def _children(root: Any, key: str) -> list[str]:
    """Return the names of the elements of a group; none if there is no such group."""
    return [str(name) for name in root[key]] if key in root else []
