"""Measure time and memory from files of each kind of data to the first training batch, at two sizes.

Each kind is measured in a process of its own with one thread, from `aeframe.build` to the first batch of its training
loader. Before that the process builds a small data set of the same kind, so that imports do not count. All data are
simulated.

    python benchmarks/data_table.py [--quick] [--kind images csv ...] [--out benchmarks/results/data_table.json]

The larger size is twice the smaller one: a time or a memory that grows by more than 2 is more than linear in the data,
see ``growth`` in the results. Memory is the largest resident memory beyond that before, of Linux (VmHWM). Seconds are
of the wall clock; CPU seconds are of the process, which other work on the machine changes less. ``--quick`` takes a
tenth of all sizes. Rows of a backed file that are read one by one are in `backed_reading.py`.

Writes results/data_table.json and results/data_table.md.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
import wave
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

_RESULTS = Path(__file__).with_name("results") / "data_table.json"


def write_cells(path: Path, size: int) -> None:
    """Write `size` cells of 2,000 genes, of which a twentieth is counted in each, as CSR."""
    import anndata
    import pandas as pd
    from scipy.sparse import csr_matrix

    random = np.random.default_rng(0)
    genes = random.integers(0, 20, (size, 100)) + 20 * np.arange(100)
    values = random.poisson(2, genes.size).astype(np.float32) + 1
    counts = csr_matrix((values, genes.ravel(), np.arange(0, genes.size + 1, 100)), (size, 2000))
    # Strings as objects: anndata cannot write the Arrow strings of pandas 3.
    with pd.option_context("future.infer_string", False):
        anndata.AnnData(counts).write_h5ad(path)


def write_images(path: Path, size: int) -> None:
    """Write `size` grey images of 28 x 28 pixels as PNG files."""
    from PIL import Image

    path.mkdir()
    pixels = np.random.default_rng(0).integers(0, 256, (size, 28, 28), np.uint8)
    for number, image in enumerate(pixels):
        Image.fromarray(image).save(path / f"{number:06d}.png")


def write_csv(path: Path, size: int) -> None:
    """Write a table of `size` rows: 40 columns of numbers and 10 of categories, about 390 bytes a row."""
    import pandas as pd

    random = np.random.default_rng(0)
    columns: dict[str, Any] = {f"number {index}": random.normal(size=size).round(5) for index in range(40)}
    names = np.array([f"class {index}" for index in range(12)], object)
    columns |= {f"category {index}": names[random.integers(0, 12, size)] for index in range(10)}
    pd.DataFrame(columns).to_csv(path, index=False)


def write_lines(path: Path, size: int) -> None:
    """Write `size` lines of 4 to 15 words out of 5,000, with the frequencies of Zipf's law."""
    random = np.random.default_rng(0)
    words = np.array([f"word{index}" for index in range(5000)], object)
    lengths = random.integers(4, 16, size)
    drawn = words[(random.zipf(1.3, int(lengths.sum())) - 1) % 5000]
    lines = (" ".join(each) for each in np.split(drawn, lengths.cumsum()[:-1]))
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def write_series(path: Path, size: int) -> None:
    """Write a series of three channels and `size` time steps, as CSV or Parquet by the suffix."""
    import pandas as pd

    values = np.random.default_rng(0).normal(size=(size, 3)).round(4)
    frame = pd.DataFrame(values, columns=["pressure", "speed", "load"])
    if path.suffix == ".csv":
        frame.to_csv(path, index=False)
    else:
        frame.to_parquet(path)


def write_sound(path: Path, size: int) -> None:
    """Write `size` files of 10 seconds of sound, 16 kHz and 16 bits, as WAV."""
    path.mkdir()
    random = np.random.default_rng(0)
    for number in range(size):
        samples = (3000 * random.standard_normal(160_000)).astype("<i2")
        with wave.open(str(path / f"{number:05d}.wav"), "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(16_000)
            file.writeframes(samples.tobytes())


@dataclass(frozen=True)
class Kind:
    """A kind of data.

    Args:
        what: What one unit of the size is.
        size: The larger size.
        small: The size of the data that are read before the measurement.
        name: The file or folder.
        write: Writes data of a size.
        data: The dataset and its options, without the path.
        settings: Further settings of `aeframe.build`.
    """

    what: str
    size: int
    small: int
    name: str
    write: Callable[[Path, int], None]
    data: dict[str, Any]
    settings: dict[str, Any]


_WINDOW = {"modality": {"window": 64}}
KINDS = {
    "h5ad": Kind("cells, in memory", 50_000, 200, "cells.h5ad", write_cells, {"name": "h5ad"}, {}),
    "h5ad_backed": Kind(
        "cells, backed, by blocks", 50_000, 200, "cells.h5ad", write_cells, {"name": "h5ad", "backed": True}, {}
    ),
    "images": Kind("PNG files of 28 x 28", 20_000, 200, "images", write_images, {"name": "image_folder"}, {}),
    "csv": Kind("rows of a CSV table of 50 columns", 260_000, 500, "table.csv", write_csv, {"name": "table"}, {}),
    "lines": Kind("lines of text", 200_000, 500, "lines.txt", write_lines, {"name": "text_files"}, {}),
    "series_csv": Kind(
        "time steps of a series, CSV", 5_000_000, 3000, "s.csv", write_series, {"name": "series_file"}, _WINDOW
    ),
    "series_parquet": Kind(
        "time steps of a series, Parquet", 5_000_000, 3000, "s.parquet", write_series, {"name": "series_file"}, _WINDOW
    ),
    "sound": Kind("WAV files of 10 seconds", 180, 10, "sounds", write_sound, {"name": "audio_folder"}, {}),
}  # fmt: skip


def first_batch(kind: Kind, path: Path) -> int:
    """Build data and a model, and return the number of samples of the first training batch."""
    import aeframe

    data = {**kind.data, "path": str(path)}
    _, module = aeframe.build(data=data, model="ae", batch_size=64, **kind.settings)
    batch = next(iter(module.train_dataloader()))
    return len(batch[0] if isinstance(batch, list) else batch)


def measure(kind: Kind, folder: Path) -> dict[str, float]:
    """Return seconds and memory up to the first batch, after that of a small data set."""
    import torch

    torch.set_num_threads(1)
    first_batch(kind, folder / "small" / kind.name)
    # Linux then counts the largest resident memory from here on.
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    base, cpu, began = _memory("VmRSS"), time.process_time(), time.perf_counter()
    assert first_batch(kind, folder / "measured" / kind.name) == 64
    return {
        "seconds": round(time.perf_counter() - began, 3),
        "cpu_seconds": round(time.process_time() - cpu, 3),
        "peak_mib": round(_memory("VmHWM") - base, 1),
    }


def _memory(field: str) -> float:
    """Return a field of ``/proc/self/status`` in MiB."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(status.split(f"{field}:")[1].split()[0]) / 1024


def _file_mib(path: Path) -> float:
    files = path.iterdir() if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files) / 2**20


def row(name: str, size: int) -> dict[str, float]:
    """Write data of a size, and measure them in a process."""
    kind = KINDS[name]
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        for part, number in (("small", kind.small), ("measured", size)):
            (folder / part).mkdir()
            kind.write(folder / part / kind.name, number)
        command = [sys.executable, __file__, "--child", name, "--folder", temporary]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
        if done.returncode:
            raise SystemExit(f"{name} failed:\n{done.stderr}{done.stdout}")
        measured: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
        return {"size": size, "file_mib": round(_file_mib(folder / "measured" / kind.name), 1), **measured}


def write_page(results: dict[str, Any], path: Path) -> None:
    """Write the table of all kinds as Markdown."""
    lines = [
        "| data | size | files, MiB | seconds | CPU seconds | peak memory, MiB | growth of time | growth of memory |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, kind in KINDS.items():
        if name not in results["kinds"]:
            continue
        result = results["kinds"][name]
        for index, each in enumerate(result["rows"]):
            growth = [f"{result['growth'][key]:.1f}" if index else "" for key in ("cpu_seconds", "peak_mib")]
            lines.append(
                f"| {kind.what} | {each['size']:,} | {each['file_mib']:.1f} | {each['seconds']:.1f} | "
                f"{each['cpu_seconds']:.1f} | {each['peak_mib']:.0f} | {growth[0]} | {growth[1]} |"
            )
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def main() -> int:
    """Measure all kinds at both sizes, and write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kind", nargs="+", choices=KINDS, default=list(KINDS))
    parser.add_argument("--quick", action="store_true", help="a tenth of all sizes")
    parser.add_argument("--out", type=Path, default=_RESULTS)
    parser.add_argument("--child", choices=KINDS, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        print(json.dumps(measure(KINDS[args.child], args.folder)))
        return 0
    # Results of kinds that are not measured now are kept.
    results: dict[str, Any] = json.loads(args.out.read_text(encoding="utf-8")) if args.out.is_file() else {"kinds": {}}
    results |= {"threads": 1, "machine": platform.machine(), "date": time.strftime("%Y-%m-%d")}
    for name in args.kind:
        size = KINDS[name].size // (10 if args.quick else 1)
        rows = [row(name, size // 2), row(name, size)]
        growth = {key: round(rows[1][key] / max(rows[0][key], 0.001), 2) for key in ("cpu_seconds", "peak_mib")}
        results["kinds"][name] = {"what": KINDS[name].what, "rows": rows, "growth": growth}
        args.out.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
        write_page(results, args.out.with_suffix(".md"))
        print(name, json.dumps(results["kinds"][name]), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
