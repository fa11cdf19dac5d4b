"""Small AnnData files, made for a test."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import anndata
import numpy as np
import pandas as pd
from scipy.sparse import csr_matrix

from aeframe_omics.h5ad import H5AD

GENES, CELLS = 7, 40


def words(values: list[str | None]) -> pd.Categorical:
    """A categorical column, its categories in the order of their first appearance."""
    known = dict.fromkeys(value for value in values if value is not None)
    return pd.Categorical(pd.Series(values, dtype=object), categories=strings(known))


def strings(names: Any) -> pd.Index:
    """Names as anndata can write them: it knows nothing of pandas 3's Arrow strings."""
    return pd.Index(list(names), dtype=object)


def cells(num: int = CELLS, genes: int = GENES, seed: int = 0) -> anndata.AnnData:
    """Counts with one at least in each cell, two types, two batches and an age."""
    rng = np.random.default_rng(seed)
    counts = rng.poisson(1.5, (num, genes)).astype(np.float32)
    counts[:, 0] += 1
    obs = pd.DataFrame(
        {
            "type": words(["T" if row % 3 == 0 else "B" for row in range(num)]),
            "batch": words([f"b{row % 2}" for row in range(num)]),
            "age": np.linspace(20.0, 60.0, num),
        },
        index=strings(f"c{row}" for row in range(num)),
    )
    var = pd.DataFrame(index=strings(f"g{column}" for column in range(genes)))
    made = anndata.AnnData(X=csr_matrix(counts), obs=obs, var=var)
    made.obsm["protein"] = rng.normal(3.0, 2.0, (num, 3)).astype(np.float32)
    return made


def columns(made: anndata.AnnData, chosen: list[int]) -> anndata.AnnData:
    """Some genes, in another order."""
    var = pd.DataFrame(index=strings(made.var_names[chosen]))
    return anndata.AnnData(X=made.X[:, chosen], obs=made.obs, var=var)


def saved(made: anndata.AnnData, folder: Path, name: str = "a.h5ad") -> Path:
    path = folder / name
    made.write_h5ad(path)
    return path


def dataset(path: Path, **options: Any) -> H5AD:
    return H5AD(path=str(path), **options)
