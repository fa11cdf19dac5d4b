"""The dataset ``cells_simulated``: cells sampled from a negative binomial model with known parameters."""

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
from aeframe_omics.cells import CellMetadata, Cells, Roles, Rows, shared_out
from aeframe_omics.counts import MemoryCounts


@dataclass(frozen=True, slots=True)
class Simulation:
    """Simulated cells, and the parameters of their distribution."""

    counts: NDArray[np.int64]
    """``(cells, genes)``."""
    mean: NDArray[np.float64]
    """``(cells, genes)``: the expected counts."""
    dispersion: NDArray[np.float64]
    """``(genes,)``: the inverse dispersion r; the variance of a count is mean + mean^2 / r."""
    cell_type: Rows
    """``(cells,)``."""
    batch: Rows
    """``(cells,)``."""
    proteins: NDArray[np.float32]
    """``(cells, proteins)``."""


def simulate(*, cells: int, genes: int, types: int, batches: int, seed: int, proteins: int = 0) -> Simulation:
    """Sample cells from a negative binomial with cell types and batches.

    The count of gene g in cell i of type t and batch b is NB(l_i rho_ig, r_g). rho_i is the softmax over genes of
    ``base_g + type_tg + batch_bg``, with base ~ N(0, 1), batch ~ N(0, 0.5^2), and type ~ N(0, 1.5^2) for a random fifth
    of the genes of each type, otherwise 0. The expected total l_i is log-normal with a median of 2 counts per gene and
    log-scale deviation 0.4. r_g is Gamma-distributed with shape 2 and scale 2, but at least 0.05. Each cell type is 0.8
    times as frequent as the one before; batches are equally frequent. Proteins are N(level_tp, 1), with level ~
    N(0, 2^2).
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
    """Cells sampled from a negative binomial with cell types and batches (`aeframe_omics.simulated.simulate`).

    ``obs`` has the columns ``cell_type`` (the label), ``batch`` and ``total``. The splits are 80 / 10 / 10 %.

    Args:
        cells: Number of cells.
        genes: Number of genes.
        types: Number of cell types.
        batches: Number of sequencing batches.
        proteins: Number of columns of the second view ``protein``; 0 for no second view.
        categorical: Columns that condition the decoder as one-hot vectors, such as ``[batch]``.
        continuous: Columns that condition the decoder as standardised numbers, such as ``[total]``.
        seed: Seed of the cells and of the split.
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
        self.roles = Roles(
            categorical=categorical, continuous=continuous, label="cell_type", batch="batch", views=views
        )
        self.seed = seed

    def describe(self) -> Mapping[str, Any]:
        cells = self.load()
        views = {name: table.shape[1] for name, table in cells.views.items()}
        return {"metadata": cells.metadata, "splits": cells.splits, "roles": self.roles, "views": views}

    def load(self) -> Cells:
        simulation = simulate(**self.size)
        # Empty cells are not allowed; these rare ones get one count of their most likely gene.
        empty = np.flatnonzero(simulation.counts.sum(1) == 0)
        simulation.counts[empty, simulation.mean[empty].argmax(1)] = 1
        obs = pd.DataFrame(
            {
                "cell_type": _categorical("type", simulation.cell_type, self.size["types"]),
                "batch": _categorical("batch", simulation.batch, self.size["batches"]),
                "total": simulation.counts.sum(1),
            },
            index=[f"cell{row}" for row in range(len(simulation.counts))],
        )
        genes = tuple(f"gene{column}" for column in range(simulation.counts.shape[1]))
        origin = "dataset 'cells_simulated'"
        splits = shared_out(
            {"train": np.arange(len(obs))},
            validation=0.1,
            test=0.1,
            seed=self.seed,
            origin=origin,
            # Inherited; it stores the drawn split, so that a resumed run uses the same one.
            record=self.split_record,
        )
        views = dict.fromkeys(self.roles.views, simulation.proteins)
        counts = MemoryCounts(csr_matrix(simulation.counts))
        return Cells(CellMetadata(genes, obs, origin), counts, splits, self.roles, views=views)


def _categorical(prefix: str, codes: Rows, num: int) -> pd.Categorical:
    """Return codes 0 to `num` - 1 as categories ``prefix0``, ``prefix1``, ..."""
    return pd.Categorical([f"{prefix}{code}" for code in codes.tolist()], [f"{prefix}{code}" for code in range(num)])
