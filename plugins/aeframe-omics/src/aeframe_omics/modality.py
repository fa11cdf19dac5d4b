"""The modality `omics`: counts of molecules per cell and gene, with covariates and further views."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from aeframe.data import Dataset, FileSamples, Modality, OnError, Source, Splits
from aeframe.data.samples import as_array, is_frame
from aeframe.errors import AeframeError
from aeframe.types import Batch, DataSpec, Domain
from aeframe_omics.cells import SPLITS, CellMetadata, Cells, CellTable, Roles, Rows
from aeframe_omics.check_cells import check_cells, check_unique_genes
from aeframe_omics.covariates import Covariates, Unseen, recode
from aeframe_omics.files import CellFile
from aeframe_omics.genes import select_genes
from aeframe_omics.memory import table_of
from aeframe_omics.source import TARGET_SUM, BackedCellSource, CellSource
from aeframe_omics.views import Standardizer
from aeframe_omics.write import as_anndata, write_cells

if TYPE_CHECKING:
    from anndata import AnnData
    from matplotlib.figure import Figure


class Omics(Modality):
    """Cells as counts of molecules ``(B, genes)``, stored sparse and returned as dense batches.

    ``extras["library"]`` is the library size of each cell, by default its total count. ``extras["label"]`` and
    ``extras["batch"]`` are category codes of the columns of ``obs`` with these roles, -1 for missing values. Covariates
    are `Batch.condition`: they condition the decoder, and the encoder with ``condition_encoder``. Views (tables of
    further measurements, such as proteins) are standardised by mean and deviation of the training cells, and are
    concatenated to the counts in x.

    Args:
        values: ``counts``, for likelihoods of counts; ``log`` for log(1 + 10,000 count / library), real numbers for
            ``gaussian`` and distances.
        unseen: Covariates with a missing value or a category without training cells: ``refuse`` raises an error,
            ``unknown`` replaces them by the mean over the training cells.
        on_error: Cells that are empty or have invalid counts or values: ``raise`` stops, ``skip`` leaves them out and
            lists them.
    """

    defaults: ClassVar[Mapping[str, str]] = {"encoder": "counts_mlp", "loss": "negative_binomial"}
    metrics: ClassVar[tuple[str, ...]] = (*Modality.metrics, "poisson_deviance", "cell_clusters")
    dataset: ClassVar[str | None] = "cells_simulated"
    in_memory: ClassVar[str | None] = "omics_in_memory"

    def __init__(
        self,
        *,
        values: Literal["counts", "log"] = "counts",
        unseen: Unseen = "refuse",
        on_error: OnError = "raise",
    ) -> None:
        self.values, self.unseen, self.on_error = values, unseen, on_error
        self._genes: tuple[str, ...] | None = None
        self._roles = Roles()
        self._covariates = Covariates({}, {})
        self._category_names: dict[str, tuple[str, ...]] = {}
        self._views: dict[str, Standardizer] = {}
        self._checked: _CheckedCells | None = None

    # -- training ------------------------------------------------------------------------------------------------

    def spec(self, dataset: Dataset) -> DataSpec:
        description = dataset.describe()
        metadata, roles = description["metadata"], description["roles"]
        width = Covariates.learn(metadata, roles, description["splits"]["train"]).width
        domain = Domain("count" if self.values == "counts" else "real")
        views = {name: (size, Domain("real")) for name, size in description["views"].items()}
        extras: dict[str, tuple[int, ...]] = {"library": (), **dict.fromkeys(_category_columns(roles), ())}
        num_genes = len(metadata.genes)
        if not views:
            return DataSpec((num_genes,), domain, condition=width, extras=extras)
        size = num_genes + sum(size for size, _ in views.values())
        all_views = {"counts": (num_genes, domain), **views}
        return DataSpec((size,), Domain("real"), condition=width, extras=extras, views=all_views)

    def learn(self, dataset: Dataset, raw: Any) -> None:
        if not isinstance(raw, Cells):
            raise AeframeError(
                f"modality omics reads Cells, and dataset {type(dataset).__name__} loads {type(raw).__name__}; "
                f"choose a dataset of this modality, or modality={type(dataset).modality}"
            )
        metadata, train = raw.metadata, self._check(raw).splits["train"]
        self._genes, self._roles = metadata.genes, raw.roles
        self._covariates = Covariates.learn(metadata, raw.roles, train)
        self._category_names = {
            role: metadata.categories(name, f"the {role}")[1] for role, name in _category_columns(raw.roles).items()
        }
        self._views = {name: Standardizer.learn(table[train]) for name, table in raw.views.items()}

    def apply(self, raw: Cells) -> Splits:
        checked = self._check(raw)
        self._checked = None
        counts = select_genes(self.genes, raw.metadata, raw.counts)
        cells = replace(raw, metadata=replace(raw.metadata, genes=self.genes), counts=counts)
        train, validation, test = (self._source(cells, checked.splits[split], checked.totals) for split in SPLITS)
        return Splits(train, validation, test, checked.skipped, self._category_names.get("label"))

    def _check(self, cells: Cells) -> _CheckedCells:
        """Check all cells; `learn` and `apply` share the result."""
        if self._checked is not None and self._checked.cells is cells:
            return self._checked
        metadata, rows = cells.metadata, np.sort(np.concatenate([cells.splits[split] for split in SPLITS]))
        check_unique_genes(metadata)
        totals = np.full(len(metadata.obs), np.nan)
        totals[rows], skipped = check_cells(
            metadata, cells.counts, cells.views, rows, integers=self.values == "counts", on_error=self.on_error
        )
        num_small = int((totals < cells.min_counts).sum())
        if num_small:
            skipped.append(f"{metadata.origin}: {num_small} cells have fewer than min_counts={cells.min_counts} counts")
        # The comparison is False for the NaN of unusable cells.
        splits = {split: cells.splits[split][totals[cells.splits[split]] >= cells.min_counts] for split in SPLITS}
        empty = next((split for split in SPLITS if not len(splits[split])), None)
        if empty is not None:
            raise AeframeError(f"{metadata.origin} has no usable cell for the {empty} split; lower data.min_counts")
        self._checked = _CheckedCells(cells, totals, splits, skipped)
        return self._checked

    def _source(self, cells: Cells, rows: Rows, totals: NDArray[Any], *, condition: bool = True) -> CellSource:
        """Return the data source of the cells `rows`; `totals` are the total counts of all cells."""
        metadata, roles = cells.metadata, cells.roles
        library = totals if roles.library is None else metadata.numbers(roles.library, "the library")
        invalid = ~(library[rows] > 0)
        if invalid.any():
            row = int(rows[np.flatnonzero(invalid)[0]])
            raise AeframeError(
                f"{metadata.name_cell(row)} has the library {library[row]:g} in column '{roles.library}' of obs, "
                "expected more than 0; correct it, or leave out data.library to sum the counts"
            )
        extras = {}
        for role, name in _category_columns(roles).items():
            if metadata.has_column(name):
                codes, categories = metadata.categories(name, f"the {role}")
                extras[role] = torch.from_numpy(recode(codes, categories, self._category_names[role])[rows])
        views = [
            standardizer.apply(cells.metadata, name, cells.views[name][rows])
            for name, standardizer in self._views.items()
        ]
        source_class = BackedCellSource if cells.counts.backed else CellSource
        return source_class(
            cells.counts,
            rows,
            log=self.values == "log",
            library=torch.from_numpy(library[rows]).float(),
            condition=self._covariates.encode(metadata, rows, self.unseen) if condition else None,
            extras=extras,
            views=torch.cat(views, 1) if views else None,
        )

    def state(self) -> dict[str, Any]:
        return {
            "genes": list(self.genes),
            "roles": self._roles.state(),
            "covariates": self._covariates.state(),
            "category_names": {role: list(names) for role, names in self._category_names.items()},
            "views": {name: standardizer.state() for name, standardizer in self._views.items()},
        }

    def load_state(self, state: Mapping[str, Any]) -> None:
        self._genes, self._roles = tuple(state["genes"]), Roles.from_state(state["roles"])
        self._covariates = Covariates.from_state(state["covariates"])
        self._category_names = {role: tuple(names) for role, names in state["category_names"].items()}
        self._views = {name: Standardizer.from_state(values) for name, values in state["views"].items()}

    @property
    def category_names(self) -> Mapping[str, tuple[str, ...]]:
        """The category names of the codes in ``extras["label"]`` and ``extras["batch"]``."""
        return self._category_names

    @property
    def genes(self) -> tuple[str, ...]:
        """The names of the genes, in the order of x.

        Raises:
            RuntimeError: They were neither learned nor loaded.
        """
        if self._genes is None:
            raise RuntimeError("modality omics has no genes yet; call prepare or load_state first")
        return self._genes

    def as_counts(self, x: Tensor, library: Tensor) -> NDArray[np.float32]:
        """Return the counts ``(N, genes)`` of samples x ``(N, *shape)``; inverts the normalisation of ``values=log``.

        Args:
            x: Samples in the values of the model.
            library: ``(N,)`` library sizes.
        """
        counts = x[:, : len(self.genes)]
        if self.values == "log":
            counts = counts.expm1().clamp(min=0) * (library / TARGET_SUM).unsqueeze(1)
        return counts.numpy()

    # -- samples in memory ---------------------------------------------------------------------------------------

    def prepare_samples(self, x: Any) -> Batch:
        """Prepare an AnnData, or counts ``(N, genes)`` in a data frame, sparse matrix or array, as in training.

        Genes are matched by name, and those that are not part of the model are ignored; a matrix without names has the
        genes of training, in their order. The condition comes from ``obs``, or from the other columns of a data frame.
        If none of its columns is there, the batch has no condition.

        Raises:
            AeframeError: A missing gene, layer or view, an unusable cell, or a covariate as in a file.
        """
        table = table_of(x, layer=self._roles.layer, views=tuple(self._views), origin="x", genes=self.genes)
        source = self._prepared(
            table, condition=self.unseen == "unknown" or _has_condition(table.metadata, self._roles)
        )
        return source.batch(torch.arange(len(source)))

    def restore_samples(self, x: Tensor) -> AnnData:
        """Return samples x ``(N, *shape)`` as an AnnData: counts in X or the layer of training, views in obsm.

        With ``values=log``, the counts of a cell sum to 10,000.
        """
        counts, views = self._restored(x)
        return as_anndata(counts, self.genes, layer=self._roles.layer, views=views)

    def encode_condition(self, who: str, condition: Any) -> Tensor | None:
        """Return the covariates of N cells as numbers ``(N, C)``, encoded as those of the training cells.

        Args:
            who: How error messages name the model.
            condition: The values of each cell: ``(N,)`` or ``(N, columns)`` in the order in which training had the
                columns, or a data frame or mapping with their names. Numbers ``(N, C)`` are encoded already, as
                `Batch.condition` is.

        Raises:
            AeframeError: A category without training cells, a missing column, or another number of columns.
        """
        names = self._roles.condition
        if not names:
            return None
        if isinstance(condition, Mapping):
            condition = pd.DataFrame(dict(condition))
        if is_frame(condition):
            obs = pd.DataFrame({str(name): as_array(condition[name]) for name in condition.columns})
        else:
            values = as_array(condition)
            if values.ndim == 2 and values.shape[1] == self._covariates.width and values.dtype.kind in "fiub":
                return torch.from_numpy(values.astype(np.float32))
            values = values[:, None] if values.ndim == 1 else values
            if values.ndim != 2 or values.shape[1] != len(names):
                raise AeframeError(
                    f"{who} has a condition of the columns {', '.join(names)}, found one of shape {values.shape}; pass "
                    "a value of each column for each sample"
                )
            obs = pd.DataFrame({name: values[:, number].tolist() for number, name in enumerate(names)})
        metadata = CellMetadata((), obs, f"{who}: condition")
        return self._covariates.encode(metadata, np.arange(len(obs)), self.unseen)

    # -- files and figures ---------------------------------------------------------------------------------------

    def open(self, path: Path, on_error: OnError) -> FileSamples:
        """Read all cells of an ``.h5ad`` file, from the layer of training.

        Genes are matched by name; genes that are not part of the model are ignored.

        Raises:
            AeframeError: A missing gene or covariate, or an unusable cell.
        """
        file = CellFile(path, origin=f"modality 'omics': '{path}'")
        return FileSamples(self._prepared(file.table(self._roles.layer, self._views)))

    def write(self, x: Tensor, path: Path, *, names: Sequence[str] | None = None) -> list[Path]:
        """Write samples x ``(N, *shape)`` to a new ``.h5ad`` file: counts in X or the layer of training, views in obsm.

        With ``values=log``, the counts of a cell sum to 10,000.

        Raises:
            AeframeError: Another suffix, or a file that exists.
        """
        counts, views = self._restored(x)
        return write_cells(path, counts, self.genes, layer=self._roles.layer, views=views)

    def _prepared(self, table: CellTable, *, condition: bool = True) -> Source:
        """Return the cells of a table, prepared as in training; `condition` adds their covariates."""
        check_unique_genes(table.metadata)
        metadata = replace(table.metadata, genes=self.genes)
        counts = select_genes(self.genes, table.metadata, table.counts)
        rows = np.arange(len(table), dtype=np.int64)
        integers = self.values == "counts"
        totals, _ = check_cells(metadata, counts, table.views, rows, integers=integers, on_error="raise")
        cells = Cells(metadata, counts, {}, self._roles, views=table.views)
        return self._source(cells, rows, totals, condition=condition)

    def _restored(self, x: Tensor) -> tuple[NDArray[np.float32], dict[str, NDArray[np.float32]]]:
        """Return the counts ``(N, genes)`` and the views of samples x ``(N, *shape)``, in the unit of training."""
        sizes = [len(self.genes), *(len(standardizer.mean) for standardizer in self._views.values())]
        counts, *tables = x.detach().cpu().float().split(sizes, 1)
        views = {
            name: standardizer.undo(table)
            for (name, standardizer), table in zip(self._views.items(), tables, strict=True)
        }
        return self.as_counts(counts, torch.full((len(x),), TARGET_SUM)), views

    def render(self, panels: Mapping[str, Tensor]) -> Figure:
        """Return heat maps of log(1 + count) for the 40 genes with the largest variance in the first panel."""
        from aeframe_omics.render import draw

        view_columns = (f"{name} {k + 1}" for name, view in self._views.items() for k in range(len(view.mean)))
        return draw(panels, (*self.genes, *view_columns), len(self.genes), counts=self.values == "counts")


@dataclass(frozen=True, slots=True)
class _CheckedCells:
    """The cells of a dataset after the checks before training."""

    cells: Cells
    totals: NDArray[Any]
    """``(N,)`` total counts, NaN for unusable cells and cells outside the splits."""
    splits: dict[str, Rows]
    """The usable rows of each split."""
    skipped: list[str]
    """A message for each skipped cell."""


def _category_columns(roles: Roles) -> dict[str, str]:
    """Return the columns of ``obs`` for ``extras["label"]`` and ``extras["batch"]``, by role."""
    batch = roles.batch or next(iter(roles.categorical), None)
    return {role: name for role, name in (("label", roles.label), ("batch", batch)) if name is not None}


def _has_condition(metadata: CellMetadata, roles: Roles) -> bool:
    """Return whether ``obs`` has a column that conditions the decoder, in upper or lower case."""
    columns = {str(column).casefold() for column in metadata.obs.columns}
    return any(name.casefold() in columns for name in roles.condition)
