"""Check all cells of a dataset: empty cells, and values that are not counts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from aeframe.data.file_samples import OnError
from aeframe.errors import AeframeError
from aeframe_omics.cells import CellMetadata, Rows
from aeframe_omics.counts import Counts, iterate_chunks

Tables = Mapping[str, NDArray[np.float32]]
"""Views, which are tables of further measurements of the cells, by name."""
_NEXT_STEP = "correct or remove it, or set modality.on_error=skip to leave such cells out of training"


def check_cells(
    metadata: CellMetadata, counts: Counts, views: Tables, rows: Rows, *, integers: bool, on_error: OnError
) -> tuple[NDArray[Any], list[str]]:
    """Return the total count of each row, NaN for unusable cells, and a message for each of these.

    Args:
        metadata: Names of cells and genes, for messages.
        counts: Counts of all cells.
        views: Tables ``(cells, columns)`` of all cells.
        rows: The cells to check, in ascending order.
        integers: Whether values must be whole numbers, as likelihoods of counts require.
        on_error: ``raise`` stops at the first unusable cell, ``skip`` goes on.

    Returns:
        The totals ``(rows,)``, and the messages.

    Raises:
        AeframeError: With ``raise``: the first cell that is empty, has a negative, infinite, missing or (with
            `integers`) fractional count, or a value of a view that is not finite.
    """
    totals, messages = np.full(len(rows), np.nan), []
    num_checked = 0
    for chunk, matrix in iterate_chunks(counts, rows):
        sums = np.asarray(matrix.sum(1, dtype=np.float64)).ravel()
        invalid = ~((matrix.data >= 0) & np.isfinite(matrix.data))
        if integers:
            invalid |= matrix.data != np.rint(matrix.data)
        row_of_value = np.repeat(np.arange(len(chunk)), np.diff(matrix.indptr))
        unusable = np.union1d(row_of_value[invalid], np.flatnonzero(sums == 0))
        for table in views.values():
            unusable = np.union1d(unusable, np.flatnonzero(~np.isfinite(table[chunk]).all(1)))
        for row in unusable.tolist():
            message = _message(metadata, int(chunk[row]), matrix[[row]], views)
            if on_error == "raise":
                raise AeframeError(f"{message}; {_NEXT_STEP}")
            messages.append(message)
        sums[unusable] = np.nan
        totals[num_checked : num_checked + len(chunk)] = sums
        num_checked += len(chunk)
    return totals, messages


def _message(metadata: CellMetadata, row: int, cell: csr_matrix[Any], views: Tables) -> str:
    """Return why a cell cannot be used; `cell` is its row of counts."""
    values = cell.data
    for problem, invalid in (
        ("is not a number", np.isnan(values)),
        ("is infinite", np.isinf(values)),
        ("is negative", values < 0),
        ("is not a whole number (raw counts may be in a layer: data.layer)", values != np.rint(values)),
    ):
        if invalid.any():
            first = int(np.flatnonzero(invalid)[0])
            gene = metadata.genes[cell.indices[first]]
            return f"{metadata.name_cell(row)}: the count {values[first]:g} of gene '{gene}' {problem}"
    for name, table in views.items():
        if not np.isfinite(table[row]).all():
            return f"{metadata.name_cell(row)} has a value in obsm '{name}' that is not finite"
    return f"{metadata.name_cell(row)} is empty: all of its counts are 0"


def check_unique_genes(metadata: CellMetadata) -> None:
    """Check that gene names are unique, since genes of files read later are matched by name.

    Raises:
        AeframeError: A name occurs more than once.
    """
    repeated = [name for name, count in Counter(metadata.genes).items() if count > 1]
    if repeated:
        raise AeframeError(
            f"{metadata.origin} has {len(repeated)} gene name{'s' * (len(repeated) > 1)} more than once, the first is "
            f"'{repeated[0]}'; make them unique (AnnData.var_names_make_unique) and save it again"
        )
