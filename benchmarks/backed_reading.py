"""Measure how much faster a `.h5ad` file is read by shuffled blocks than cell by cell.

The file is simulated: cells sorted by type, each with a twentieth of its genes non-zero, CSR. Both methods read batches
of 64 cells as sparse rows, alternating in one process: a random permutation, row by row with h5py, and the order of
`aeframe_omics`. The entropy of the types in a batch measures how well cells are mixed, compared with random batches.

    python benchmarks/backed_reading.py [--cells 50000] [--genes 2000] [--rounds 3]

Writes results/backed_reading.json.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anndata
import h5py
import numpy as np
import pandas
import torch
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from aeframe_omics.backed import BackedCounts
from aeframe_omics.source import BLOCK_SIZE, FETCH_FACTOR, BackedCellSource

_RESULTS = Path(__file__).with_name("results") / "backed_reading.json"
_BATCH, _TYPES = 64, 20
# Batches of the slow method, enough to time it.
_RANDOM_BATCHES = 20


def main() -> int:
    """Write the file, time both methods in turns, and write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cells", type=int, default=50_000)
    parser.add_argument("--genes", type=int, default=2_000)
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    torch.manual_seed(0)
    types = np.arange(args.cells) * _TYPES // args.cells
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "cells.h5ad"
        _write(path, args.cells, args.genes)
        file = h5py.File(path, "r")
        data, indices, ends = file["X/data"], file["X/indices"], file["X/indptr"][:]
        source = BackedCellSource(
            BackedCounts(path, "X", origin="benchmark"), np.arange(args.cells), log=False,
            library=torch.ones(args.cells), condition=None, extras={}, views=None,
        )  # fmt: skip
        rounds = list[dict[str, float]]()
        block_entropies, random_entropies = list[float](), list[float]()
        for _ in range(args.rounds):
            permutation = torch.randperm(args.cells).split(_BATCH)[:_RANDOM_BATCHES]
            began = time.perf_counter()
            for index in permutation:
                for row in index.tolist():
                    _ = data[ends[row] : ends[row + 1]], indices[ends[row] : ends[row + 1]]
            by_row = (time.perf_counter() - began) / (_BATCH * len(permutation))
            began = time.perf_counter()
            order = source.epoch_permutation().split(_BATCH)
            for index in order:
                source._sparse_counts(index.numpy())
            by_block = (time.perf_counter() - began) / args.cells
            rounds.append({"by_row_us": by_row * 1e6, "by_block_us": by_block * 1e6, "ratio": by_row / by_block})
            print(
                f"by row {by_row * 1e6:.0f} us a cell, by block {by_block * 1e6:.1f} us: {by_row / by_block:.0f} times"
            )
            random_entropies += _entropies(torch.randperm(args.cells).split(_BATCH), types)
            block_entropies += _entropies(order, types)
    result: dict[str, Any] = {
        "cells": args.cells,
        "genes": args.genes,
        "batch": _BATCH,
        "block": BLOCK_SIZE,
        "fetch": FETCH_FACTOR,
        "times_as_fast": statistics.median(row["ratio"] for row in rounds),
        "entropy": {"by_block": statistics.mean(block_entropies), "random": statistics.mean(random_entropies)},
        "rounds": rounds,
    }
    _RESULTS.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(f"{result['times_as_fast']:.0f} times as fast; entropy {result['entropy']}")
    return 0


def _write(path: Path, cells: int, genes: int) -> None:
    rng = np.random.default_rng(0)
    is_expressed = rng.random((cells, genes), dtype=np.float32) < 0.05
    counts = csr_matrix(is_expressed.astype(np.float32))
    counts.data = rng.poisson(2, counts.nnz).astype(np.float32) + 1
    # Strings as objects: anndata cannot write the Arrow strings of pandas 3.
    with pandas.option_context("future.infer_string", False):
        anndata.AnnData(counts).write_h5ad(path)


def _entropies(batches: tuple[torch.Tensor, ...], types: NDArray[np.int64]) -> Iterator[float]:
    """Return the entropy of the types in each batch, in nats; the last batch may be smaller and is skipped."""
    for index in batches[:-1]:
        frequencies = np.bincount(types[index.numpy()]) / len(index)
        frequencies = frequencies[frequencies > 0]
        yield float(-(frequencies * np.log(frequencies)).sum())


if __name__ == "__main__":
    sys.exit(main())
