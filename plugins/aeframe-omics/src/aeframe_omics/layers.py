"""The matrices of an AnnData that may hold the counts: X, a layer, or the X of ``raw``, which has genes of its own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from aeframe.data.samples import is_sparse
from aeframe.errors import AeframeError, did_you_mean

RAW_NAMES = ("raw", "raw/X")
"""Values of the option ``layer`` that name the X of ``raw``. A layer called ``raw`` takes precedence over the first."""
_CHECKED_ROWS, _CHECKED_VALUES = 100, 10_000


def names_raw(layer: str | None, layers: list[str], has_raw: bool) -> bool:
    """Return whether the option ``layer`` names the X of ``raw``."""
    return has_raw and (layer == "raw/X" or (layer == "raw" and layer not in layers))


def are_counts(values: Any) -> bool:
    """Return whether an array has whole numbers only, none of them negative, and some above 0."""
    array = np.asarray(values)
    if array.dtype.kind not in "fiub" or not array.size:
        return False
    return bool(((array >= 0) & np.isfinite(array) & (array == np.rint(array))).all() and array.any())


def first_values(matrix: Any) -> Any:
    """Return the first values of a sparse matrix, or the first rows of a dense one, in memory or in a file."""
    if is_sparse(matrix):
        return matrix.data[:_CHECKED_VALUES]
    if hasattr(matrix, "keys"):
        return matrix["data"][:_CHECKED_VALUES]
    rows = matrix[:_CHECKED_ROWS]
    return rows.data if is_sparse(rows) else rows


def with_counts(matrices: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the names of the matrices whose first values are counts."""
    return tuple(name for name, matrix in matrices.items() if matrix is not None and are_counts(first_values(matrix)))


class MissingLayerError(AeframeError):
    """Cells without the layer, or without X if `layer` is None.

    Args:
        origin: How the message names the cells.
        layer: The layer.
        layers: The layers that they have.
        has_raw: Whether they have ``raw``.
    """

    def __init__(self, origin: str, layer: str | None, layers: list[str], has_raw: bool = False) -> None:
        missing = "X" if layer is None else f"layer '{layer}'"
        choices = [*layers, "raw"] if has_raw else layers
        self.found = (
            f"{origin} has no {missing}{did_you_mean(layer or '', choices)}; its layers are "
            f"{', '.join(layers) or 'none'}{', and it has raw' if has_raw else ''}"
        )
        """The message without what to do."""
        super().__init__(f"{self.found}; choose one with data.layer=...")


def no_view_error(origin: str, name: str, names: list[str]) -> AeframeError:
    """Return the error for cells without the table `name` in ``obsm``."""
    return AeframeError(
        f"{origin} has no '{name}' in obsm{did_you_mean(name, names)}; it has {', '.join(names) or 'none'}"
    )
