"""Sparse matrices with indices out of range are refused: scipy would read and write outside its arrays."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.sparse import bsr_matrix, coo_array, csc_matrix, csr_array, csr_matrix

from aeframe import Samples
from aeframe.data.in_memory import SampleSplits
from aeframe.data.sparse_checks import checked_csr
from aeframe.data.vector_in_memory import VectorInMemory
from aeframe.errors import AeframeError

DENSE = np.random.default_rng(0).poisson(0.8, (20, 6)).astype(np.float32)


def changed(matrix: Any, name: str, position: int, value: int) -> Any:
    getattr(matrix, name)[position] = value
    return matrix


CASES = {
    "csr": (lambda: changed(csr_matrix(DENSE), "indices", 3, 10**6), "has a value for column 1000000 of 6 in row"),
    "csr, below 0": (lambda: changed(csr_array(DENSE), "indices", 3, -1), "has a value for column -1 of 6 in row"),
    "pointers": (lambda: changed(csr_matrix(DENSE), "indptr", 5, 10**6), "the row pointers of 'x' are not ascending"),
    "csc": (lambda: changed(csc_matrix(DENSE), "indices", 3, 20), "has a value for row 20 of 20 in column 0"),
    "coo": (lambda: changed(coo_array(DENSE), "row", 3, 10**6), "'x' has a row index out of range, of 20"),
    "bsr": (lambda: changed(bsr_matrix(DENSE, blocksize=(2, 3)), "indices", 1, 9), "has a value for column 9 of 2"),
}


@pytest.mark.parametrize("name", CASES)
def test_indices_out_of_range_are_refused(name: str) -> None:
    make, message = CASES[name]
    with pytest.raises(AeframeError) as caught:
        checked_csr(make(), "who", "x")
    assert str(caught.value).startswith("who: ")
    assert message in str(caught.value)
    with pytest.raises(AeframeError) as caught:
        VectorInMemory(SampleSplits({"train": Samples(make())}))
    assert message in str(caught.value)


@pytest.mark.parametrize(
    "form", [csr_matrix, csr_array, csc_matrix, coo_array, lambda x: bsr_matrix(x, blocksize=(2, 3))]
)
def test_a_whole_matrix_is_returned_as_csr(form: Any) -> None:
    matrix = checked_csr(form(DENSE), "who", "x")
    assert matrix.format == "csr"
    assert np.array_equal(matrix.toarray(), DENSE)
