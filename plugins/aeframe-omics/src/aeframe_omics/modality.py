"""The modality `omics`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from aeframe.data import Dataset, Modality, Splits
from aeframe.errors import AeframeError
from aeframe.types import Batch, DataSpec, Domain
from aeframe_omics.cells import SPLITS, Cells, Known, Roles, Rows
from aeframe_omics.covariates import Covariates, Unseen
from aeframe_omics.examine import OnError, examine, refuse_repeated_genes
from aeframe_omics.files import CellFile
from aeframe_omics.genes import in_the_order_of
from aeframe_omics.source import TARGET, BackedCellSource, CellSource
from aeframe_omics.views import Standard
from aeframe_omics.write import write_cells

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class Omics(Modality):
    """Cells as counts of molecules, ``(B, genes)``, kept sparse until the batch.

    ``extras["library"]`` is each cell's total, ``extras["label"]`` and ``extras["batch"]`` the columns of ``obs`` that
    the data name so, as numbers (-1 where one is missing); covariates are `Batch.condition`, which the decoder sees,
    and the encoder with ``condition_encoder``. Views stand behind the counts in x, standardised by the training cells.

    Args:
        values: ``counts``, for likelihoods of counts; ``log``: log(1 + 10,000 count / library), which are real numbers,
            for ``gaussian`` and distances.
        unseen: A category that no training cell has: ``refuse`` names the cell, ``unknown`` takes the mean of the
            categories that were seen.
        on_error: Cells that are empty, or have a count or a value of a view that is none: ``raise``, or ``skip`` and
            list them.
    """

    defaults: ClassVar[Mapping[str, str]] = {"encoder": "counts_mlp", "loss": "negative_binomial"}
    metrics: ClassVar[tuple[str, ...]] = (*Modality.metrics, "poisson_deviance", "cell_clusters")
    dataset: ClassVar[str | None] = "cells_simulated"

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
        self._names: dict[str, tuple[str, ...]] = {}
        self._views: dict[str, Standard] = {}
        self._examined: _Examined | None = None

    # -- training ------------------------------------------------------------------------------------------------

    def spec(self, dataset: Dataset) -> DataSpec:
        found = dataset.describe()
        known, roles = found["known"], found["roles"]
        width = Covariates.learn(known, roles, found["splits"]["train"]).width
        domain = Domain("count" if self.values == "counts" else "real")
        views = {name: (size, Domain("real")) for name, size in found["views"].items()}
        extras: dict[str, tuple[int, ...]] = {"library": (), **dict.fromkeys(_coloured(roles), ())}
        genes = len(known.genes)
        if not views:
            return DataSpec((genes,), domain, width, extras)
        size = genes + sum(size for size, _ in views.values())
        return DataSpec((size,), Domain("real"), width, extras, {"counts": (genes, domain), **views})

    def learn(self, dataset: Dataset, raw: Any) -> None:
        if not isinstance(raw, Cells):
            raise AeframeError(
                f"modality omics reads Cells, and dataset {type(dataset).__name__} loads {type(raw).__name__}; "
                f"choose a dataset of this modality, or modality={type(dataset).modality}"
            )
        known, train = raw.known, self._examine(raw).splits["train"]
        self._genes, self._roles = known.genes, raw.roles
        self._covariates = Covariates.learn(known, raw.roles, train)
        self._names = {role: known.words(name, f"the {role}")[1] for role, name in _coloured(raw.roles).items()}
        self._views = {name: Standard.learn(table[train]) for name, table in raw.views.items()}

    def apply(self, raw: Cells) -> Splits:
        found = self._examine(raw)
        self._examined = None
        counts = in_the_order_of(self._learned(), raw.known, raw.counts)
        cells = replace(raw, known=replace(raw.known, genes=self._learned()), counts=counts)
        train, validation, test = (self._source(cells, found.splits[split], found.totals) for split in SPLITS)
        return Splits(train, validation, test, found.skipped)

    def _examine(self, cells: Cells) -> _Examined:
        """Look at every cell, once for `learn` and `apply`."""
        if self._examined is not None and self._examined.cells is cells:
            return self._examined
        known, rows = cells.known, np.sort(np.concatenate([cells.splits[split] for split in SPLITS]))
        refuse_repeated_genes(known)
        totals = np.full(len(known.obs), np.nan)
        totals[rows], skipped = examine(
            known, cells.counts, cells.views, rows, whole=self.values == "counts", on_error=self.on_error
        )
        few = int((totals < cells.min_counts).sum())
        if few:
            skipped.append(f"{known.origin}: {few} cells have fewer than min_counts={cells.min_counts} counts")
        # NaN is not at least anything.
        splits = {split: cells.splits[split][totals[cells.splits[split]] >= cells.min_counts] for split in SPLITS}
        empty = next((split for split in SPLITS if not len(splits[split])), None)
        if empty is not None:
            raise AeframeError(f"{known.origin} has no cell left for the {empty} split; lower data.min_counts")
        self._examined = _Examined(cells, totals, splits, skipped)
        return self._examined

    def _source(self, cells: Cells, rows: Rows, totals: NDArray[Any]) -> CellSource:
        known, roles = cells.known, cells.roles
        library = totals if roles.library is None else known.numbers(roles.library, "the library")
        bad = ~(library[rows] > 0)
        if bad.any():
            row = int(rows[np.flatnonzero(bad)[0]])
            raise AeframeError(
                f"{known.cell(row)} has the library {library[row]:g} in column '{roles.library}' of obs, expected more "
                "than 0; correct it, or leave out data.library to sum the counts"
            )
        extras = {}
        for role, name in _coloured(roles).items():
            if known.has(name):
                codes, words = known.words(name, f"the {role}")
                extras[role] = torch.from_numpy(_recoded(codes, words, self._names[role])[rows])
        views = [standard.apply(cells.known, name, cells.views[name][rows]) for name, standard in self._views.items()]
        kind = BackedCellSource if cells.counts.backed else CellSource
        return kind(
            cells.counts,
            rows,
            log=self.values == "log",
            library=torch.from_numpy(library[rows]).float(),
            condition=self._covariates.encode(known, rows, self.unseen),
            extras=extras,
            views=torch.cat(views, 1) if views else None,
        )

    def state(self) -> dict[str, Any]:
        return {
            "genes": list(self._learned()),
            "roles": self._roles.state(),
            "covariates": self._covariates.state(),
            "names": {role: list(names) for role, names in self._names.items()},
            "views": {name: standard.state() for name, standard in self._views.items()},
        }

    def load_state(self, state: Mapping[str, Any]) -> None:
        self._genes, self._roles = tuple(state["genes"]), Roles.from_state(state["roles"])
        self._covariates = Covariates.from_state(state["covariates"])
        self._names = {role: tuple(names) for role, names in state["names"].items()}
        self._views = {name: Standard.from_state(standard) for name, standard in state["views"].items()}

    @property
    def names(self) -> Mapping[str, tuple[str, ...]]:
        """What the numbers in ``extras["label"]`` and ``extras["batch"]`` stand for."""
        return self._names

    @property
    def genes(self) -> tuple[str, ...]:
        """The names of the genes, in the order of x."""
        return self._learned()

    def as_counts(self, x: Tensor, library: Tensor) -> NDArray[np.float32]:
        """Return the counts ``(N, genes)`` that samples x ``(N, *shape)`` of cells with these totals ``(N,)`` mean."""
        counts = x[:, : len(self._learned())]
        if self.values == "log":
            counts = counts.expm1().clamp(min=0) * (library / TARGET).unsqueeze(1)
        return counts.numpy()

    # -- files and pictures --------------------------------------------------------------------------------------

    def read(self, path: Path) -> Batch:
        """Read all cells of an ``.h5ad`` file, from the layer that training had.

        Genes are found by name, in whatever order; others are passed over.

        Raises:
            AeframeError: A gene or covariate that is missing, and what training would refuse.
        """
        genes, origin = self._learned(), f"modality 'omics': '{path}'"
        file = CellFile(path, origin=origin)
        found = file.known()
        refuse_repeated_genes(found)
        known = Known(genes, found.obs, origin)
        counts = in_the_order_of(genes, found, file.counts(self._roles.layer))
        rows = np.arange(len(known.obs), dtype=np.int64)
        views = {name: file.view(name) for name in self._views}
        totals, _ = examine(known, counts, views, rows, whole=self.values == "counts", on_error="raise")
        cells = Cells(known, counts, {}, self._roles, views=views)
        return self._source(cells, rows, totals).batch(torch.from_numpy(rows))

    def write(self, x: Tensor, path: Path) -> list[Path]:
        """Write cells ``(N, genes)`` as an ``.h5ad`` file: X, or the layer that training had, and obsm for views.

        With ``values=log``, counts per 10,000 are written.

        Raises:
            AeframeError: Another suffix, or a file that exists.
        """
        genes = self._learned()
        counts, *tables = x.detach().cpu().float().split([len(genes), *(len(s.mean) for s in self._views.values())], 1)
        views = {name: s.undo(table) for (name, s), table in zip(self._views.items(), tables, strict=True)}
        values = self.as_counts(counts, torch.full((len(x),), TARGET))
        return write_cells(path, values, genes, layer=self._roles.layer, views=views)

    def render(self, panels: Mapping[str, Tensor]) -> Figure:
        """Return heat maps of the genes that vary most in the first panel, at most 40, as log(1 + count)."""
        from aeframe_omics.render import draw

        names = (*self._learned(), *(f"{name} {k + 1}" for name, s in self._views.items() for k in range(len(s.mean))))
        return draw(panels, names, len(self._learned()), counts=self.values == "counts")

    def _learned(self) -> tuple[str, ...]:
        if self._genes is None:
            raise RuntimeError("modality omics has learned nothing yet; call prepare or load_state first")
        return self._genes


@dataclass(frozen=True, slots=True)
class _Examined:
    """What was found in the cells of a dataset."""

    cells: Cells
    totals: NDArray[Any]
    """``(N,)``, NaN for a cell that is in no split."""
    splits: dict[str, Rows]
    skipped: list[str]


def _coloured(roles: Roles) -> dict[str, str]:
    """Return the columns that become numbers in the extras, by role."""
    batch = roles.batch or next(iter(roles.categorical), None)
    return {role: name for role, name in (("label", roles.label), ("batch", batch)) if name is not None}


def _recoded(codes: Rows, words: tuple[str, ...], names: tuple[str, ...]) -> Rows:
    """Return codes of `words` as codes of `names`; -1 for words that are not among them."""
    place = np.array([names.index(word) if word in names else -1 for word in words] + [-1], np.int64)
    return place[codes]
