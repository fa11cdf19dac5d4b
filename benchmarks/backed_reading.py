"""Reading a `.h5ad` file by shuffled blocks, as a ratio of reading its cells one by one.

The file is made here: cells sorted by type, each with about a twentieth of its genes seen, CSR. Both sides read batches
of 64 cells as sparse rows in one process, in turns: a random permutation, row after row by h5py, and the order of
`aeframe_omics`. How mixed batches are is told by the entropy of the types in a batch, beside that of random batches.

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

from aeframe_omics.counts import BackedCounts
from aeframe_omics.source import BLOCK, FETCH, BackedCellSource

_RESULTS = Path(__file__).with_name("results") / "backed_reading.json"
_BATCH, _TYPES = 64, 20
# Enough of the slow side to time it.
_RANDOM_BATCHES = 20


def main() -> int:
    """Make the file, let the two sides read in turns, and write what was found."""
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
        rounds, ours, theirs = list[dict[str, float]](), list[float](), list[float]()
        for _ in range(args.rounds):
            chance = torch.randperm(args.cells).split(_BATCH)[:_RANDOM_BATCHES]
            began = time.perf_counter()
            for index in chance:
                for row in index.tolist():
                    _ = data[ends[row] : ends[row + 1]], indices[ends[row] : ends[row + 1]]
            by_row = (time.perf_counter() - began) / (_BATCH * len(chance))
            began = time.perf_counter()
            order = source.epoch_permutation().split(_BATCH)
            for index in order:
                source._sparse(index.numpy())
            by_block = (time.perf_counter() - began) / args.cells
            rounds.append({"by_row_us": by_row * 1e6, "by_block_us": by_block * 1e6, "ratio": by_row / by_block})
            print(
                f"by row {by_row * 1e6:.0f} us a cell, by block {by_block * 1e6:.1f} us: {by_row / by_block:.0f} times"
            )
            theirs += _entropies(torch.randperm(args.cells).split(_BATCH), types)
            ours += _entropies(order, types)
    result: dict[str, Any] = {
        "cells": args.cells,
        "genes": args.genes,
        "batch": _BATCH,
        "block": BLOCK,
        "fetch": FETCH,
        "times_as_fast": statistics.median(each["ratio"] for each in rounds),
        "entropy": {"by_block": statistics.mean(ours), "random": statistics.mean(theirs)},
        "rounds": rounds,
    }
    _RESULTS.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(f"{result['times_as_fast']:.0f} times as fast; entropy {result['entropy']}")
    return 0


def _write(path: Path, cells: int, genes: int) -> None:
    rng = np.random.default_rng(0)
    drawn = rng.random((cells, genes), dtype=np.float32) < 0.05
    counts = csr_matrix(drawn.astype(np.float32))
    counts.data = rng.poisson(2, counts.nnz).astype(np.float32) + 1
    # Strings as objects: anndata has no way to write those that pandas 3 keeps as Arrow.
    with pandas.option_context("future.infer_string", False):
        anndata.AnnData(counts).write_h5ad(path)


def _entropies(batches: tuple[torch.Tensor, ...], types: NDArray[np.int64]) -> Iterator[float]:
    for index in batches[:-1]:
        shares = np.bincount(types[index.numpy()]) / len(index)
        yield float(-(shares[shares > 0] * np.log(shares[shares > 0])).sum())


if __name__ == "__main__":
    sys.exit(main())
