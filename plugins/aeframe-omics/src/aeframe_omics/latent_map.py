"""Draw the codes of cells in two dimensions, by UMAP or PCA."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.figure import Figure
from numpy.typing import NDArray

_DPI = 150
_NUM_NEIGHBOURS = 15


def project(codes: NDArray[np.float32], seed: int) -> tuple[NDArray[np.float32], str]:
    """Return codes ``(N, D)`` as points ``(N, 2)``, and the name of the axes.

    The projection is UMAP (McInnes, Healy & Melville 2018, arXiv 1802.03426) if umap-learn is installed and there are
    more than 15 cells, otherwise PCA. Codes with D <= 2 are returned unchanged, with D = 1 padded by zeros.
    """
    if codes.shape[1] <= 2:
        return np.pad(codes, ((0, 0), (0, 2 - codes.shape[1]))), "z"
    with warnings.catch_warnings():
        # UMAP warns that TensorFlow is missing and that a seed disables parallelism.
        warnings.simplefilter("ignore")
        try:
            import umap
        except ImportError:
            umap = None
        if umap is not None and len(codes) > _NUM_NEIGHBOURS:
            reducer = umap.UMAP(n_neighbors=_NUM_NEIGHBOURS, random_state=seed, n_jobs=1)
            return reducer.fit_transform(codes), "UMAP"
    from sklearn.decomposition import PCA

    return PCA(2, random_state=seed).fit_transform(codes), "principal component"


def draw_map(
    codes: NDArray[np.float32], colours: Mapping[str, tuple[NDArray[np.int64], tuple[str, ...]]], seed: int = 0
) -> Figure:
    """Return scatter plots of codes ``(N, D)``, one for each colouring.

    Points are drawn in random order, so that no category covers the others.

    Args:
        codes: Codes of the cells.
        colours: For each title, category codes ``(N,)``, -1 for missing values (grey), and the category names.
        seed: Seed of UMAP and of the order of the points.
    """
    points, axis_name = project(codes, seed)
    order = np.random.default_rng(seed).permutation(len(points))
    panels: Mapping[str, Any] = colours or {"cells": (np.full(len(points), -1), ())}
    figure = Figure(figsize=(6.2 * len(panels), 4.8), layout="constrained", dpi=_DPI)
    for axes, (title, (categories, names)) in zip(
        figure.subplots(1, len(panels), squeeze=False)[0], panels.items(), strict=True
    ):
        palette = colormaps["tab10" if len(names) <= 10 else "tab20"]
        grey = (0.75, 0.75, 0.75, 1.0)
        rgba = np.array([palette(k % palette.N) for k in range(len(names))] + [grey])
        axes.scatter(*points[order].T, c=rgba[categories[order]], s=4 if len(points) > 1000 else 9, linewidths=0)
        for k, name in enumerate(names):
            if (categories == k).any():
                # An empty plot, for the legend only.
                axes.scatter([], [], color=rgba[k], label=name, s=24)
        if (categories < 0).any() and names:
            axes.scatter([], [], color=grey, label="missing", s=24)
        axes.set_title(title, fontsize=10, loc="left")
        axes.set_xlabel(f"{axis_name} 1", fontsize=8)
        axes.set_ylabel(f"{axis_name} 2", fontsize=8)
        axes.set_xticks([])
        axes.set_yticks([])
        if names:
            axes.legend(fontsize=7, loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False)
    return figure
