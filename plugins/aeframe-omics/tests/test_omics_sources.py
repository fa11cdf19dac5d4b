"""Sparse counts and dense batches, in memory and in a file, and the random order of a backed file."""

from __future__ import annotations

import copy
import itertools
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from omics_files import cells, dataset, saved
from scipy.sparse import csc_matrix, csr_matrix

from aeframe import AeframeError
from aeframe.data.datamodule import DataModule
from aeframe.data.plan import BatchPlan
from aeframe_omics import source as source_module
from aeframe_omics.backed import BackedCounts
from aeframe_omics.counts import MemoryCounts
from aeframe_omics.modality import Omics
from aeframe_omics.source import BackedCellSource, CellSource


def random_counts(rows: int, genes: int = 5, seed: int = 0) -> csr_matrix:
    return csr_matrix(np.random.default_rng(seed).poisson(0.7, (rows, genes)).astype(np.float32))


def make(counts, rows, kind=CellSource, **options):  # type: ignore[no-untyped-def]
    options = {"log": False, "library": torch.ones(len(rows)), "condition": None, "extras": {}, "views": None} | options
    return kind(counts, rows, **options)


def on_disk(matrix: csr_matrix, folder: Path) -> BackedCounts:
    adata = cells(matrix.shape[0], matrix.shape[1])
    adata.X = matrix
    return BackedCounts(saved(adata, folder), "X", origin="file")


@settings(max_examples=30, deadline=None)
@given(rows=st.lists(st.integers(0, 29), min_size=1, max_size=20), seed=st.integers(0, 5))
def test_batches_equal_the_rows_of_a_dense_matrix(rows: list[int], seed: int) -> None:
    matrix = random_counts(30, seed=seed)
    source_rows = np.random.default_rng(seed).permutation(30)
    batch = make(MemoryCounts(matrix), source_rows).batch(torch.tensor(rows))
    assert torch.equal(batch.x, torch.from_numpy(matrix.toarray()[source_rows[rows]]))
    assert batch.x.dtype == torch.float32
    assert batch.index is not None
    assert batch.index.tolist() == source_rows[rows].tolist()


def test_log_values_are_normalised_to_ten_thousand_counts() -> None:
    matrix = random_counts(6)
    library = torch.from_numpy(matrix.toarray().sum(1))
    x = make(MemoryCounts(matrix), np.arange(6), log=True, library=library).batch(torch.arange(6)).x
    assert torch.allclose(x.expm1().sum(1), torch.full((6,), 1e4))


def test_views_are_concatenated_to_the_counts() -> None:
    views = torch.randn(4, 3)
    x = make(MemoryCounts(random_counts(4)), np.arange(4), views=views).batch(torch.tensor([2, 0])).x
    assert torch.equal(x[:, 5:], views[[2, 0]])
    assert torch.equal(x[:, :5], torch.from_numpy(random_counts(4).toarray()[[2, 0]]))


@pytest.mark.parametrize("index", [[3], [0, 1, 2], [5, 1, 5, 9], list(range(20))])
def test_counts_of_a_file_equal_those_in_memory(tmp_path: Path, index: list[int]) -> None:
    matrix = random_counts(20)
    backed = on_disk(matrix, tmp_path)
    expected = matrix.toarray()[index]
    assert np.array_equal(backed.rows(np.array(index)).toarray(), expected)
    # A copy, as in a worker process, opens the file again.
    assert np.array_equal(copy.deepcopy(backed).rows(np.array(index)).toarray(), expected)


def test_column_indices_need_not_be_sorted(tmp_path: Path) -> None:
    matrix = random_counts(20)
    adata = cells(*matrix.shape)
    adata.X = matrix
    path = saved(adata, tmp_path)
    with h5py.File(path, "r+") as file:
        group = file["X"]
        ends = group["indptr"][:]
        for name in ("data", "indices"):
            values = group[name][:]
            for start, stop in itertools.pairwise(ends):
                values[start:stop] = values[start:stop][::-1]
            group[name][...] = values
    backed = BackedCounts(path, "X", origin="file")
    assert np.array_equal(backed.rows(np.arange(20)).toarray(), matrix.toarray())


def test_backed_counts_are_csr_or_dense(tmp_path: Path) -> None:
    adata = cells()
    adata.layers["columns"] = csc_matrix(adata.X)
    adata.layers["dense"] = adata.X.toarray()
    path = saved(adata, tmp_path)
    with pytest.raises(AeframeError) as caught:
        dataset(path, layer="columns", backed=True).load()
    assert str(caught.value) == (
        f"dataset 'h5ad' at '{path}': 'layers/columns' is stored as csc_matrix, but data.backed=true requires "
        "csr_matrix or a dense array; save it as scipy.sparse.csr_matrix, or set data.backed=false"
    )
    for layer, backed in (("columns", False), ("dense", False), ("dense", True)):
        counts = dataset(path, layer=layer, backed=backed).load().counts
        assert counts.backed == backed
        for rows in (np.arange(40), np.array([7, 3, 30, 3])):
            assert np.array_equal(counts.rows(rows).toarray(), adata.X.toarray()[rows])


@pytest.mark.parametrize("backed", [True, False])
def test_row_pointers_must_ascend(tmp_path: Path, backed: bool) -> None:
    path = saved(cells(), tmp_path)
    with h5py.File(path, "r+") as file:
        pointers = file["X/indptr"][:]
        pointers[3], pointers[4] = pointers[4], pointers[3]
        file["X/indptr"][...] = pointers
        num = len(file["X/data"])
    with pytest.raises(AeframeError) as caught:
        dataset(path, backed=backed).load()
    assert str(caught.value) == (
        f"dataset 'h5ad' at '{path}': the row pointers of 'X' are not ascending, or do not match its {num} values; "
        "save the file again"
    )


@pytest.mark.parametrize("gene", [7, 99, 10**6, -1, -(10**6)])
@pytest.mark.parametrize("backed", [True, False])
def test_a_column_index_out_of_range(tmp_path: Path, backed: bool, gene: int) -> None:
    path = saved(cells(), tmp_path)
    with h5py.File(path, "r+") as file:
        file["X/indices"][file["X/indptr"][5]] = gene
    with pytest.raises(AeframeError) as caught:
        dataset(path, backed=backed).load().counts.rows(np.arange(3, 9))
    assert str(caught.value) == (
        f"dataset 'h5ad' at '{path}': 'X' has a value for gene {gene} of 7 in row 5; save the file again"
    )


@pytest.mark.parametrize("row", [40, -1, 10**6])
@pytest.mark.parametrize("key", ["layers/columns", "obsm/columns"])
def test_a_row_index_of_a_csc_matrix_out_of_range(tmp_path: Path, row: int, key: str) -> None:
    adata = cells()
    adata.layers["columns"], adata.obsm["columns"] = csc_matrix(adata.X), csc_matrix(adata.X)
    path = saved(adata, tmp_path)
    loaded = dataset(path, layer="columns", views=("columns",)).load()
    assert np.array_equal(loaded.counts.rows(np.arange(40)).toarray(), adata.X.toarray())
    assert np.array_equal(loaded.views["columns"], adata.X.toarray())
    with h5py.File(path, "r+") as file:
        file[f"{key}/indices"][file[f"{key}/indptr"][2]] = row
    with pytest.raises(AeframeError) as caught:
        dataset(path, layer="columns", views=("columns",)).load()
    assert str(caught.value) == (
        f"dataset 'h5ad' at '{path}': '{key}' has a value for row {row} of 40 in gene 2; save the file again"
    )


# -- the order of a backed file ----------------------------------------------------------------------------------


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source_module, "BLOCK_SIZE", 4)
    monkeypatch.setattr(source_module, "FETCH_FACTOR", 3)


def backed_source(folder: Path, rows: int = 50) -> tuple[BackedCellSource, np.ndarray]:
    matrix = random_counts(rows)
    source_rows = np.flatnonzero(np.arange(rows) % 7 != 3)
    return make(on_disk(matrix, folder), source_rows, kind=BackedCellSource), matrix.toarray()[source_rows]


@pytest.mark.usefixtures("small_blocks")
def test_the_order_is_a_permutation_by_blocks(tmp_path: Path) -> None:
    source, _ = backed_source(tmp_path)
    torch.manual_seed(0)
    order = source.epoch_permutation()
    assert sorted(order.tolist()) == list(range(len(source)))
    # Blocks are shuffled, and so are the cells of a fetch.
    blocks = [sorted({cell // 4 for cell in fetch.tolist()}) for fetch in order.split(12)]
    assert blocks != sorted(blocks) or blocks[0] != [0, 1, 2]
    first = order[:12] // 4
    assert (first[1:] != first[:-1]).sum() > 4
    for fetch in order.split(12):
        # Twelve cells are three blocks, or four with the incomplete last block.
        assert len({cell // 4 for cell in fetch.tolist()}) <= 4
    assert not torch.equal(order, source.epoch_permutation())


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize("batch_size", [3, 5, 12, 30])
def test_cells_do_not_depend_on_the_order_of_requests(tmp_path: Path, batch_size: int) -> None:
    source, dense = backed_source(tmp_path)
    for rows in (*source.epoch_permutation().split(batch_size), torch.randperm(len(source)), torch.arange(len(source))):
        assert np.array_equal(source.batch(rows).x.numpy(), dense[rows.numpy()])


@pytest.mark.usefixtures("small_blocks")
def test_a_fetch_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source, _ = backed_source(tmp_path)
    reads: list[int] = []
    rows_of = BackedCounts.rows
    monkeypatch.setattr(BackedCounts, "rows", lambda self, index: reads.append(len(index)) or rows_of(self, index))
    for rows in source.epoch_permutation().split(5):
        source.batch(rows)
    assert reads == [12, 12, 12, 7]


@pytest.mark.usefixtures("small_blocks")
def test_training_uses_the_order_of_the_source(tmp_path: Path) -> None:
    path = saved(cells(60), tmp_path)
    splits = Omics().prepare(dataset(path, backed=True))
    rows = []
    for _ in range(2):
        loader = DataModule(splits, batch_size=6, seed=3, steps_per_call=1).train_dataloader()
        rows.append([batch.index.tolist() for batch in loader])
    assert rows[0] == rows[1]
    flat = [row for batch in rows[0] for row in batch]
    assert sorted(flat) == splits.train.batch(torch.arange(len(splits.train))).index.tolist()  # type: ignore[union-attr]
    blocks = [splits.train._rows.tolist().index(row) // 4 for row in flat]  # type: ignore[attr-defined]
    assert all(len(set(blocks[start : start + 12])) <= 4 for start in range(0, 48, 12))


@pytest.mark.usefixtures("small_blocks")
def test_two_devices_divide_the_batches_of_one(tmp_path: Path) -> None:
    source, _ = backed_source(tmp_path)
    one, *two = (
        list(
            BatchPlan(
                43, 8, seed=1, shuffle=True, rank=rank, world=world, epoch_permutation=source.epoch_permutation
            ).batches(2)
        )
        for rank, world in ((0, 1), (0, 2), (1, 2))
    )
    for batch, *shares in zip(one, *two, strict=True):
        # Of the last batch, 3 rows, the second device has none and repeats two of the first one.
        assert torch.equal(batch, torch.cat(shares)[: len(batch)])


def test_backed_and_in_memory_batches_are_equal(tmp_path: Path) -> None:
    path = saved(cells(), tmp_path)
    options = {"label": "type", "categorical": ("batch",), "continuous": ("age",), "min_counts": 8}
    one, other = (Omics().prepare(dataset(path, backed=backed, **options)) for backed in (False, True))
    for name in ("train", "validation", "test"):
        first, second = getattr(one, name), getattr(other, name)
        a, b = (source.batch(torch.arange(len(source))) for source in (first, second))
        assert torch.equal(a.x, b.x)
        assert a.condition is not None
        assert torch.equal(a.condition, b.condition)
        assert all(torch.equal(a.extras[key], b.extras[key]) for key in ("label", "batch", "library"))
