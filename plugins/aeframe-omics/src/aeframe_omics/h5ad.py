"""AnnData files of your own."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from aeframe.data import Dataset
from aeframe.errors import AeframeError, did_you_mean
from aeframe_omics.cells import Cells, Known, Roles, Rows, shared_out
from aeframe_omics.files import CellFile

_WORDS = {"train": "train", "val": "validation", "valid": "validation", "validation": "validation", "test": "test"}


class H5AD(Dataset):
    """Cells in an ``.h5ad`` file (AnnData: Virshup et al. 2021), CSR or dense, X or a layer.

    Args:
        path: The file.
        layer: Where the counts are; null is X.
        categorical: Columns of ``obs`` that the decoder is told of, as one-hot vectors: a sequencing batch, a donor.
        continuous: Columns of numbers that it is told of, standardised by the training cells.
        label: A column that comes as ``extras["label"]``: a cell type.
        batch: The column whose categories cells should mix over, ``extras["batch"]``: it is measured, the model is not
            told. Null is the first of `categorical`.
        library: A column with each cell's total; null sums the counts.
        where: ``{column: word}``: only cells with that word in the column are taken.
        split: A column with the words train, validation (val) and test; what it lacks is drawn from the training cells.
        validation: Fraction of the cells for validation, where the file does not say.
        test: Fraction for testing, likewise.
        seed: Of that draw.
        min_counts: Cells with a smaller total are left out.
        views: Tables of ``obsm`` that stand beside the counts, such as proteins.
        backed: Leave the counts in the file (CSR only), and read them in the order of training: blocks of 16 cells
            that stand together, 256 blocks at a time, shuffled within.
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
    ) -> None:
        self.path = Path(path).expanduser()
        self.origin = f"dataset 'h5ad' at '{path}'"
        self.roles = Roles(layer, categorical, continuous, label, batch, library, views)
        self.where, self.split = dict(where or {}), split
        self.validation, self.test, self.seed = validation, test, seed
        self.min_counts, self.backed = min_counts, backed

    def describe(self) -> Mapping[str, Any]:
        file = CellFile(self.path, origin=self.origin)
        known = file.known()
        tables = {name: file.view(name).shape[1] for name in self.roles.views}
        return {"known": known, "splits": self._splits(known), "roles": self.roles, "views": tables}

    def load(self) -> Cells:
        file = CellFile(self.path, origin=self.origin)
        known = file.known()
        return Cells(
            known,
            file.counts(self.roles.layer, backed=self.backed),
            self._splits(known),
            self.roles,
            self.min_counts,
            {name: file.view(name) for name in self.roles.views},
        )

    def _splits(self, known: Known) -> dict[str, Rows]:
        kept = np.ones(len(known.obs), bool)
        for column, word in self.where.items():
            codes, words = known.words(column, "where")
            if str(word) not in words:
                raise AeframeError(
                    f"{self.origin} has no cell with '{word}' in column '{column}'{did_you_mean(str(word), words)}; "
                    f"it has {', '.join(words)}"
                )
            kept &= codes == words.index(str(word))
        present: dict[str, Rows] = {"train": np.flatnonzero(kept)}
        if self.split is not None:
            present = self._by_column(known, kept)
        return shared_out(
            present,
            validation=self.validation,
            test=self.test,
            seed=self.seed,
            origin=self.origin,
            record=self.split_record,
            names=[str(name) for name in known.obs.index],
        )

    def _by_column(self, known: Known, kept: Rows) -> dict[str, Rows]:
        assert self.split is not None
        codes, words = known.words(self.split, "split")
        unknown = next((word for word in words if word not in _WORDS), None)
        if unknown is not None or (codes[kept] < 0).any():
            found = "a missing value" if unknown is None else f"'{unknown}'"
            raise AeframeError(
                f"{self.origin}: column '{self.split}' in obs has {found}, expected train, validation or test for each "
                "cell; correct it, or leave out data.split"
            )
        splits = np.array([_WORDS[word] for word in words])[codes]
        present = {name: np.flatnonzero(kept & (splits == name)) for name in ("train", "validation", "test")}
        return {name: rows for name, rows in present.items() if len(rows) or name == "train"}
