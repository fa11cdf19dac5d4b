"""Look at every cell once before training: what is no count, and how many each cell has."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from aeframe.errors import AeframeError
from aeframe_omics.cells import Known, Rows
from aeframe_omics.counts import Counts, chunks

OnError = Literal["raise", "skip"]
Tables = Mapping[str, NDArray[np.float32]]
_WAY_OUT = "mend or drop it, or leave such cells out of training with modality.on_error=skip"


def examine(
    known: Known, counts: Counts, views: Tables, rows: Rows, *, whole: bool, on_error: OnError
) -> tuple[NDArray[Any], list[str]]:
    """Return each row's total ``(rows,)``, NaN for cells that are left out, and a sentence for each of those.

    Args:
        known: Names the cells and genes.
        counts: Of all cells.
        views: The same, ``(cells, columns)`` each.
        rows: Those to be looked at, in order.
        whole: Whether values must be whole numbers, as likelihoods of counts ask.
        on_error: ``raise`` stops at the first bad cell.

    Raises:
        AeframeError: The first cell that is empty, or has a count that is negative, not finite or not whole, or a value
            in a view that is not finite.
    """
    totals, sentences = np.full(len(rows), np.nan), []
    done = 0
    for part, matrix in chunks(counts, rows):
        sums = np.asarray(matrix.sum(1, dtype=np.float64)).ravel()
        outside = ~((matrix.data >= 0) & np.isfinite(matrix.data))
        if whole:
            outside |= matrix.data != np.rint(matrix.data)
        owners = np.repeat(np.arange(len(part)), np.diff(matrix.indptr))
        bad = np.union1d(owners[outside], np.flatnonzero(sums == 0))
        for table in views.values():
            bad = np.union1d(bad, np.flatnonzero(~np.isfinite(table[part]).all(1)))
        for row in bad.tolist():
            sentence = _sentence(known, int(part[row]), matrix[[row]], views)
            if on_error == "raise":
                raise AeframeError(f"{sentence}; {_WAY_OUT}")
            sentences.append(sentence)
        sums[bad] = np.nan
        totals[done : done + len(part)] = sums
        done += len(part)
    return totals, sentences


def _sentence(known: Known, row: int, cell: csr_matrix[Any], views: Tables) -> str:
    values = cell.data
    for what, found in (
        ("is not a number", np.isnan(values)),
        ("is infinite", np.isinf(values)),
        ("is negative", values < 0),
        ("is no whole number (raw counts may be in a layer: data.layer)", values != np.rint(values)),
    ):
        if found.any():
            at = int(np.flatnonzero(found)[0])
            return f"{known.cell(row)}: the count {values[at]:g} of gene '{known.genes[cell.indices[at]]}' {what}"
    for name, table in views.items():
        if not np.isfinite(table[row]).all():
            return f"{known.cell(row)} has a value in obsm '{name}' that is not finite"
    return f"{known.cell(row)} is empty: all of its counts are 0"


def refuse_repeated_genes(known: Known) -> None:
    """Refuse genes of one name: a file read later could not be matched with them."""
    repeated = [name for name, count in Counter(known.genes).items() if count > 1]
    if repeated:
        raise AeframeError(
            f"{known.origin} has {len(repeated)} gene name{'s' * (len(repeated) > 1)} more than once, the first is "
            f"'{repeated[0]}'; make them unique (AnnData.var_names_make_unique) and save it again"
        )
