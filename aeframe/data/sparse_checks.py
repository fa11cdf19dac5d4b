"""Check the indices of sparse matrices: with invalid ones, scipy reads and writes memory outside its arrays."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from aeframe.errors import AeframeError


def checked_csr(matrix: Any, origin: str, what: str, *, noun: str = "column") -> csr_matrix[Any]:
    """Return a sparse matrix of any format as CSR, after a check of its indices.

    Args:
        matrix: ``(N, columns)``.
        origin: The dataset or file, for messages.
        what: The matrix, for messages: ``x``, ``layers/raw``.
        noun: The word for a column, for messages.

    Raises:
        AeframeError: Pointers that are not ascending or do not match the values, or an index out of range.
    """
    if matrix.format == "coo":
        coordinates = getattr(matrix, "coords", None) or (matrix.row, matrix.col)
        for name, indices, size in zip(("row", noun), coordinates, matrix.shape, strict=True):
            if len(indices) != len(matrix.data) or (len(indices) and not 0 <= indices.min() <= indices.max() < size):
                raise AeframeError(f"{origin}: '{what}' has a {name} index out of range, of {size}; make it again")
    elif matrix.format == "bsr":
        # Blocks of values; their indices count blocks.
        rows, columns = (size // block for size, block in zip(matrix.shape, matrix.blocksize, strict=True))
        check_pointers(
            matrix.indptr, rows, len(matrix.indices), len(matrix.data), f"{origin}: the row pointers of '{what}'"
        )
        check_indices(matrix.indices, matrix.indptr, columns, f"{origin}: '{what}'", noun=noun)
    elif matrix.format == "csc":
        check_sparse(matrix, origin, what, noun=noun)
    rows_first = matrix.tocsr()
    check_sparse(rows_first, origin, what, noun=noun)
    return csr_matrix(rows_first)


def check_sparse(matrix: Any, origin: str, key: str, *, noun: str = "column") -> None:
    """Check the pointers and indices of a CSR or CSC matrix.

    Raises:
        AeframeError: Pointers that are not ascending or do not match the values, or an index out of range.
    """
    by_rows = matrix.format == "csr"
    # The number of rows (or columns) that pointers delimit, and of the columns (or rows) that indices name.
    num_pointed, num_indexed = matrix.shape if by_rows else matrix.shape[::-1]
    subject = f"{origin}: the {'row' if by_rows else 'column'} pointers of '{key}'"
    check_pointers(matrix.indptr, num_pointed, len(matrix.indices), len(matrix.data), subject)
    check_indices(matrix.indices, matrix.indptr, num_indexed, f"{origin}: '{key}'", by_rows=by_rows, noun=noun)


def check_pointers(pointers: NDArray[Any], size: int, num_indices: int, num_values: int, subject: str) -> None:
    """Check that pointers ``(size + 1,)`` ascend from 0 to the number of values.

    Raises:
        AeframeError: The pointers do not; the message begins with `subject`.
    """
    is_matching = (
        pointers.dtype.kind in "iu"
        and len(pointers) == size + 1
        and num_indices == num_values
        and pointers[0] == 0
        and pointers[-1] == num_values
    )
    if not is_matching or (pointers[1:] < pointers[:-1]).any():
        raise AeframeError(f"{subject} are not ascending, or do not match its {num_values} values; save the file again")


def check_indices(
    indices: NDArray[Any],
    pointers: NDArray[Any],
    size: int,
    subject: str,
    *,
    rows: NDArray[np.int64] | None = None,
    by_rows: bool = True,
    noun: str = "column",
) -> None:
    """Check that the indices of a matrix are integers from 0 to `size` - 1.

    Args:
        indices: Column indices, or row indices if not `by_rows`.
        pointers: Row pointers, or column pointers if not `by_rows`.
        size: The number of columns, or rows if not `by_rows`.
        subject: The matrix, for the message.
        rows: The row numbers in the full matrix, if these are only some of its rows.
        by_rows: Whether the matrix is CSR; otherwise it is CSC.
        noun: The word for a column, for messages.

    Raises:
        AeframeError: An index is out of range, or no integer.
    """
    if indices.dtype.kind not in "iu":
        raise AeframeError(f"{subject} has indices of type {indices.dtype}, expected integers; save the file again")
    if not len(indices) or (indices.min() >= 0 and indices.max() < size):
        return
    first = int(np.flatnonzero((indices < 0) | (indices >= size))[0])
    # The row with this value, or the column if not `by_rows`.
    line = int(np.searchsorted(pointers, first, side="right")) - 1
    line = line if rows is None else int(rows[line])
    kinds = (noun, "row") if by_rows else ("row", noun)
    raise AeframeError(
        f"{subject} has a value for {kinds[0]} {indices[first]} of {size} in {kinds[1]} {line}; save the file again"
    )
