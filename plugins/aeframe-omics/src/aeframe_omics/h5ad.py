"""The dataset ``h5ad``: cells in a file of AnnData or of 10x Genomics."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np

from aeframe.data import Dataset
from aeframe.errors import AeframeError, did_you_mean
from aeframe_omics.cells import CellMetadata, Cells, Roles, Rows, shared_out, splits_of_column
from aeframe_omics.files import CellFile, open_cells


class H5AD(Dataset):
    """Cells in an ``.h5ad`` file or a ``.zarr`` folder (AnnData: Virshup et al. 2021), or of 10x Genomics.

    A 10x matrix is an ``.h5`` file, or a folder with ``matrix.mtx``, ``barcodes.tsv`` and ``features.tsv`` (version 2:
    ``genes.tsv``), each possibly gzipped. Old formats of AnnData are read as well.

    Args:
        path: The file or folder.
        layer: The layer with the counts; ``raw`` reads the X of ``raw``, which has genes of its own, and null X.
        categorical: Columns of ``obs`` that condition the decoder as one-hot vectors, such as a sequencing batch or a
            donor.
        continuous: Numeric columns of ``obs`` that condition the decoder, standardised by the training cells.
        label: A column of ``obs`` for ``extras["label"]``, such as the cell type.
        batch: A column of ``obs`` for ``extras["batch"]``, by which metrics measure batch mixing; it does not condition
            the model. Null takes the first of `categorical`.
        library: A column of ``obs`` with the library size of each cell; null sums the counts.
        where: ``{column: category}``; only cells of this category are used.
        split: A column of ``obs`` with the values train, validation (or val) and test; a missing split is a random
            fraction of the training cells.
        validation: Fraction of the cells for a missing validation split.
        test: Fraction of the cells for a missing test split.
        seed: Seed of the random split.
        min_counts: Cells with a smaller total count are left out; 1 leaves out empty cells.
        views: Tables of ``obsm`` that are concatenated to the counts, such as proteins.
        backed: Leave the counts (CSR or dense; 10x: .h5) in the file. Training then shuffles blocks of 16 consecutive
            cells, reads 256 blocks at a time and shuffles the cells within these.
        gene_names: The names of the genes of a 10x matrix: ``symbols``, of which repeated ones get -1, -2, ...
            appended, or ``ids``.
    """

    modality = "omics"

    def __init__(
        self,
        *,
        path: Path,
        layer: str | None = None,
        categorical: tuple[str, ...] = (),
        continuous: tuple[str, ...] = (),
        label: str | None = None,
        batch: str | None = None,
        library: str | None = None,
        where: Mapping[str, str] | None = None,
        split: str | None = None,
        validation: float = 0.1,
        test: float = 0.1,
        seed: int = 0,
        min_counts: int = 0,
        views: tuple[str, ...] = (),
        backed: bool = False,
        gene_names: Literal["symbols", "ids"] = "symbols",
    ) -> None:
        self.path = Path(path).expanduser()
        self.origin = f"dataset 'h5ad' at '{path}'"
        self.roles = Roles(
            layer=layer,
            categorical=categorical,
            continuous=continuous,
            label=label,
            batch=batch,
            library=library,
            views=views,
            gene_names=gene_names,
        )
        self.where, self.split = dict(where or {}), split
        self.validation, self.test, self.seed = validation, test, seed
        self.min_counts, self.backed = min_counts, backed
        self._opened: CellFile | None = None

    def describe(self) -> Mapping[str, Any]:
        file = self._opened = self._file()
        metadata = file.metadata(self.roles.layer)
        views = {name: file.view(name).shape[1] for name in self.roles.views}
        return {"metadata": metadata, "splits": self._splits(metadata), "roles": self.roles, "views": views}

    def load(self) -> Cells:
        # Formats that are read completely are read once.
        file, self._opened = self._opened or self._file(), None
        table = file.table(self.roles.layer, self.roles.views, backed=self.backed)
        return table.split(self._splits(table.metadata), self.roles, min_counts=self.min_counts)

    def _file(self) -> CellFile:
        return open_cells(self.path, origin=self.origin, notes=self.notes, gene_names=self.roles.gene_names)

    def _splits(self, metadata: CellMetadata) -> dict[str, Rows]:
        """Return the rows of each split, of the cells that `where` selects."""
        selected = np.ones(len(metadata.obs), bool)
        for column, category in self.where.items():
            codes, categories = metadata.categories(column, "where")
            if str(category) not in categories:
                raise AeframeError(
                    f"{self.origin} has no cell with '{category}' in column "
                    f"'{column}'{did_you_mean(str(category), categories)}; it has {', '.join(categories)}"
                )
            selected &= codes == categories.index(str(category))
        present: dict[str, Rows] = {"train": np.flatnonzero(selected)}
        if self.split is not None:
            present = splits_of_column(metadata, self.split, selected)
        return shared_out(
            present,
            validation=self.validation,
            test=self.test,
            seed=self.seed,
            origin=self.origin,
            # Inherited; it stores the drawn split, so that a resumed run uses the same one.
            record=self.split_record,
            names=[str(name) for name in metadata.obs.index],
        )
