"""The modality `omics`: counts of molecules per cell and gene, with covariates and further views."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from aeframe.data import Dataset, FileSamples, Modality, OnError, Source, Splits
from aeframe.data.media import Medium, figure_medium
from aeframe.data.sample_batches import SampleBatches
from aeframe.data.samples import as_array, is_frame
from aeframe.data.scored_parts import largest
from aeframe.errors import AeframeError
from aeframe.types import Batch, DataSpec, Domain
from aeframe_omics.cells import SPLITS, CellMetadata, Cells, CellTable, Roles, Rows, recode
from aeframe_omics.check_cells import Fractions, ValueRule, Values, check_unique_genes
from aeframe_omics.counts import Counts, RoundedCounts
from aeframe_omics.covariates import Covariates, Missing, Unseen
from aeframe_omics.files import open_cells
from aeframe_omics.genes import select_genes
from aeframe_omics.layers import MissingLayerError, are_counts
from aeframe_omics.memory import table_of
from aeframe_omics.source import TARGET_SUM, BackedCellSource, CellSource
from aeframe_omics.usable_cells import CellSelection, Origin, UsableCells
from aeframe_omics.views import Standardizer
from aeframe_omics.write import as_anndata, check_suffix, write_cells

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
            ``gaussian`` and distances; ``real`` for values that are normalised already, which are taken as they are.
        fractions: Counts that are not whole numbers, as some programs estimate them: ``refuse`` raises an error,
            ``round`` rounds them to the nearest whole number, ``keep`` leaves them, for ``values=log`` only.
        unseen: Covariates with a missing value or a category without training cells: ``refuse`` raises an error,
            ``unknown`` replaces them by the mean over the training cells.
        missing: Missing values of categorical covariates: ``category`` makes them a category of their own; ``refuse``
            treats them as `unseen` does.
        on_error: Cells that are empty, or have invalid counts, values or covariates: ``raise`` stops, ``skip`` leaves
            them out and lists them.

    Raises:
        AeframeError: ``fractions=keep`` for likelihoods of counts.
    """

    defaults: ClassVar[Mapping[str, str]] = {"encoder": "counts_mlp", "loss": "negative_binomial"}
    metrics: ClassVar[tuple[str, ...]] = (*Modality.metrics, "poisson_deviance", "cell_clusters")
    feature_spaces: ClassVar[tuple[str, ...]] = ("log_normalised", "pca")
    dataset: ClassVar[str | None] = "cells_simulated"
    in_memory: ClassVar[str | None] = "omics_in_memory"
    reading_options: ClassVar[tuple[str, ...]] = ("fractions",)

    def __init__(
        self,
        *,
        values: Values = "counts",
        fractions: Fractions = "refuse",
        unseen: Unseen = "refuse",
        missing: Missing = "refuse",
        on_error: OnError = "raise",
    ) -> None:
        if fractions == "keep" and values == "counts":
            raise AeframeError(
                "modality 'omics' keeps fractions only with values=log: likelihoods of counts need whole numbers; set "
                "modality.fractions=round, or modality.values=log"
            )
        self.values, self.fractions, self.unseen, self.missing = values, fractions, unseen, missing
        self.on_error = on_error
        self._genes: tuple[str, ...] | None = None
        self._roles = Roles()
        self._covariates = Covariates({}, {})
        self._category_names: dict[str, tuple[str, ...]] = {}
        self._views: dict[str, Standardizer] = {}
        self._min_counts = 0
        self._checked: _CheckedCells | None = None

    # -- training ------------------------------------------------------------------------------------------------

    def spec(self, dataset: Dataset) -> DataSpec:
        description = dataset.describe()
        metadata, roles = description["metadata"], description["roles"]
        width = Covariates.learn(metadata, roles, description["splits"]["train"], missing=self.missing).width
        domain = Domain("count" if self.values == "counts" else "real")
        views = {name: (size, Domain("real")) for name, size in description["views"].items()}
        extras: dict[str, tuple[int, ...]] = dict.fromkeys(_category_columns(roles), ())
        if self.values != "real":
            extras = {"library": (), **extras}
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
        metadata, num_min = raw.metadata, raw.min_counts
        if self.values == "real" and (num_min or raw.roles.library is not None):
            option = "min_counts" if num_min else "library"
            raise AeframeError(
                f"{metadata.origin}: data.{option} is for counts, found modality.values=real; leave out data.{option}"
            )
        self._genes, self._roles, self._min_counts = metadata.genes, raw.roles, num_min
        self._covariates = Covariates.learn(metadata, raw.roles, raw.splits["train"], missing=self.missing)
        train = self._check(raw).splits["train"]
        self._covariates = Covariates.learn(metadata, raw.roles, raw.splits["train"], missing=self.missing, kept=train)
        self._category_names = {
            role: metadata.categories(name, f"the {role}")[1] for role, name in _category_columns(raw.roles).items()
        }
        self._views = {name: Standardizer.learn(table[train]) for name, table in raw.views.items()}

    def apply(self, raw: Cells) -> Splits:
        checked = self._check(raw)
        self._checked = None
        metadata = replace(raw.metadata, genes=self.genes)
        cells = replace(raw, metadata=metadata, counts=self._selected(raw.metadata, raw.counts))
        rows = np.sort(np.concatenate(list(checked.splits.values())))
        self._note_columns(metadata, raw.roles, rows)
        train, validation, test = (
            self._source(cells, checked.splits[split], checked.usable.totals) for split in SPLITS
        )
        return Splits(train, validation, test, checked.usable.skipped, self._category_names.get("label"))

    def _check(self, cells: Cells) -> _CheckedCells:
        """Check all cells; `learn` and `apply` share the result."""
        if self._checked is not None and self._checked.cells is cells:
            return self._checked
        metadata, rows = cells.metadata, np.sort(np.concatenate([cells.splits[split] for split in SPLITS]))
        check_unique_genes(metadata)
        counts = select_genes(self.genes, metadata, cells.counts)
        metadata = replace(metadata, genes=self.genes)
        selection = self._selection("training", keep_empty=cells.min_counts > 0)
        usable = selection.select(
            metadata, counts, cells.views, rows, on_error=self.on_error, other_counts=cells.other_counts
        )
        splits, totals = {}, usable.totals
        small = totals < cells.min_counts
        if small.any() and self.values != "real":
            num_empty = int((totals == 0).sum())
            self.notes.add(
                f"{metadata.origin}: {int(small.sum())} of {len(rows)} cells have fewer than "
                f"min_counts={cells.min_counts} counts ({num_empty} have none); they are left out"
            )
            totals = np.where(small, np.nan, totals)
        for split in SPLITS:
            # Cells that are not used have the total NaN.
            splits[split] = cells.splits[split][~np.isnan(totals[cells.splits[split]])]
            if len(splits[split]):
                continue
            in_split = set(cells.splits[split].tolist())
            problems = [problem for problem in usable.problems if problem.row in in_split]
            if small.any() or not problems:
                raise AeframeError(f"{metadata.origin} has no usable cell for the {split} split; lower data.min_counts")
            raise selection.none_left(metadata, split, problems, len(cells.splits[split]), cells.other_counts())
        self._checked = _CheckedCells(cells, usable, splits)
        return self._checked

    def _selection(self, origin: Origin, *, keep_empty: bool, condition: bool = True) -> CellSelection:
        """Return the checks of cells; `condition` checks their covariates as well."""
        rule = ValueRule(self.values, self.fractions, keep_empty=keep_empty or self.values == "real")
        covariates = self._covariates if condition and self.unseen == "refuse" else None
        return CellSelection(rule, self._roles, covariates, origin, self.notes)

    def _selected(self, metadata: CellMetadata, counts: Counts) -> Counts:
        """Return the counts of the genes of the model, rounded if fractions are."""
        selected = select_genes(self.genes, metadata, counts)
        return RoundedCounts(selected) if self.fractions == "round" and self.values != "real" else selected

    def _note_columns(self, metadata: CellMetadata, roles: Roles, rows: Rows) -> None:
        """Note how many of the cells `rows` have no label, or no value of a covariate."""
        if roles.label is not None and metadata.has_column(roles.label):
            num_missing = int((metadata.categories(roles.label, "the label")[0][rows] < 0).sum())
            if num_missing:
                self.notes.add(
                    f"{metadata.origin}: {num_missing} of {len(rows)} labels in column '{roles.label}' are missing; "
                    "these cells have no label"
                )
        if self.missing == "refuse" and self.unseen == "refuse":
            return
        for name, num in self._covariates.num_missing(metadata, rows).items():
            done = "are the category '(missing)'" if self.missing == "category" else "have the mean of training"
            self.notes.add(
                f"{metadata.origin}: {num} of {len(rows)} cells have no value in column '{name}'; they {done}"
            )

    def _source(self, cells: Cells, rows: Rows, totals: NDArray[Any], *, condition: bool = True) -> CellSource:
        """Return the data source of the cells `rows`; `totals` are the total counts of all cells."""
        metadata, roles = cells.metadata, cells.roles
        library = totals if roles.library is None else metadata.numbers(roles.library, "the library")
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
            library=None if self.values == "real" else torch.from_numpy(library[rows]).float(),
            condition=self._covariates.encode(metadata, rows) if condition else None,
            extras=extras,
            views=torch.cat(views, 1) if views else None,
            names=metadata.obs.index,
        )

    def state(self) -> dict[str, Any]:
        return {
            "genes": list(self.genes),
            "roles": self._roles.state(),
            "covariates": self._covariates.state(),
            "category_names": {role: list(names) for role, names in self._category_names.items()},
            "views": {name: standardizer.state() for name, standardizer in self._views.items()},
            "min_counts": self._min_counts,
        }

    def load_state(self, state: Mapping[str, Any]) -> None:
        self._genes, self._roles = tuple(state["genes"]), Roles.from_state(state["roles"])
        self._covariates, self._min_counts = (
            Covariates.from_state(state["covariates"], self.missing),
            state["min_counts"],
        )
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

    def as_counts(self, x: Tensor, library: Tensor | None) -> NDArray[np.float32]:
        """Return the counts ``(N, genes)`` of samples x ``(N, *shape)``; inverts the normalisation of ``values=log``.

        Args:
            x: Samples in the values of the model.
            library: ``(N,)`` library sizes, which only ``values=log`` needs.
        """
        counts = x[:, : len(self.genes)]
        if self.values == "log" and library is not None:
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
        table = self._table(
            "x",
            lambda layer: table_of(x, layer=layer, views=tuple(self._views), origin="x", genes=self.genes),
        )
        has_condition = self.unseen == "unknown" or _has_condition(table.metadata, self._roles)
        source, _ = self._prepared(table, "memory", "raise", condition=has_condition)
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
        metadata, rows = CellMetadata((), obs, f"{who}: condition"), np.arange(len(obs))
        for problem in self._covariates.problems(metadata, rows) if self.unseen == "refuse" else ():
            raise AeframeError(f"{problem.message}; correct it")
        return self._covariates.encode(metadata, rows)

    # -- files and figures ---------------------------------------------------------------------------------------

    def open(self, path: Path, on_error: OnError) -> FileSamples:
        """Open all cells of a file or folder of any format that `open_cells` reads, with the layer of training.

        Genes are matched by name; genes that are not part of the model are ignored. The counts of an ``.h5ad`` or a
        ``.zarr`` (CSR or dense) and of an ``.h5`` of 10x Genomics stay in the file; other formats are read completely.

        Raises:
            AeframeError: A missing gene or column, or with ``raise`` an unusable cell.
        """
        origin = f"modality 'omics': '{path}'"
        file = open_cells(path, origin=origin, notes=self.notes, gene_names=self._roles.gene_names)
        table = self._table(origin, lambda layer: file.table(layer, tuple(self._views), backed=None))
        return FileSamples(*self._prepared(table, "file", on_error))

    def write_batches(self, samples: SampleBatches, path: Path) -> list[Path]:
        """Write samples x ``(N, *shape)`` to a new ``.h5ad`` file: counts in X or the layer of training, views in obsm.

        With ``values=log``, the counts of a cell sum to 10,000. All cells are held in memory: whether the matrix is
        stored sparse depends on all of them.

        Raises:
            AeframeError: Another suffix.
        """
        check_suffix(path)
        counts, views = self._restored(samples.tensor())
        return write_cells(path, counts, self.genes, layer=self._roles.layer, views=views, names=samples.names)

    def _table(self, origin: str, read: Callable[[str | None], CellTable]) -> CellTable:
        """Return the cells that `read` returns for the layer of training, or for X where only X has counts."""
        layer = self._roles.layer
        try:
            return read(layer)
        except MissingLayerError as error:
            refused = AeframeError(f"{error.found}; the model was trained on this layer, so add it")
            try:
                table = None if layer is None or self.values == "real" else read(None)
            except MissingLayerError:
                table = None
            first = np.arange(0 if table is None else min(100, len(table)))
            if table is None or not are_counts(table.counts.rows(first).data):
                raise refused from error
        self.notes.add(f"{origin} has no layer '{layer}', in which training had the counts; those in X are used")
        return table

    def _prepared(
        self, table: CellTable, origin: Origin, on_error: OnError, *, condition: bool = True
    ) -> tuple[Source, list[str]]:
        """Return the cells of a table, prepared as in training, and the messages of those that are left out.

        Args:
            table: The cells.
            origin: Where they come from.
            on_error: What happens to cells that cannot be used.
            condition: Whether the batches have the covariates.
        """
        check_unique_genes(table.metadata)
        metadata = replace(table.metadata, genes=self.genes)
        rows = np.arange(len(table), dtype=np.int64)
        # Results for samples in memory must have as many rows as these.
        keep_empty = self._min_counts > 0 and origin == "file"
        usable = self._selection(origin, keep_empty=keep_empty, condition=condition).select(
            metadata,
            select_genes(self.genes, table.metadata, table.counts),
            table.views,
            rows,
            on_error=on_error,
            other_counts=table.other_counts,
        )
        kept = usable.rows
        if self.values != "real":
            # Empty cells, which training left out since they have fewer counts than its `min_counts`.
            kept = kept[usable.totals[kept] > 0]
            if len(kept) < len(usable.rows):
                self.notes.add(
                    f"{metadata.origin}: {len(usable.rows) - len(kept)} of {len(rows)} cells are empty; they are left "
                    f"out, as by data.min_counts={self._min_counts} in training"
                )
        if not len(kept):
            raise AeframeError(f"{metadata.origin} has no cell with counts of the genes of the model")
        self._note_columns(metadata, self._roles, kept)
        counts = self._selected(table.metadata, table.counts)
        cells = Cells(metadata, counts, {}, self._roles, views=table.views)
        return self._source(cells, kept, usable.totals, condition=condition), usable.skipped

    def _restored(self, x: Tensor) -> tuple[NDArray[np.float32], dict[str, NDArray[np.float32]]]:
        """Return the counts ``(N, genes)`` and the views of samples x ``(N, *shape)``, in the unit of training."""
        sizes = [len(self.genes), *(len(standardizer.mean) for standardizer in self._views.values())]
        counts, *tables = x.detach().cpu().float().split(sizes, 1)
        views = {
            name: standardizer.undo(table)
            for (name, standardizer), table in zip(self._views.items(), tables, strict=True)
        }
        return self.as_counts(counts, torch.full((len(x),), TARGET_SUM)), views

    def locate_errors(self, errors: Tensor, batch: Batch) -> list[str]:
        """Return the three genes, or columns of views, with the largest errors."""
        return largest(errors, (*self.genes, *self._view_columns()))

    def render(self, panels: Mapping[str, Tensor]) -> Figure:
        """Return heat maps of log(1 + count) for the 40 genes with the largest variance in the first panel."""
        from aeframe_omics.render import draw

        return draw(panels, (*self.genes, *self._view_columns()), len(self.genes), values=self.values)

    def show(self, x: Tensor) -> list[list[Medium]]:
        """Return a bar chart of each cell: the 24 genes or columns of views with the largest values in the first."""
        from aeframe.data.profile import draw_profiles
        from aeframe_omics.render import UNITS, log_genes

        drawn = log_genes(x.float(), len(self.genes)) if self.values == "counts" else x
        names = (*self.genes, *self._view_columns())
        return [[figure_medium(figure)] for figure in draw_profiles(drawn, names, unit=UNITS[self.values])]

    def _view_columns(self) -> list[str]:
        return [f"{name} {k + 1}" for name, view in self._views.items() for k in range(len(view.mean))]


@dataclass(frozen=True, slots=True)
class _CheckedCells:
    """The cells of a dataset after the checks before training."""

    cells: Cells
    usable: UsableCells
    splits: dict[str, Rows]
    """The usable rows of each split."""


def _category_columns(roles: Roles) -> dict[str, str]:
    """Return the columns of ``obs`` for ``extras["label"]`` and ``extras["batch"]``, by role."""
    batch = roles.batch or next(iter(roles.categorical), None)
    return {role: name for role, name in (("label", roles.label), ("batch", batch)) if name is not None}


def _has_condition(metadata: CellMetadata, roles: Roles) -> bool:
    """Return whether ``obs`` has a column that conditions the decoder, in upper or lower case."""
    columns = {str(column).casefold() for column in metadata.obs.columns}
    return any(name.casefold() in columns for name in roles.condition)
