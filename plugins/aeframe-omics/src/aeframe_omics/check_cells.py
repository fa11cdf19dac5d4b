"""Check all cells of a dataset: empty cells, and values that are not counts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from aeframe.errors import AeframeError
from aeframe_omics.cells import CellMetadata, Rows
from aeframe_omics.counts import Counts, iterate_chunks

Values = Literal["counts", "log", "real"]
Fractions = Literal["refuse", "round", "keep"]
Kind = Literal["fraction", "negative", "value", "empty", "column"]
Tables = Mapping[str, NDArray[np.float32]]
"""Views, which are tables of further measurements of the cells, by name."""


@dataclass(frozen=True, slots=True)
class ValueRule:
    """Which values cells may have."""

    values: Values
    fractions: Fractions
    keep_empty: bool = False
    """Whether empty cells are no problem, because they are left out or (real values) ordinary."""

    @property
    def are_counts(self) -> bool:
        """Whether the values are counts, or estimates of counts; otherwise any real numbers."""
        return self.values != "real"


@dataclass(frozen=True, slots=True)
class Problem:
    """Why a cell cannot be used."""

    row: int
    kind: Kind
    """``fraction`` or ``negative``: no count; ``value``: not finite; ``empty``; ``column``: a column of ``obs``."""
    message: str


@dataclass(slots=True)
class CellCheck:
    """What a check of cells found."""

    totals: NDArray[Any]
    """``(rows,)`` total counts; NaN for cells with a problem."""
    problems: list[Problem] = field(default_factory=list)
    num_fractions: int = 0
    """Values that are not whole numbers, if these are rounded or kept."""
    num_values: int = 0
    """Values other than 0."""


def check_cells(
    metadata: CellMetadata, counts: Counts, views: Tables, rows: Rows, *, rule: ValueRule, first_only: bool
) -> CellCheck:
    """Return the total count of each row, and the problems of cells that cannot be used.

    Args:
        metadata: Names of cells and genes, for messages.
        counts: Counts of all cells, not rounded.
        views: Tables ``(cells, columns)`` of all cells.
        rows: The cells to check, in ascending order.
        rule: The values that cells may have.
        first_only: Stop at the first problem.
    """
    check = CellCheck(np.full(len(rows), np.nan))
    num_checked = 0
    for chunk, matrix in iterate_chunks(counts, rows):
        data = matrix.data
        invalid = ~np.isfinite(data)
        if rule.are_counts:
            invalid |= data < 0
            is_fraction = data != np.rint(data)
            if rule.fractions == "refuse":
                invalid |= is_fraction
            check.num_fractions += int((is_fraction & ~invalid).sum())
        check.num_values += int(np.count_nonzero(data))
        sums = _sums(matrix, rounded=rule.fractions == "round" and rule.are_counts)
        row_of_value = np.repeat(np.arange(len(chunk)), np.diff(matrix.indptr))
        unusable = np.unique(row_of_value[invalid])
        if not rule.keep_empty:
            unusable = np.union1d(unusable, np.flatnonzero(sums == 0))
        for table in views.values():
            unusable = np.union1d(unusable, np.flatnonzero(~np.isfinite(table[chunk]).all(1)))
        for row in unusable.tolist():
            check.problems.append(_problem(metadata, int(chunk[row]), matrix[[row]], views, rule))
            if first_only:
                return check
        sums[unusable] = np.nan
        check.totals[num_checked : num_checked + len(chunk)] = sums
        num_checked += len(chunk)
    return check


def _sums(matrix: csr_matrix[Any], *, rounded: bool) -> NDArray[np.float64]:
    if rounded:
        matrix = csr_matrix((np.rint(matrix.data), matrix.indices, matrix.indptr), matrix.shape)
    return np.asarray(matrix.sum(1, dtype=np.float64)).ravel()


def _problem(metadata: CellMetadata, row: int, cell: csr_matrix[Any], views: Tables, rule: ValueRule) -> Problem:
    """Return why a cell cannot be used; `cell` is its row of counts."""
    values = cell.data
    what = "count" if rule.are_counts else "value"
    problems: list[tuple[Kind, str, NDArray[np.bool_]]] = [
        ("value", "is not a number", np.isnan(values)),
        ("value", "is infinite", np.isinf(values)),
    ]
    if rule.are_counts:
        problems += [("negative", "is negative", values < 0)]
        if rule.fractions == "refuse":
            reason = ", and values=log takes the logarithms of counts" if rule.values == "log" else ""
            problems += [("fraction", f"is not a whole number{reason}", values != np.rint(values))]
    for kind, problem, invalid in problems:
        if invalid.any():
            first = int(np.flatnonzero(invalid)[0])
            gene = metadata.genes[cell.indices[first]]
            found = f"the {what} {values[first]:g} of gene '{gene}' {problem}"
            return Problem(row, kind, f"{metadata.name_cell(row)}: {found}")
    for name, table in views.items():
        if not np.isfinite(table[row]).all():
            return Problem(row, "value", f"{metadata.name_cell(row)} has a value in obsm '{name}' that is not finite")
    rounded = " after rounding" if len(values) and values.any() else ""
    return Problem(row, "empty", f"{metadata.name_cell(row)} is empty: all of its counts are 0{rounded}")


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
