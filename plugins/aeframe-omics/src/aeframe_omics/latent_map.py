"""Codes of cells on a plane."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.figure import Figure
from numpy.typing import NDArray

_DPI = 150
_NEIGHBOURS = 15


def on_a_plane(codes: NDArray[np.float32], seed: int) -> tuple[NDArray[np.float32], str]:
    """Return codes ``(N, D)`` as points ``(N, 2)``, and the name of the way that was taken.

    UMAP (McInnes, Healy & Melville 2018, arXiv 1802.03426) where umap-learn can be imported, and there are enough cells
    for its neighbourhoods; principal components otherwise; codes of two numbers as they are.
    """
    if codes.shape[1] <= 2:
        return np.pad(codes, ((0, 0), (0, 2 - codes.shape[1]))), "z"
    with warnings.catch_warnings():
        # It says that TensorFlow is not there, and that a seed costs its threads.
        warnings.simplefilter("ignore")
        try:
            import umap
        except ImportError:
            umap = None
        if umap is not None and len(codes) > _NEIGHBOURS:
            reducer = umap.UMAP(n_neighbors=_NEIGHBOURS, random_state=seed, n_jobs=1)
            return reducer.fit_transform(codes), "UMAP"
    from sklearn.decomposition import PCA

    return PCA(2, random_state=seed).fit_transform(codes), "principal component"


def draw_map(
    codes: NDArray[np.float32], colours: Mapping[str, tuple[NDArray[np.int64], tuple[str, ...]]], seed: int = 0
) -> Figure:
    """Draw codes ``(N, D)``, once for each of `colours`: ``{title: (numbers (N,), what they stand for)}``; -1 is grey.

    Points are drawn in an order that is drawn itself, so that no kind of cells covers another.
    """
    points, way = on_a_plane(codes, seed)
    order = np.random.default_rng(seed).permutation(len(points))
    panels: Mapping[str, Any] = colours or {"cells": (np.full(len(points), -1), ())}
    figure = Figure(figsize=(6.2 * len(panels), 4.8), layout="constrained", dpi=_DPI)
    for axes, (title, (numbers, names)) in zip(
        figure.subplots(1, len(panels), squeeze=False)[0], panels.items(), strict=True
    ):
        palette = colormaps["tab10" if len(names) <= 10 else "tab20"]
        tints = np.array([palette(k % palette.N) for k in range(len(names))] + [(0.75, 0.75, 0.75, 1.0)])
        axes.scatter(*points[order].T, c=tints[numbers[order]], s=4 if len(points) > 1000 else 9, linewidths=0)
        for k, name in enumerate(names):
            if (numbers == k).any():
                axes.scatter([], [], color=tints[k], label=name, s=24)
        if (numbers < 0).any() and names:
            axes.scatter([], [], color=tints[-1], label="missing", s=24)
        axes.set_title(title, fontsize=10, loc="left")
        axes.set_xlabel(f"{way} 1", fontsize=8)
        axes.set_ylabel(f"{way} 2", fontsize=8)
        axes.set_xticks([])
        axes.set_yticks([])
        if names:
            axes.legend(fontsize=7, loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False)
    return figure
