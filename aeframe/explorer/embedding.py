"""The map of an embedding: points in two dimensions, principal directions and neighbours of codes.

Shapes: N samples, D numbers of a code, K directions.
"""

from __future__ import annotations

import importlib.util
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from aeframe.errors import AeframeError
from aeframe.evaluation.principal_directions import principal_directions

Method = Literal["pca", "umap"]
METHODS: tuple[Method, ...] = ("pca", "umap")
"""How codes of more than two numbers become points."""
MAX_BYTES = 1 << 30
"""Memory of the codes that are kept by default."""
MAX_POINTS = 100_000
"""Number of points by default."""
_NUM_DIRECTIONS = 10
_FEW_NUMBERS = 2
_NEIGHBOURS_OF_UMAP = 15


@dataclass(frozen=True, slots=True)
class Directions:
    """Directions of the latent space along which codes are moved, the widest first."""

    mean: Tensor
    """The mean of the codes ``(D,)``."""
    vectors: Tensor
    """Unit vectors ``(K, D)``."""
    scales: Tensor
    """The standard deviation ``(K,)`` of the codes along each."""
    names: tuple[str, ...]
    """How the page names each."""

    def move(self, z: Tensor, offsets: Mapping[int, float]) -> Tensor:
        """Return a code ``(D,)`` after moving it by so many standard deviations along each direction."""
        moved = z.clone()
        for number, offset in offsets.items():
            moved += offset * self.scales[number] * self.vectors[number]
        return moved


@dataclass(frozen=True, slots=True)
class Embedding:
    """The codes of samples, and where they are on the map."""

    rows: NDArray[np.int64]
    """The row ``(N,)`` of each sample in its source."""
    codes: Tensor
    """``(N, *z_shape)``, float32, on the CPU."""
    columns: Mapping[str, NDArray[Any]]
    """What identifies the samples, ``(N,)`` by name: index, name, label and further columns of the source."""
    points: NDArray[np.float32]
    """``(N, 2)``"""
    axes: tuple[str, str]
    """Titles of the axes."""
    principal: Directions
    numbers: Directions
    """Single numbers of the code, those with the largest variance first."""

    def __len__(self) -> int:
        return len(self.rows)


def make_embedding(
    rows: NDArray[np.int64], codes: Tensor, columns: Mapping[str, NDArray[Any]], method: Method, seed: int
) -> Embedding:
    """Return the map of codes: those of one or two numbers as they are, others by PCA or UMAP.

    Args:
        rows: The row of each sample in its source.
        codes: ``(N, *z_shape)``.
        columns: What identifies the samples.
        method: ``pca``, the first two principal components, or ``umap`` (McInnes et al. 2018, arXiv 1802.03426).
        seed: Seed of UMAP, and of the random projection of long codes.

    Raises:
        AeframeError: UMAP is not installed.
    """
    flat = codes.flatten(1).float()
    principal, fractions = _principal(flat, seed)
    if flat.shape[1] == 1:
        # Points on a line would hide one another.
        height = np.random.default_rng(seed).random(len(flat), dtype=np.float32)
        points, axes = np.stack([flat[:, 0].numpy(), height], 1), ("z", "at random, so that points are apart")
    elif flat.shape[1] == _FEW_NUMBERS:
        points, axes = flat.numpy(), ("z 1", "z 2")
    elif method == "umap":
        points, axes = _umap(flat.numpy(), seed), ("UMAP 1", "UMAP 2")
    else:
        points = project(flat, principal)
        axes = (_axis(0, fractions), _axis(1, fractions))
    return Embedding(
        rows, codes, columns, np.ascontiguousarray(points, np.float32), axes, principal, _single_numbers(flat)
    )


def _principal(flat: Tensor, seed: int) -> tuple[Directions, list[float]]:
    """Return the principal directions of codes ``(N, D)``, and the fraction of the variance of each."""
    found = principal_directions(flat, _NUM_DIRECTIONS, seed=seed)
    fractions: list[float] = found.fractions.tolist()
    names = tuple(f"component {k + 1} ({fraction:.0%})" for k, fraction in enumerate(fractions))
    return Directions(found.mean, found.vectors, found.scales, names), fractions


def project(flat: Tensor, principal: Directions) -> NDArray[np.float32]:
    """Return codes ``(N, D)`` on the plane of the first two principal directions, ``(N, 2)``."""
    points = torch.zeros(len(flat), 2)
    vectors = principal.vectors[:2]
    points[:, : len(vectors)] = (flat - principal.mean) @ vectors.T
    projected: NDArray[np.float32] = points.numpy()
    return projected


def check_method(method: Method) -> None:
    """Raise AeframeError if the library of a method is not installed."""
    if method == "umap" and importlib.util.find_spec("umap") is None:
        raise AeframeError("--map umap requires umap-learn; run pip install 'aeframe[umap]', or use --map pca")


def _axis(number: int, fractions: list[float]) -> str:
    return f"component {number + 1} ({fractions[number]:.0%} of the variance)" if number < len(fractions) else "0"


def _single_numbers(flat: Tensor) -> Directions:
    scales = flat.std(0, correction=0)
    chosen = scales.argsort(descending=True, stable=True)[:_NUM_DIRECTIONS]
    vectors = torch.nn.functional.one_hot(chosen, flat.shape[1]).float()
    return Directions(flat.mean(0), vectors, scales[chosen], tuple(f"z {number}" for number in chosen.tolist()))


def _umap(flat: NDArray[np.float32], seed: int) -> NDArray[np.float32]:
    if len(flat) <= _FEW_NUMBERS + 1:
        raise AeframeError(f"--map umap needs at least 4 samples, found {len(flat)}; use --map pca")
    with warnings.catch_warnings():
        # The library warns of its own dependencies, and of samples that are equal.
        warnings.simplefilter("ignore")
        import umap

        reducer = umap.UMAP(n_neighbors=min(_NEIGHBOURS_OF_UMAP, len(flat) - 1), random_state=seed, n_jobs=1)
        points: NDArray[np.float32] = reducer.fit_transform(flat)
    return points
