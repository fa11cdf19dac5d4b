"""The dataset `omics_in_memory`: cells that a program has in memory."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from scipy.sparse import csr_matrix, vstack
from torch import Tensor

from aeframe.data import Source
from aeframe.data.in_memory import MemoryDataset, SampleSplits
from aeframe.data.samples import Samples, as_array, is_anndata, is_frame
from aeframe.errors import AeframeError
from aeframe_omics.cells import SPLITS, CellMetadata, Cells, CellTable, Roles, Rows, shared_out, splits_of_column
from aeframe_omics.check_cells import check_unique_genes
from aeframe_omics.counts import Counts
from aeframe_omics.genes import select_genes
from aeframe_omics.memory import table_of
from aeframe_omics.source import CellSource


class OmicsInMemory(MemoryDataset):
    """Cells in memory: an AnnData, or counts ``(N, genes)`` in a data frame, a sparse matrix or an array.

    ``y`` is the label of the cells, and ``condition`` conditions the decoder; both are columns of ``obs`` or arrays.
    Columns of floating-point numbers are standardised by the training cells; categories, strings, truth values and
    whole numbers become one-hot vectors. The genes of all splits are matched by name.

    Args:
        samples: The cells by split, injected.
        layer: The layer with the counts; ``raw`` takes the X of ``raw``, null X.
        batch: A column of ``obs`` for ``extras["batch"]``, by which metrics measure batch mixing; it does not condition
            the model. Null takes the first column of categories in ``condition``.
        library: A column of ``obs`` with the library size of each cell; null sums the counts.
        split: A column of ``obs`` with the values train, validation (or val) and test; a missing split is a random
            fraction of the training cells.
        min_counts: Cells with a smaller total count are left out.
        views: Tables of ``obsm`` that are concatenated to the counts, such as proteins.
        validation: Fraction of the cells for validation, if no validation split was passed.
        test: Fraction of the cells for testing, if no test split was passed.
        split_seed: Seed of the random split.
    """

    modality: ClassVar[str] = "omics"
    noun: ClassVar[str] = "cells"

    def __init__(
        self,
        samples: SampleSplits,
        *,
        layer: str | None = None,
        batch: str | None = None,
        library: str | None = None,
        split: str | None = None,
        min_counts: int = 0,
        views: tuple[str, ...] = (),
        validation: float = 0.1,
        test: float = 0.1,
        split_seed: int = 0,
    ) -> None:
        self.split_column, self.min_counts = split, min_counts
        given = {name: split_samples.resolved("fit") for name, split_samples in samples.by_split.items()}
        label, condition = (_columns(samples.by_split["train"], given["train"], field) for field in ("y", "condition"))
        self.roles = Roles(
            layer=layer,
            categorical=tuple(name for name, column in condition.items() if not _is_continuous(column)),
            continuous=tuple(name for name, column in condition.items() if _is_continuous(column)),
            label=next(iter(label), None),
            batch=batch,
            library=library,
            views=tuple(views),
            order=tuple(condition),
        )
        # y and the condition become columns of `obs`, where the modality finds them.
        rest = {name: replace(split_samples, y=None, condition=None) for name, split_samples in given.items()}
        super().__init__(SampleSplits(rest), validation=validation, test=test, split_seed=split_seed)
        for name, table in self._raw.items():
            passed = samples.by_split[name]
            columns = {
                role: _columns(passed, given[name], field, tuple(names))
                for role, field, names in (("the label", "y", label), ("the condition", "condition", condition))
            }
            self._raw[name] = _with_columns(table, {**columns["the label"], **columns["the condition"]})
            for column in self.roles.condition:
                self._raw[name].metadata.column(column, "the condition")
        self._table, self._starts = _stacked(self._raw, self.roles)

    @staticmethod
    def accepts(x: Any) -> bool:
        return is_anndata(x)

    def read(self, x: Any, labels: Tensor | None) -> CellTable:
        train = getattr(self, "_raw", {}).get("train")
        genes = None if train is None else train.metadata.genes
        return table_of(x, layer=self.roles.layer, views=self.roles.views, origin="fit: x", genes=genes)

    def describe_raw(self, train: CellTable) -> Mapping[str, Any]:
        views = {name: table.shape[1] for name, table in train.views.items()}
        return {"metadata": self._table.metadata, "splits": self._splits(), "roles": self.roles, "views": views}

    def load(self) -> Cells:
        splits = self._splits()
        for split, rows in splits.items():
            origin = split if split in self._raw else "train"
            self._extras[split] = self._extra(origin, torch.from_numpy(rows - self._starts[origin]))
        self._rows_of_split = splits
        return self._table.split(splits, self.roles, min_counts=self.min_counts)

    def kept_rows(self, split: str, source: Source) -> Tensor | None:
        # Cells with too few counts are in no source.
        assert isinstance(source, CellSource)
        return torch.from_numpy(np.searchsorted(self._rows_of_split[split], source.rows))

    def _splits(self) -> dict[str, Rows]:
        """Return the rows of each split in the cells of all splits, one after another."""
        present = {
            split: self._starts[split] + np.arange(len(table), dtype=np.int64) for split, table in self._raw.items()
        }
        metadata, groups = self._table.metadata, self.samples["train"].groups
        if self.split_column is not None:
            selected = np.zeros(len(metadata.obs), bool)
            selected[present["train"]] = True
            present = {**present, **splits_of_column(metadata, self.split_column, selected)}
        splits = shared_out(
            present,
            validation=self.split.fractions["validation"],
            test=self.split.fractions["test"],
            seed=self.split.seed,
            origin="fit",
            # Inherited; it stores the drawn split, so that a resumed run uses the same one.
            record=self.split_record,
            names=[str(name) for name in metadata.obs.index],
            groups=groups,
        )
        if groups is not None:
            _check_groups(groups, {split: rows[rows < len(groups)] for split, rows in splits.items()})
        return splits


@dataclass(frozen=True, slots=True)
class _StackedMetadata(CellMetadata):
    """Metadata of the cells of several splits, one after another."""

    starts: tuple[tuple[str, int], ...] = ()
    """Each split with its first row."""

    def name_cell(self, row: int) -> str:
        split, start = next((split, start) for split, start in reversed(self.starts) if start <= row)
        return f"{self.origin}, {split}: cell '{self.obs.index[row]}' (row {row - start})"


class _StackedCounts:
    """The rows of several matrices of the same genes, one after another; implements `Counts`."""

    def __init__(self, parts: list[Counts]) -> None:
        self._parts = parts
        self._starts = np.cumsum([0, *(part.shape[0] for part in parts)])
        self.shape = (int(self._starts[-1]), parts[0].shape[1])
        self.backed = any(part.backed for part in parts)

    def rows(self, index: NDArray[np.int64]) -> csr_matrix[Any]:
        number = np.searchsorted(self._starts, index, side="right") - 1
        used = np.unique(number).tolist()
        matrices = [self._parts[part].rows(index[number == part] - self._starts[part]) for part in used]
        if len(matrices) == 1:
            return matrices[0]
        # The rows come out sorted by their part.
        order = np.argsort(np.argsort(number, kind="stable"), kind="stable")
        return csr_matrix(vstack(matrices, format="csr"))[order]


def _columns(
    passed: Samples, resolved: Samples, field: str, names: tuple[str, ...] | None = None
) -> dict[str, pd.Series[Any]]:
    """Return the columns that a field of `Samples` has, by name; none if it has no value.

    Args:
        passed: The samples of the caller, whose fields may be names of columns.
        resolved: The same samples with arrays.
        field: ``y`` or ``condition``.
        names: The names of the columns in the training cells; None for these themselves.

    Raises:
        AeframeError: Another number of columns than in the training cells.
    """
    value, array = getattr(passed, field), getattr(resolved, field)
    if array is None:
        return {}
    is_name = isinstance(value, str) or (isinstance(value, list) and len(value) != len(array))
    if is_name:
        own = [value] if isinstance(value, str) else value
        frame = passed.x.obs if is_anndata(passed.x) else passed.x
        columns = [pd.Series(frame[name]) for name in own]
    elif is_frame(value):
        own = [str(name) for name in value.columns]
        columns = [pd.Series(as_array(value[name])) for name in value.columns]
    elif array.ndim == 1:
        own = [str(getattr(value, "name", None) or {"y": "label"}.get(field, field))]
        columns = [pd.Series(value if isinstance(value, pd.Series) else array.tolist())]
    else:
        own = [field if array.shape[1] == 1 else f"{field}{number}" for number in range(array.shape[1])]
        # A matrix of whole numbers is taken as numbers, a column of them as categories.
        kept = array.astype(np.float64) if array.dtype.kind in "iub" and array.shape[1] > 1 else array
        columns = [pd.Series(kept[:, number].tolist()) for number in range(array.shape[1])]
    if names is not None and len(names) != len(own):
        raise AeframeError(
            f"fit: {field} has {len(own)} columns for one split, and {len(names)} for the training cells; pass the "
            "same columns"
        )
    return dict(zip(own if names is None else names, columns, strict=True))


def _is_continuous(column: pd.Series[Any]) -> bool:
    return bool(pd.api.types.is_float_dtype(column.dtype))


def _with_columns(table: CellTable, columns: Mapping[str, pd.Series[Any]]) -> CellTable:
    """Return cells with further columns in a copy of ``obs``; a column of the same name is replaced."""
    obs = table.metadata.obs
    added = {name: column.array for name, column in columns.items()}
    return replace(table, metadata=replace(table.metadata, obs=obs.assign(**added))) if added else table


def _stacked(tables: Mapping[str, CellTable], roles: Roles) -> tuple[CellTable, dict[str, int]]:
    """Return the cells of all splits one after another with the genes of training, and the first row of each split."""
    train = tables["train"]
    if len(tables) == 1:
        return train, {"train": 0}
    check_unique_genes(train.metadata)
    names = [split for split in SPLITS if split in tables]
    ends = np.cumsum([len(tables[split]) for split in names]).tolist()
    starts = dict(zip(names, [0, *ends[:-1]], strict=True))
    parts = [tables[split] for split in names]
    counts = []
    for part in parts:
        check_unique_genes(part.metadata)
        counts.append(select_genes(train.metadata.genes, part.metadata, part.counts))
    metadata = _StackedMetadata(
        train.metadata.genes,
        _stacked_obs([part.metadata for part in parts], roles),
        train.metadata.origin,
        tuple(starts.items()),
    )
    for split, part in tables.items():
        for name, view in part.views.items():
            if view.shape[1] != train.views[name].shape[1]:
                raise AeframeError(
                    f"fit: obsm '{name}' has {view.shape[1]} columns for the {split} split, expected "
                    f"{train.views[name].shape[1]} as for the training cells; use the same columns"
                )
    views = {name: np.concatenate([part.views[name] for part in parts]) for name in roles.views}
    return CellTable(metadata, _StackedCounts(counts), views, train.other_counts), starts


def _stacked_obs(parts: list[CellMetadata], roles: Roles) -> pd.DataFrame:
    """Return the columns of ``obs`` that have a role, of several splits one after another."""
    columns: dict[str, Any] = {}
    for name in dict.fromkeys((*roles.continuous, *_present([roles.library]))):
        columns[name] = np.concatenate([part.numbers(name, "a continuous covariate") for part in parts])
    for name in dict.fromkeys((*roles.categorical, *_present([roles.label, roles.batch]))):
        if name in columns:
            continue
        codes, categories = zip(*(_categories(part, name) for part in parts), strict=True)
        # The categories of training first, in their order.
        names = list(dict.fromkeys(category for part_categories in categories for category in part_categories))
        number = {category: code for code, category in enumerate(names)}
        table = [np.array([*(number[category] for category in part), -1], np.int64) for part in categories]
        stacked = np.concatenate([table[part][part_codes] for part, part_codes in enumerate(codes)])
        columns[name] = pd.Categorical.from_codes(stacked.tolist(), categories=pd.Index(names))
    index = pd.Index([str(name) for part in parts for name in part.obs.index], dtype=object)
    return pd.DataFrame(columns, index=index)


def _categories(metadata: CellMetadata, name: str) -> tuple[Rows, tuple[str, ...]]:
    """Return the codes and categories of a column; cells of a split that lacks it have none."""
    if not metadata.has_column(name):
        return np.full(len(metadata.obs), -1, np.int64), ()
    return metadata.categories(name, "a role")


def _present(names: Iterable[str | None]) -> list[str]:
    return [name for name in names if name is not None]


def _check_groups(groups: NDArray[Any], splits: Mapping[str, Rows]) -> None:
    """Raise an error if a group is in two splits, which a column of splits can do."""
    split_of_group: dict[str, str] = {}
    for split, rows in splits.items():
        for group in np.unique(groups[rows].astype(str)).tolist():
            other = split_of_group.setdefault(group, split)
            if other != split:
                raise AeframeError(
                    f"fit: group '{group}' is in the splits {other} and {split} of the column of splits; correct the "
                    "column, or leave out groups"
                )
