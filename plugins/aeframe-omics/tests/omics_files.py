"""Small AnnData files for tests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import anndata
import numpy as np
import pandas as pd
from scipy.sparse import csr_matrix

from aeframe_omics.h5ad import H5AD

GENES, CELLS = 7, 40


def categorical(values: list[str | None]) -> pd.Categorical:
    """Return a categorical column with categories in the order of their first appearance."""
    categories = dict.fromkeys(value for value in values if value is not None)
    return pd.Categorical(pd.Series(values, dtype=object), categories=strings(categories))


def strings(names: Any) -> pd.Index:
    """Return an index of strings."""
    return pd.Index(list(names))


def cells(num: int = CELLS, genes: int = GENES, seed: int = 0) -> anndata.AnnData:
    """Return non-empty cells with two types, two batches, an age and a protein view."""
    rng = np.random.default_rng(seed)
    counts = rng.poisson(1.5, (num, genes)).astype(np.float32)
    counts[:, 0] += 1
    obs = pd.DataFrame(
        {
            "type": categorical(["T" if row % 3 == 0 else "B" for row in range(num)]),
            "batch": categorical([f"b{row % 2}" for row in range(num)]),
            "age": np.linspace(20.0, 60.0, num),
        },
        index=strings(f"c{row}" for row in range(num)),
    )
    var = pd.DataFrame(index=strings(f"g{column}" for column in range(genes)))
    adata = anndata.AnnData(X=csr_matrix(counts), obs=obs, var=var)
    adata.obsm["protein"] = rng.normal(3.0, 2.0, (num, 3)).astype(np.float32)
    return adata


def columns(adata: anndata.AnnData, chosen: list[int]) -> anndata.AnnData:
    """Return the genes `chosen`, in this order."""
    var = pd.DataFrame(index=strings(adata.var_names[chosen]))
    return anndata.AnnData(X=adata.X[:, chosen], obs=adata.obs, var=var)


def saved(adata: anndata.AnnData, folder: Path, name: str = "a.h5ad") -> Path:
    path = folder / name
    adata.write_h5ad(path)
    return path


def dataset(path: Path, **options: Any) -> H5AD:
    return H5AD(path=str(path), **options)
