"""Measure time and memory from a large table in a file to the first batch, beside what pandas needs to read the file.

    python benchmarks/large_table.py [--rows 250000 1000000] [--csv-mib 100] [--repeats 1]

The table is simulated: 50 columns of numbers, whole numbers, truth values, categories of 3 to 400 classes and dates.
Each third of the numbers, categories and dates has missing cells. Each side is measured in a process of its own with
one thread: `pandas.read_parquet` alone, and ours from `TableFile` to the first batch of 500 rows (kinds of the columns,
splits, the coding of all numbers, x and its mask), with ``numbers=mixture`` and with ``numbers=standard``. Of a CSV
file reading alone is compared: `read_frame`, which finds the dialect and missing cells, and `pandas.read_csv`.

Memory is the largest resident memory of the process beyond that after the imports. Seconds are of the wall clock; CPU
seconds are of the process, which other work on the machine changes less.

Writes results/large_table.json and results/large_table.md.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

_RESULTS = Path(__file__).with_name("results")
_CHUNK = 50_000
_BATCH = 500
_WIDTHS = (3, 5, 8, 12, 20, 40, 60, 100, 200, 400)
_SIDES = {
    "parquet": ("pandas", "aeframe, mixture", "aeframe, standard"),
    "csv": ("pandas", "aeframe"),
}


def write_table(path: Path, rows: int) -> None:
    """Write a simulated table of 50 columns, in chunks, as CSV or Parquet by its suffix."""
    random = np.random.default_rng(0)
    writer = None
    for start in range(0, rows, _CHUNK):
        frame = _simulated(random, min(_CHUNK, rows - start))
        if path.suffix == ".csv":
            frame.to_csv(path, mode="a", header=start == 0, index=False)
            continue
        table = pa.Table.from_pandas(frame, preserve_index=False)
        writer = writer or pq.ParquetWriter(path, table.schema)
        writer.write_table(table)
    if writer is not None:
        writer.close()


def _simulated(random: np.random.Generator, rows: int) -> pd.DataFrame:
    columns: dict[str, Any] = {}
    for number in range(15):
        values = random.normal(number, 1 + number, rows)
        values = np.exp(values / 10) if number % 3 == 0 else values
        columns[f"number {number}"] = np.round(values, 4) if number % 2 else values
    for number in range(10):
        columns[f"integer {number}"] = random.poisson(3.0 ** (number / 2 + 1), rows).astype(np.int64)
    for number, width in enumerate((*_WIDTHS, *_WIDTHS[:5])):
        classes = np.array([f"class {index:03d}" for index in range(width)], object)
        columns[f"category {number}"] = classes[random.zipf(1.5, rows) % width]
    for number in range(5):
        columns[f"truth {number}"] = random.random(rows) < 0.1 * (number + 1)
    for number in range(5):
        seconds = random.integers(0, 10 * 365 * 86400, rows)
        dates = np.datetime64("2010-01-01", "us") + seconds.astype("timedelta64[s]")
        columns[f"date {number}"] = dates.astype("datetime64[D]").astype("datetime64[us]") if number % 2 else dates
    frame = pd.DataFrame(columns)
    for name in [name for name in list(columns)[::3] if not name.startswith(("integer", "truth"))]:
        frame.loc[random.random(rows) < 0.05, name] = None
    return frame


# -- the sides, each in its own process --------------------------------------------------------------------------------


def measure(path: Path, side: str) -> dict[str, float]:
    """Return the cost of reading a file with pandas, or of what `aeframe` does up to the first batch."""
    import torch

    from aeframe_tabular.dataset import TableFile
    from aeframe_tabular.modality import TableModality
    from aeframe_tabular.reading import read_frame

    # What is imported on first use, by both, from a small file.
    with tempfile.TemporaryDirectory() as folder:
        small = Path(folder) / f"small{path.suffix}"
        write_table(small, 500)
        (pd.read_csv if small.suffix == ".csv" else pd.read_parquet)(small)
        if side != "pandas":
            TableModality().prepare(TableFile(path=small))
    base, base_cpu, began = _peak(), time.process_time(), time.perf_counter()
    if side == "pandas":
        kept: Any = pd.read_csv(path) if path.suffix == ".csv" else pd.read_parquet(path)
    elif path.suffix == ".csv":
        kept = read_frame(path).frame
    else:
        numbers: Any = side.split(", ")[1]
        kept = TableModality(numbers=numbers).prepare(TableFile(path=path))
        batch = kept.train.batch(torch.arange(_BATCH))
        assert batch.x.shape[0] == _BATCH
    result = {
        "seconds": time.perf_counter() - began,
        "cpu_seconds": time.process_time() - base_cpu,
        "peak_mib": _peak() - base,
        "process_mib": _peak(),
    }
    del kept
    return result


def _peak() -> float:
    """Return the largest resident memory of this process so far, in MiB (Linux).

    `resource.getrusage` is no substitute: its maximum begins with the memory of the process that started this one.
    """
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


# -- all ---------------------------------------------------------------------------------------------------------------


def main() -> int:
    """Write the tables, measure all sides in turns, and write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, nargs="+", default=[250_000, 1_000_000])
    parser.add_argument("--csv-mib", type=int, default=100, help="size of the CSV file; 0 for none")
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--keep", type=Path, help="a folder in which the tables are kept and found again")
    parser.add_argument("--measure", nargs=2, metavar=("FILE", "SIDE"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.measure is not None:
        print(json.dumps(measure(Path(args.measure[0]), args.measure[1])))
        return 0
    with tempfile.TemporaryDirectory() as temporary:
        folder = args.keep or Path(temporary)
        tables = _tables(folder, args.rows, args.csv_mib)
        results = [
            {
                "table": name,
                "mib": path.stat().st_size / 2**20,
                "sides": {side: [_measured(path, side) for _ in range(args.repeats)] for side in _sides(path)},
            }
            for name, path in tables.items()
        ]
    text = json.dumps({"machine": platform.machine(), "threads": 1, "tables": results}, indent=1)
    _RESULTS.joinpath("large_table.json").write_text(text + "\n", encoding="utf-8")
    table = "\n".join(_lines(results))
    _RESULTS.joinpath("large_table.md").write_text(table + "\n", encoding="utf-8")
    print(table)
    return 0


def _tables(folder: Path, rows: list[int], csv_mib: int) -> dict[str, Path]:
    """Return the path of each table by its description; tables that are there are not written again."""
    tables = {f"Parquet, {num} rows": (folder / f"{num}.parquet", num) for num in rows}
    if csv_mib:
        probe = folder / "probe.csv"
        probe.unlink(missing_ok=True)
        write_table(probe, 2000)
        num = round(csv_mib * 2**20 / probe.stat().st_size * 2000)
        tables[f"CSV, {num} rows"] = (folder / f"{num}.csv", num)
    for path, num in tables.values():
        if not path.exists():
            write_table(path, num)
    return {name: path for name, (path, _) in tables.items()}


def _sides(path: Path) -> tuple[str, ...]:
    return _SIDES["csv" if path.suffix == ".csv" else "parquet"]


def _measured(path: Path, side: str) -> dict[str, float]:
    command = [sys.executable, __file__, "--measure", str(path), side]
    threads = {"OMP_NUM_THREADS": "1", "ARROW_IO_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, **threads})
    if done.returncode:
        raise SystemExit(f"{side} failed on {path}:\n{done.stderr}")
    result: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    print(f"{path.name}, {side}: {result}", flush=True)
    return result


def _lines(results: list[dict[str, Any]]) -> list[str]:
    """Return the results as a table in Markdown: medians over repeats, and ratios to pandas."""
    lines = [
        "| table | side | seconds | CPU seconds | of pandas | peak memory, MiB | of pandas |",
        "|---|---|---|---|---|---|---|",
    ]
    for result in results:
        of_pandas: dict[str, float] = {}
        for side, runs in result["sides"].items():
            values = {key: statistics.median(run[key] for run in runs) for key in runs[0]}
            of_pandas = of_pandas or values
            cells = [
                f"{result['table']}, {result['mib']:.0f} MiB",
                side,
                f"{values['seconds']:.1f}",
                f"{values['cpu_seconds']:.1f}",
                f"{values['cpu_seconds'] / of_pandas['cpu_seconds']:.2f}",
                f"{values['peak_mib']:.0f}",
                f"{values['peak_mib'] / of_pandas['peak_mib']:.2f}",
            ]
            lines.append(f"| {' | '.join(cells)} |")
    return lines


if __name__ == "__main__":
    sys.exit(main())
