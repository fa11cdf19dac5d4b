"""Cells of a stated model: nothing to download, and everything about them is known."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from aeframe.data import Dataset
from aeframe.errors import AeframeError
from aeframe_omics.cells import Cells, Known, Roles, Rows, shared_out
from aeframe_omics.counts import MemoryCounts


@dataclass(frozen=True, slots=True)
class Simulation:
    """What was drawn, and what it was drawn from."""

    counts: NDArray[np.int64]
    """``(cells, genes)``."""
    mean: NDArray[np.float64]
    """``(cells, genes)``: of each count."""
    dispersion: NDArray[np.float64]
    """``(genes,)``: the inverse dispersion r; a variance is mean + mean^2 / r."""
    cell_type: Rows
    batch: Rows
    proteins: NDArray[np.float32]
    """``(cells, proteins)``."""


def simulate(*, cells: int, genes: int, types: int, batches: int, seed: int, proteins: int = 0) -> Simulation:
    """Draw cells from a negative binomial with cell types and batches.

    A count of gene g in cell i is NB(l_i rho_ig, r_g), with rho_i the softmax over genes of
    ``base_g + type_tg + batch_bg``: base ~ N(0, 1); a fifth of the genes, drawn for each type anew, are shifted by
    N(0, 1.5^2) there; batch ~ N(0, 0.5^2). The total l_i is log-normal about 2 counts per gene with deviation 0.4, and
    r_g ~ Gamma(2, 2). Types have shares that fall by a fifth each; batches are even. Proteins are
    N(level_tp, 1), with level ~ N(0, 2^2).
    """
    rng = np.random.default_rng(seed)
    base = rng.normal(size=genes)
    by_type = rng.normal(scale=1.5, size=(types, genes)) * (rng.random((types, genes)) < 0.2)
    by_batch = rng.normal(scale=0.5, size=(batches, genes))
    dispersion = rng.gamma(2.0, 2.0, size=genes).clip(0.05)
    shares = 0.8 ** np.arange(types)
    cell_type = rng.choice(types, size=cells, p=shares / shares.sum())
    batch = rng.integers(batches, size=cells)
    logits = base + by_type[cell_type] + by_batch[batch]
    rho = np.exp(logits - logits.max(1, keepdims=True))
    total = rng.lognormal(np.log(2.0 * genes), 0.4, size=(cells, 1))
    mean = total * rho / rho.sum(1, keepdims=True)
    counts = rng.poisson(rng.gamma(dispersion, mean / dispersion))
    level = rng.normal(scale=2.0, size=(types, proteins))
    measured = rng.normal(level[cell_type]).astype(np.float32)
    return Simulation(counts, mean, dispersion, cell_type, batch, measured)


class CellsSimulated(Dataset):
    """Cells drawn from a negative binomial with cell types and batches (`aeframe_omics.simulated.simulate`), embedded.

    ``obs`` has the columns ``cell_type``, which is the label, ``batch`` and ``total``.

    Args:
        cells: How many.
        genes: How many.
        types: Cell types.
        batches: Sequencing batches, each with an effect of its own on every gene.
        proteins: A second view, ``protein``, with so many columns; none with 0.
        categorical: Columns that the decoder is told of: ``[batch]``.
        continuous: Columns of numbers that it is told of: ``[total]``.
        seed: Of the draw and of the splits, 80 / 10 / 10.
    """

    modality = "omics"

    def __init__(
        self,
        *,
        cells: int = 1000,
        genes: int = 200,
        types: int = 5,
        batches: int = 2,
        proteins: int = 0,
        categorical: tuple[str, ...] = (),
        continuous: tuple[str, ...] = (),
        seed: int = 0,
    ) -> None:
        if min(cells, genes, types, batches) < 1:
            raise AeframeError(
                "dataset 'cells_simulated' needs cells, genes, types and batches of at least 1, "
                f"found {cells}, {genes}, {types} and {batches}"
            )
        if proteins < 0:
            raise AeframeError(f"dataset 'cells_simulated' needs proteins of at least 0, found {proteins}")
        sizes = {"cells": cells, "genes": genes, "types": types, "batches": batches, "proteins": proteins}
        self.size = {**sizes, "seed": seed}
        views = ("protein",) if proteins else ()
        self.roles = Roles(None, categorical, continuous, "cell_type", "batch", views=views)
        self.seed = seed

    def describe(self) -> Mapping[str, Any]:
        cells = self.load()
        return {"known": cells.known, "splits": cells.splits, "roles": self.roles, "views": _sizes(cells.views)}

    def load(self) -> Cells:
        drawn = simulate(**self.size)
        # A cell without a count cannot be: the rarest of draws gets one, of its likeliest gene.
        empty = np.flatnonzero(drawn.counts.sum(1) == 0)
        drawn.counts[empty, drawn.mean[empty].argmax(1)] = 1
        obs = pd.DataFrame(
            {
                "cell_type": _named("type", drawn.cell_type, self.size["types"]),
                "batch": _named("batch", drawn.batch, self.size["batches"]),
                "total": drawn.counts.sum(1),
            },
            index=[f"cell{row}" for row in range(len(drawn.counts))],
        )
        genes = tuple(f"gene{column}" for column in range(drawn.counts.shape[1]))
        origin = "dataset 'cells_simulated'"
        splits = shared_out(
            {"train": np.arange(len(obs))},
            validation=0.1,
            test=0.1,
            seed=self.seed,
            origin=origin,
            record=self.split_record,
        )
        views = dict.fromkeys(self.roles.views, drawn.proteins)
        counts = MemoryCounts(csr_matrix(drawn.counts))
        return Cells(Known(genes, obs, origin), counts, splits, self.roles, views=views)


def _named(word: str, codes: Rows, num: int) -> pd.Categorical[str]:
    return pd.Categorical([f"{word}{code}" for code in codes.tolist()], [f"{word}{code}" for code in range(num)])


def _sizes(views: Mapping[str, NDArray[np.float32]]) -> dict[str, int]:
    return {name: table.shape[1] for name, table in views.items()}
