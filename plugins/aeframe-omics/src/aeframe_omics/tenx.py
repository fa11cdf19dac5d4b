"""Cells as 10x Genomics writes them: an ``.h5`` file, or a folder of a matrix, barcodes and features.

Formats: "Feature-Barcode Matrices", Cell Ranger documentation, versions 2 and 3. Both store genes by cells.
"""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anndata
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.io import mminfo, mmread
from scipy.sparse import csr_matrix, issparse

from aeframe.data.limits import check_memory
from aeframe.data.notes import Notes
from aeframe.data.sparse_checks import checked_csr
from aeframe.errors import AeframeError
from aeframe_omics.backed import BackedCounts
from aeframe_omics.cells import CellMetadata, CellTable
from aeframe_omics.counts import Counts, MemoryCounts
from aeframe_omics.files import CellFile, reading
from aeframe_omics.genes import GeneSubset
from aeframe_omics.layers import MissingLayerError, no_view_error
from aeframe_omics.stores import check_references, check_size, close_store, is_array, open_store

GENE_EXPRESSION = "Gene Expression"
_MATRIX = frozenset({"data", "indices", "indptr", "shape", "barcodes"})
_MATRIX_ENDINGS = ("matrix.mtx", "matrix.mtx.gz")
_FEATURES, _BARCODES = ("features.tsv", "genes.tsv"), ("barcodes.tsv",)
_BYTES_OF_ENTRY = 24
"""Bytes that an entry of a text matrix takes while it is read: two indices and a value."""


@dataclass(frozen=True, slots=True)
class Features:
    """The features of a 10x matrix: genes, and possibly antibodies, guides or peaks."""

    ids: Sequence[str]
    symbols: Sequence[str]
    types: Sequence[str]
    """Such as ``Gene Expression``; empty if the format has none."""

    def genes(self, gene_names: str, origin: str, notes: Notes) -> tuple[tuple[str, ...], NDArray[np.int64]]:
        """Return the names of the genes, each of them once, and their rows among the features.

        Args:
            gene_names: ``symbols`` or ``ids``.
            origin: The dataset, for notes.
            notes: Receives how many features are left out, and how many symbols were made different.
        """
        kept = np.arange(len(self.ids))
        kinds = Counter(self.types)
        if len(kinds) > 1 and GENE_EXPRESSION in kinds:
            kept = np.flatnonzero([kind == GENE_EXPRESSION for kind in self.types])
            others = ", ".join(f"{num} of type {kind}" for kind, num in kinds.items() if kind != GENE_EXPRESSION)
            notes.add(f"{origin}: of {len(self.ids)} features, {others} are left out; the {len(kept)} others are genes")
        names = [str((self.ids if gene_names == "ids" else self.symbols)[row]) for row in kept.tolist()]
        unique = _unique(names)
        num_changed = sum(name != new for name, new in zip(names, unique, strict=True))
        if num_changed:
            notes.add(
                f"{origin}: {num_changed} of {len(names)} gene {gene_names} repeat an earlier one, and got -1, -2, ... "
                f"appended{' (data.gene_names=ids takes the IDs)' if gene_names == 'symbols' else ''}"
            )
        return tuple(unique), kept


class TenXFile(CellFile):
    """An ``.h5`` file of Cell Ranger 2 or 3.

    Args:
        path: The file.
        origin: How error messages name it.
        notes: Receives what is left out or changed.
        gene_names: ``symbols`` or ``ids``.
    """

    def __init__(self, path: Path, *, origin: str, notes: Notes, gene_names: str) -> None:
        super().__init__(path, origin=origin, notes=notes)
        self._gene_names = gene_names

    def metadata(self, layer: str | None = None) -> CellMetadata:
        return self.table(layer, (), backed=True).metadata

    def table(self, layer: str | None, views: Iterable[str], *, backed: bool | None = False) -> CellTable:
        for name in views:
            raise no_view_error(self.origin, name, [])
        if layer is not None:
            raise MissingLayerError(self.origin, layer, [])
        return reading(self.path, self.origin, lambda: self._table(backed is not False))

    def view(self, name: str) -> NDArray[np.float32]:
        raise no_view_error(self.origin, name, [])

    def adata(self) -> anndata.AnnData:
        table = self.table(None, ())
        matrix = table.counts.rows(np.arange(len(table)))
        return anndata.AnnData(matrix, obs=table.metadata.obs, var=pd.DataFrame(index=list(table.metadata.genes)))

    def _table(self, backed: bool) -> CellTable:
        root = open_store(self.path)
        try:
            check_references(root, self.origin)
            key = self._key(root)
            group = root[key]
            num_genes, num_cells = (int(size) for size in group["shape"][:])
            if backed:
                for name in set(group) - {"data", "indices", "indptr"}:
                    check_size(group[name], self.origin)
            else:
                check_size(group, self.origin)
            features, barcodes = _features(group), _strings(group["barcodes"])
        finally:
            close_store(root)
        _check_lengths(self.origin, (num_genes, num_cells), features, barcodes)
        stored = BackedCounts(self.path, key, origin=self.origin, shape=(num_cells, num_genes))
        counts: Counts = stored if backed else MemoryCounts(stored.rows(np.arange(num_cells)))
        genes, rows = features.genes(self._gene_names, self.origin, self.notes)
        counts = counts if len(rows) == num_genes else GeneSubset(counts, rows)
        return CellTable(CellMetadata(genes, _obs(barcodes), self.origin), counts)

    def _key(self, root: Any) -> str:
        if "matrix" in root:
            return "matrix"
        genomes = _genomes(root)
        if len(genomes) > 1:
            raise AeframeError(
                f"{self.origin} has the genomes {', '.join(genomes)}, expected one; write the cells of one to a file: "
                f"scanpy.read_10x_h5(path, genome='{genomes[0]}').write_h5ad(new_path)"
            )
        return genomes[0]


@dataclass(frozen=True, slots=True)
class TenXFolder:
    """A folder with ``matrix.mtx``, ``barcodes.tsv`` and ``features.tsv`` (or ``genes.tsv``), each possibly gzipped."""

    matrix: Path
    features: Path
    barcodes: Path
    origin: str

    @classmethod
    def find(cls, folder: Path, origin: str) -> TenXFolder:
        """Return the files of a folder. Their names may have a prefix, as those of GEO have.

        Raises:
            AeframeError: A file is missing, or there are several matrices.
        """
        matrices = sorted(path for path in folder.iterdir() if path.name.endswith(_MATRIX_ENDINGS))
        if len(matrices) == 1:
            return cls.beside(matrices[0], origin)
        if matrices:
            names = ", ".join(path.name for path in matrices[:5])
            raise AeframeError(f"{origin} has several matrices ({names}); set the path of one of these files")
        below = sorted(path.parent for ending in _MATRIX_ENDINGS for path in folder.glob(f"*/*{ending}"))
        below += sorted(path for path in folder.iterdir() if path.suffix in (".h5ad", ".zarr", ".h5"))
        hint = f"; set the path to '{below[0]}'" if below else ""
        raise AeframeError(
            f"{origin} is a folder without matrix.mtx or matrix.mtx.gz, expected a folder of 10x Genomics, or a .zarr "
            f"folder{hint}"
        )

    @classmethod
    def beside(cls, matrix: Path, origin: str) -> TenXFolder:
        """Return the files that belong to a matrix file.

        Raises:
            AeframeError: One of them is missing.
        """
        prefix = matrix.name.removesuffix(".gz").removesuffix("matrix.mtx")

        def other(names: Sequence[str]) -> Path:
            paths = [matrix.with_name(f"{prefix}{name}{gz}") for name in names for gz in ("", ".gz")]
            found = next((path for path in paths if path.is_file()), None)
            if found is None:
                raise AeframeError(
                    f"{origin} has '{matrix.name}', but no {' or '.join(prefix + name for name in names)} (or .gz) "
                    "beside it; add it"
                )
            return found

        return cls(matrix, other(_FEATURES), other(_BARCODES), origin)

    def read(self, gene_names: str, notes: Notes) -> anndata.AnnData:
        """Return the cells.

        Raises:
            AeframeError: The matrix does not fit the other files, or into memory.
        """
        table = _text_table(self.features)
        # Version 2 has no types; other programs write one column of names.
        ids, types = table[0].tolist(), table[2].tolist() if table.shape[1] > 2 else []
        features = Features(ids, table[1].tolist() if table.shape[1] > 1 else ids, types)
        barcodes = _text_table(self.barcodes)[0].tolist()
        num_rows, num_columns, num_entries, *_ = mminfo(str(self.matrix))
        check_memory(self.origin, float(_BYTES_OF_ENTRY) * num_entries, f"'{self.matrix.name}'")
        shape = (num_rows, num_columns)
        is_by_cells = shape != (len(ids), len(barcodes)) and shape == (len(barcodes), len(ids))
        if is_by_cells:
            notes.add(f"{self.origin}: '{self.matrix.name}' has cells in rows and genes in columns, and is read so")
        else:
            _check_lengths(self.origin, shape, features, barcodes)
        matrix = mmread(str(self.matrix))
        sparse = matrix if issparse(matrix) else csr_matrix(matrix)
        counts = checked_csr(sparse if is_by_cells else sparse.T, self.origin, self.matrix.name, noun="gene")
        genes, rows = features.genes(gene_names, self.origin, notes)
        counts = counts[:, rows] if len(rows) < counts.shape[1] else counts
        return anndata.AnnData(
            counts.astype(np.float32), obs=_obs(barcodes), var=pd.DataFrame(index=pd.Index(genes, dtype=object))
        )


def is_tenx(root: Any) -> bool:
    """Return whether an HDF5 file is one of 10x Genomics."""
    if "obs" in root or "var" in root:
        return False
    return ("matrix" in root and _is_matrix(root["matrix"])) or bool(_genomes(root))


def _is_matrix(node: Any) -> bool:
    return not is_array(node) and set(node) >= _MATRIX


def _genomes(root: Any) -> list[str]:
    """Return the names of the groups that have the matrix of a genome, as version 2 writes them."""
    return [str(name) for name in root if _is_matrix(root[name])]


def _features(group: Any) -> Features:
    if "features" in group:
        features = group["features"]
        kinds = _strings(features["feature_type"]) if "feature_type" in features else []
        return Features(_strings(features["id"]), _strings(features["name"]), kinds)
    return Features(_strings(group["genes"]), _strings(group["gene_names"]), [])


def _strings(array: Any) -> list[str]:
    return [value.decode() if isinstance(value, bytes) else str(value) for value in array[:].tolist()]


def _check_lengths(origin: str, shape: tuple[int, int], features: Features, barcodes: Sequence[str]) -> None:
    lengths = {len(features.ids), len(features.symbols), len(features.types) or len(features.ids)}
    if lengths != {shape[0]} or len(barcodes) != shape[1]:
        raise AeframeError(
            f"{origin} has a matrix of {shape[0]} features x {shape[1]} cells, but {len(features.ids)} features and "
            f"{len(barcodes)} barcodes; the files belong to different matrices"
        )


def _text_table(path: Path) -> pd.DataFrame:
    """Return the columns of a file of tab-separated text without a header."""
    options: dict[str, Any] = {"sep": "\t", "header": None, "dtype": str, "keep_default_na": False}
    return pd.read_csv(path, quoting=csv.QUOTE_NONE, **options)


def _obs(barcodes: Sequence[str]) -> pd.DataFrame:
    return pd.DataFrame(index=pd.Index(list(barcodes), dtype=object))


def _unique(names: Sequence[str]) -> list[str]:
    """Return names of which repeated ones have ``-1``, ``-2``, ... appended, as AnnData makes names unique."""
    taken, numbers, unique = set(names), Counter[str](), []
    seen: set[str] = set()
    for name in names:
        new = name
        while new in seen:
            numbers[name] += 1
            candidate = f"{name}-{numbers[name]}"
            new = candidate if candidate not in taken else name
        seen.add(new)
        unique.append(new)
    return unique
