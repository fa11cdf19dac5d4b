"""Measure the memory of ``aeframe encode`` for many samples: ``python benchmarks/encoding_memory.py``.

A model of small pictures encodes a folder of 5,000 and of 50,000 PNG files, and a model of a table encodes Parquet
files of 100,000 and of 1,000,000 rows with 20 columns, each to NPZ and to Parquet in a process of its own, with one
thread. It writes ``results/encoding_memory.md`` with the peak resident memory of each process, and fails if one is
above `LIMIT` or if ten times as many samples need more than `GROWTH` beyond what the codes themselves take.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

RESULTS = Path(__file__).with_name("results")
LIMIT = 768
"""MiB that a process may have."""
GROWTH = 200
"""MiB by which ten times as many samples may raise the peak, besides their codes in an NPZ file: the pages of a mapped
Parquet file count as resident, although the system takes them back when it needs memory."""
PICTURES, ROWS = (5_000, 50_000), (100_000, 1_000_000)
COLUMNS, CODE = 20, 8
AEFRAME = [sys.executable, "-m", "aeframe.cli.main"]
TRAIN = [sys.executable, "-m", "aeframe.cli.train"]


def write_pictures(folder: Path, num: int) -> Path:
    """Write `num` PNG files of 16 by 16 pixels in folders of 1,000, and return their folder."""
    random = np.random.default_rng(0)
    for number in range(num):
        if number % 1000 == 0:
            part = folder / f"{number // 1000:03}"
            part.mkdir(parents=True)
        Image.fromarray(random.integers(0, 256, (16, 16), np.uint8)).save(part / f"{number:06}.png")
    return folder


def write_rows(path: Path, num: int) -> Path:
    """Write a Parquet file of `num` rows in groups of 50,000, and return its path."""
    random = np.random.default_rng(0)
    schema = pa.schema([(f"column{number}", pa.float64()) for number in range(COLUMNS)])
    with pq.ParquetWriter(path, schema) as writer:
        for start in range(0, num, 50_000):
            values = random.normal(size=(COLUMNS, min(50_000, num - start)))
            writer.write_table(pa.table(list(values), schema=schema))
    return path


def measure(command: list[str]) -> tuple[float, float]:
    """Run a command, and return its peak resident memory in MiB and its seconds."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    start = time.perf_counter()
    with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL) as process:
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} ended with exit code {process.returncode}")
    return usage.ru_maxrss / 1024, time.perf_counter() - start


def main() -> None:
    lines = ["| input | samples | output | peak memory (MiB) | seconds |", "|---|---:|---|---:|---:|"]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        inputs = {("PNG files", num): write_pictures(folder / f"pictures{num}", num) for num in PICTURES} | {
            ("Parquet rows", num): write_rows(folder / f"rows{num}.parquet", num) for num in ROWS
        }
        quick = [f"latent.dim={CODE}", "max_epochs=1", "pictures=false"]
        pictures, rows = inputs["PNG files", PICTURES[0]], inputs["Parquet rows", ROWS[0]]
        measure(
            [
                *TRAIN,
                "model=vae",
                "data=image_folder",
                f"data.path={pictures}",
                *quick,
                f"folder={folder / 'PNG files'}",
            ]
        )
        measure([*TRAIN, "model=vae", "data=numbers", f"data.path={rows}", *quick, f"folder={folder}/Parquet rows"])
        peaks = {}
        for (kind, num), path in inputs.items():
            for suffix in ("npz", "parquet"):
                output = folder / f"{kind}{num}.{suffix}"
                peak, seconds = measure([*AEFRAME, "encode", str(folder / kind), str(path), "-o", str(output)])
                peaks[kind, suffix, num] = peak
                lines.append(f"| {kind} | {num:,} | {suffix} | {peak:.0f} | {seconds:.0f} |")
                print(lines[-1], flush=True)
    RESULTS.joinpath("encoding_memory.md").write_text("\n".join(lines) + "\n", encoding="utf-8")
    for (kind, suffix, num), peak in peaks.items():
        few, many = PICTURES if kind == "PNG files" else ROWS
        codes = 4 * CODE * (many - few) / 2**20 if suffix == "npz" else 0.0
        if peak > LIMIT or (num == many and peak - peaks[kind, suffix, few] > GROWTH + codes):
            raise SystemExit(f"{kind} to {suffix}: {peak:.0f} MiB for {num:,} samples is above the limit")


if __name__ == "__main__":
    main()
