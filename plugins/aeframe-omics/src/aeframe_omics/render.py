"""Draw cells as heat maps of their most variable genes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from matplotlib.figure import Figure
from torch import Tensor

from aeframe.data.heatmap import heatmap
from aeframe_omics.check_cells import Values

_MAX_COLUMNS = 40
UNITS: Mapping[Values, str] = {"counts": "log(1 + count)", "log": "log(1 + counts per 10,000)", "real": "value"}
"""Labels of the values that are drawn."""


def draw(panels: Mapping[str, Tensor], names: Sequence[str], genes: int, *, values: Values) -> Figure:
    """Return a figure of panels below each other, with the 40 columns that have the largest variance in the first.

    Args:
        panels: Cells ``(N, genes + columns of views)`` by title.
        names: The names of the columns.
        genes: The number of columns that are genes; these are the first.
        values: The values of the genes; counts are drawn as log(1 + count).
    """
    counts = values == "counts"
    drawn = {title: log_genes(x.float(), genes) if counts else x.float() for title, x in panels.items()}
    # Masked values are NaN.
    first = next(iter(drawn.values())).nan_to_num(0.0)
    variance = first.var(0, correction=0)
    columns = variance.topk(min(_MAX_COLUMNS, len(variance))).indices.sort().values
    return heatmap(
        {title: x[:, columns] for title, x in drawn.items()},
        [names[column] for column in columns.tolist()],
        diverging=values == "real",
        unit=UNITS[values],
    )


def log_genes(x: Tensor, genes: int) -> Tensor:
    """Return x with log(1 + count) in the first `genes` columns."""
    return torch.cat([x[:, :genes].log1p(), x[:, genes:]], 1)
