"""Heat maps of samples, one for each panel, with a common colour scale."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor

_MAX_NAMES = 40
"""Maximum number of columns with names on the axis."""
_CLIPPED_PERCENT = 0.5
"""Percentage of the values at either end that the colour scale leaves out, so that outliers do not dominate it."""


def heatmap(panels: Mapping[str, Tensor], columns: Sequence[str] | None, *, diverging: bool, unit: str) -> Figure:
    """Return a figure of panels ``(N, *shape)`` below one another, with a row for each sample and a cell for each
    value.

    Args:
        panels: Samples by title; samples of several dimensions are flattened.
        columns: Names of the values.
        diverging: Use a diverging colour map centred at zero, otherwise a sequential one.
        unit: Label of the colour bar.
    """
    arrays = {title: x.detach().float().cpu().flatten(1).numpy() for title, x in panels.items()}
    low, high = _limits(list(arrays.values()), diverging)
    width = max(array.shape[1] for array in arrays.values())
    show_names = columns is not None and len(columns) == width <= _MAX_NAMES
    # In inches: 0.22 for each of up to 32 rows, and 0.55 for the title; more rows share the same height.
    heights = [0.22 * min(len(array), 32) + 0.55 for array in arrays.values()]
    figure = Figure(figsize=(min(14.0, max(5.0, 0.26 * width + 1.5)), sum(heights) + (1.6 if show_names else 0.4)))
    figure.set_layout_engine("constrained")
    axes = figure.subplots(len(arrays), 1, squeeze=False, sharex=True, height_ratios=heights)[:, 0]
    image = None
    for axis, (title, array) in zip(axes, arrays.items(), strict=True):
        image = axis.imshow(
            array,
            aspect="auto",
            interpolation="nearest",
            cmap="RdBu_r" if diverging else "viridis",
            vmin=low,
            vmax=high,
        )
        axis.set_title(title, loc="left", fontsize=10)
        axis.set_ylabel("sample", fontsize=8)
        axis.set_yticks([])
    if columns is not None and show_names:
        axes[-1].set_xticks(range(width), columns, rotation=90, fontsize=7)
    else:
        axes[-1].set_xlabel("column", fontsize=8)
        axes[-1].xaxis.get_major_locator().set_params(integer=True)
    assert image is not None
    figure.colorbar(image, ax=list(axes), label=unit, extend="both" if diverging else "neither")
    return figure


def _limits(arrays: list[np.ndarray], diverging: bool) -> tuple[float, float]:
    """Return the lowest and highest value of the colour scale."""
    values = torch.cat([torch.from_numpy(array).flatten() for array in arrays])
    finite = values[values.isfinite()].numpy()
    if not finite.size:
        return (-1.0, 1.0) if diverging else (0.0, 1.0)
    low, high = np.percentile(finite, [_CLIPPED_PERCENT, 100 - _CLIPPED_PERCENT])
    if diverging:
        bound = max(abs(low), abs(high)) or 1.0
        return float(-bound), float(bound)
    return float(low), float(high if high > low else low + 1)
