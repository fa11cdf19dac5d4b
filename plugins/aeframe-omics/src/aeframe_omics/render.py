"""A picture of cells: heat maps of the genes that tell them apart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from matplotlib.figure import Figure
from torch import Tensor

from aeframe.data.heatmap import heatmap

_GENES = 40


def draw(panels: Mapping[str, Tensor], names: Sequence[str], genes: int, *, counts: bool) -> Figure:
    """Draw panels ``(N, genes + views)`` below one another, with the `_GENES` columns that vary most in the first.

    Args:
        panels: By title.
        names: Of the columns.
        genes: How many columns are genes, the first ones.
        counts: Whether these are counts, drawn as log(1 + count).
    """
    shown = {title: _logarithms(x.float(), genes) if counts else x.float() for title, x in panels.items()}
    first = next(iter(shown.values()))
    spread = first.var(0, correction=0)
    columns = spread.topk(min(_GENES, len(spread))).indices.sort().values
    return heatmap(
        {title: x[:, columns] for title, x in shown.items()},
        [names[column] for column in columns.tolist()],
        diverging=False,
        unit="log(1 + count)" if counts else "log(1 + counts per 10,000)",
    )


def _logarithms(x: Tensor, genes: int) -> Tensor:
    return torch.cat([x[:, :genes].log1p(), x[:, genes:]], 1)
