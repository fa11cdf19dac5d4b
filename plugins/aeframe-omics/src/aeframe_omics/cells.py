"""The raw data that a dataset of cells loads: counts, metadata, splits and the roles of metadata columns.

The names are those of AnnData: X is the matrix of counts, a layer another matrix of the same shape, and ``obs`` the
table of the cells. ``obsm`` holds matrices with a row for each cell; a view is one of these, such as protein levels.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from aeframe.data.random_split import RandomSplit
from aeframe.data.split_record import SPLITS, SplitRecord, keys_of_names
from aeframe.errors import AeframeError, did_you_mean
from aeframe_omics.counts import Counts

Rows = NDArray[np.int64]

MISSING = frozenset({"", "nan", "NaN", "None", "NA", "<NA>"})
"""Words that files of cells have for missing categories, since their strings cannot be null."""


@dataclass(frozen=True, slots=True)
class Roles:
    """The roles of the columns of ``obs``, and the location of counts and views in a file."""

    layer: str | None = None
    """The layer with the counts, ``raw`` for the X of ``raw``; None for X."""
    categorical: tuple[str, ...] = ()
    """Columns that condition the decoder, as one-hot vectors."""
    continuous: tuple[str, ...] = ()
    """Columns that condition the decoder, standardised."""
    label: str | None = None
    """The column for ``extras["label"]``; None has no labels."""
    batch: str | None = None
    """The column for ``extras["batch"]``; None takes the first of `categorical`."""
    library: str | None = None
    """The column with the library size of each cell; None sums the counts."""
    views: tuple[str, ...] = ()
    """Tables of ``obsm``, concatenated to the counts."""
    order: tuple[str, ...] = ()
    """The columns that condition the decoder in the order of the caller; empty for `categorical`, then `continuous`."""
    gene_names: Literal["symbols", "ids"] = "symbols"
    """The names of the genes of formats that have symbols and IDs."""

    @property
    def condition(self) -> tuple[str, ...]:
        """The columns that condition the decoder, in the order in which a caller passes them."""
        return self.order or (*self.categorical, *self.continuous)

    def state(self) -> dict[str, Any]:
        """Return the roles as plain values."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Roles:
        """Return the roles that `state` returned."""
        fields: dict[str, Any] = {k: tuple(value) if isinstance(value, list) else value for k, value in state.items()}
        return cls(**fields)


@dataclass(frozen=True, slots=True)
class CellMetadata:
    """Genes and ``obs`` of a dataset, which are fast to read even from a large file."""

    genes: tuple[str, ...]
    obs: pd.DataFrame
    """One row for each cell; the index is the names of the cells."""
    origin: str
    """The dataset, for messages."""

    def has_column(self, name: str) -> bool:
        """Return whether `obs` has a column."""
        return name in self.obs.columns

    def column(self, name: str, role: str) -> pd.Series[Any]:
        """Return a column of `obs`.

        Raises:
            AeframeError: No such column; the message names its `role`.
        """
        if not self.has_column(name):
            columns = [str(column) for column in self.obs.columns]
            raise AeframeError(
                f"{self.origin} has no column '{name}' in obs for {role}{did_you_mean(name, columns)}; "
                f"it has {', '.join(columns) or 'none'}"
            )
        return self.obs[name]

    def categories(self, name: str, role: str) -> tuple[Rows, tuple[str, ...]]:
        """Return a column as codes ``(N,)``, -1 for missing values, and the names of the categories.

        Categories have the order of the file; those of a column that is not categorical are sorted. The words in
        `MISSING` are missing values.

        Raises:
            AeframeError: No such column; the message names its `role`.
        """
        column = self.column(name, role)
        if not isinstance(column.dtype, pd.CategoricalDtype):
            column = column.astype(str).where(column.notna()).astype("category")
        codes = column.cat.codes.to_numpy().astype(np.int64)
        names = [str(category) for category in column.cat.categories]
        kept = [name for name in names if name.strip() not in MISSING]
        return recode(codes, names, kept) if len(kept) < len(names) else codes, tuple(kept)

    def numbers(self, name: str, role: str) -> NDArray[np.float64]:
        """Return a numeric column ``(N,)``, NaN for missing values.

        Raises:
            AeframeError: No such column, or one that is not numeric; the message names its `role`.
        """
        column = self.column(name, role)
        if not pd.api.types.is_numeric_dtype(column.dtype):
            raise AeframeError(
                f"{self.origin}: column '{name}' in obs is {column.dtype}, expected numbers for {role}; "
                "list it in data.categorical, or convert it"
            )
        return column.to_numpy(np.float64, na_value=np.nan)

    def name_cell(self, row: int) -> str:
        """Return the name and row of a cell, for messages."""
        return f"{self.origin}: cell '{self.obs.index[row]}' (row {row})"


@dataclass(frozen=True, slots=True)
class CellTable:
    """All cells of a file, or of an object in memory."""

    metadata: CellMetadata
    counts: Counts
    views: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)
    """Tables ``(N, P)`` of further measurements of the cells."""
    other_counts: Callable[[], Sequence[str]] = tuple
    """Return the names of the other matrices of the data that have counts: ``raw``, ``X`` or layers."""

    def __len__(self) -> int:
        return len(self.metadata.obs)

    def split(self, splits: Mapping[str, Rows], roles: Roles, *, min_counts: int) -> Cells:
        """Return the cells with the rows of each split."""
        return Cells(
            self.metadata,
            self.counts,
            splits,
            roles,
            min_counts=min_counts,
            views=self.views,
            other_counts=self.other_counts,
        )


@dataclass(frozen=True, slots=True)
class Cells:
    """The value of `Dataset.load` for the modality ``omics``."""

    metadata: CellMetadata
    counts: Counts
    splits: Mapping[str, Rows]
    """The rows of each of `SPLITS`, in ascending order."""
    roles: Roles
    min_counts: int = 0
    """Cells with a smaller total count are left out."""
    views: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)
    """Tables ``(N, P)`` of further measurements of the cells."""
    other_counts: Callable[[], Sequence[str]] = tuple
    """Return the names of the other matrices of the data that have counts: ``raw``, ``X`` or layers."""


def recode(codes: Rows, categories: Sequence[str], new_categories: Sequence[str]) -> Rows:
    """Return codes of `categories` as codes of `new_categories`; -1 for missing values and other categories."""
    new_code = {category: code for code, category in enumerate(new_categories)}
    # Code -1 (missing) selects the last entry.
    table = np.array([new_code.get(category, -1) for category in categories] + [-1], np.int64)
    return table[codes]


_SPLIT_NAMES = {
    "train": "train",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "test": "test",
}


def splits_of_column(metadata: CellMetadata, column: str, selected: NDArray[np.bool_]) -> dict[str, Rows]:
    """Return the rows of each split that a column of ``obs`` defines for the cells `selected`, and of ``train``.

    Raises:
        AeframeError: No such column, or a value that is no split.
    """
    codes, categories = metadata.categories(column, "split")
    unknown = next((category for category in categories if category not in _SPLIT_NAMES), None)
    if unknown is not None or (codes[selected] < 0).any():
        found = "a missing value" if unknown is None else f"'{unknown}'"
        raise AeframeError(
            f"{metadata.origin}: column '{column}' in obs has {found}, expected train, validation or test for each "
            "cell; correct it, or leave out data.split"
        )
    splits = np.array([_SPLIT_NAMES[category] for category in categories])[codes]
    present = {name: np.flatnonzero(selected & (splits == name)) for name in SPLITS}
    return {name: rows for name, rows in present.items() if len(rows) or name == "train"}


def shared_out(
    present: Mapping[str, Rows],
    *,
    validation: float,
    test: float,
    seed: int,
    origin: str,
    record: SplitRecord | None = None,
    names: Sequence[str] = (),
    groups: NDArray[Any] | None = None,
) -> dict[str, Rows]:
    """Return the rows of the three splits; those missing from `present` are random subsets of ``train``.

    Args:
        present: The rows of each split that the data define: at least ``train``.
        validation: Fraction of the rows in ``train`` for a missing validation split.
        test: Fraction of the rows in ``train`` for a missing test split.
        seed: Seed of the random split.
        origin: The dataset, for messages.
        record: `Dataset.split_record`, which stores the split, or returns that of an earlier run.
        names: The names of all cells. Cells are recorded by name if names are unique, otherwise by row.
        groups: The group of all cells, such as the donor; no group is then in two of the splits that are drawn.

    Raises:
        AeframeError: See `RandomSplit`.
    """
    rows = {split: torch.from_numpy(np.asarray(rows_of_split, np.int64)) for split, rows_of_split in present.items()}
    # The keys identify cells in the record.
    if len(names) and len(set(names)) == len(names):
        key_of_row = keys_of_names(names)
        keys = {split: key_of_row[rows_of_split] for split, rows_of_split in rows.items()}
    else:
        keys = rows
    splitter = RandomSplit(origin, "cells", validation=validation, test=test, seed=seed)
    indices = splitter.indices(keys, record, groups=None if groups is None else groups[present["train"]])
    return {name: present.get(name, present["train"])[indices[name].numpy()] for name in SPLITS}


__all__ = ["SPLITS", "CellMetadata", "Cells", "Roles", "Rows", "recode", "shared_out", "splits_of_column"]
