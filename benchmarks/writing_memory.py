"""Measure the memory of commands that write samples: ``python benchmarks/writing_memory.py``.

``aeframe generate``, ``decode`` and ``reconstruct`` write 100,000 and 1,000,000 rows of 20 columns as Parquet, and
2,000 and 20,000 PNG files of 16 by 16 pixels, each in a process of its own, with one thread. It writes
``results/writing_memory.md`` with the peak resident memory of each process, and fails if one is above `LIMIT`, or if
ten times as many samples need more than `GROWTH` beyond what is held on purpose: codes of a command that reads or draws
all of them, and the rows of a file that is read.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np

# The folder of a script is on the path when it runs.
from encoding_memory import (  # type: ignore[import-not-found]
    AEFRAME,
    CODE,
    COLUMNS,
    RESULTS,
    TRAIN,
    measure,
    write_pictures,
    write_rows,
)

LIMIT = 768
"""MiB that a process may have."""
GROWTH = 200
"""MiB by which ten times as many samples may raise the peak, besides what is held on purpose."""
PICTURES, ROWS = (2_000, 20_000), (100_000, 1_000_000)


def write_codes(path: Path, num: int) -> Path:
    """Write an NPZ file of `num` codes, and return its path."""
    np.savez(path, z=np.random.default_rng(0).normal(size=(num, CODE)).astype(np.float32))
    return path


def held(verb: str, kind: str, num: int) -> float:
    """Return the MiB that a command holds on purpose for `num` samples: codes of 4 bytes, and rows of 8."""
    if verb == "reconstruct":
        return 8 * COLUMNS * num / 2**20 if kind == "rows" else 0.0
    return 4 * CODE * num / 2**20


def main() -> None:
    lines = ["| command | samples | output | peak memory (MiB) | seconds |", "|---|---:|---|---:|---:|"]
    too_large = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for kind, nums, suffix in (("rows", ROWS, ".parquet"), ("pictures", PICTURES, "")):
            inputs = {
                num: write_rows(folder / f"rows{num}.parquet", num)
                if kind == "rows"
                else write_pictures(folder / f"pictures{num}", num)
                for num in nums
            }
            run = folder / f"run of {kind}"
            data = ["data=numbers" if kind == "rows" else "data=image_folder", f"data.path={inputs[nums[0]]}"]
            quick = [f"latent.dim={CODE}", "max_epochs=1", "pictures=false", f"folder={run}"]
            measure([*TRAIN, "model=vae", *data, *quick])
            for verb in ("generate", "decode", "reconstruct"):
                peaks = []
                for num in nums:
                    source = {
                        "generate": ["-n", str(num), "--seed", "0"],
                        "decode": [str(write_codes(folder / f"codes{num}.npz", num))],
                        "reconstruct": [str(inputs[num])],
                    }[verb]
                    output = folder / f"{verb}{num}{suffix}"
                    peak, seconds = measure([*AEFRAME, verb, str(run), *source, "-o", str(output)])
                    peaks.append(peak - held(verb, kind, num))
                    written = "Parquet" if kind == "rows" else "PNG files"
                    lines.append(f"| {verb} | {num:,} {kind} | {written} | {peak:.0f} | {seconds:.0f} |")
                    print(lines[-1], flush=True)
                    if peak > LIMIT:
                        too_large.append(f"{verb} of {num:,} {kind}: {peak:.0f} MiB")
                if peaks[1] - peaks[0] > GROWTH:
                    too_large.append(
                        f"{verb} of {nums[1]:,} {kind}: {peaks[1] - peaks[0]:.0f} MiB more than a tenth of them"
                    )
    RESULTS.joinpath("writing_memory.md").write_text("\n".join(lines) + "\n", encoding="utf-8")
    if too_large:
        raise SystemExit("above the limit: " + "; ".join(too_large))


if __name__ == "__main__":
    main()
