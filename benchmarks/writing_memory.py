"""Measure the memory of commands that write samples: ``python benchmarks/writing_memory.py [COMMAND ...]``.

``aeframe generate``, ``decode`` and ``reconstruct`` write 100,000 and 1,000,000 rows of 20 columns as Parquet, and
2,000 and 20,000 PNG files of 16 by 16 pixels; ``interpolate`` and ``traverse`` write as many rows, and ``neighbours``
finds the 5 nearest of 10,000 test samples for each row. Each runs in a process of its own, with one thread. It writes
``results/writing_memory.md`` with the peak resident memory of each process; lines of commands that are not measured are
kept. It fails if a process is above `LIMIT`, or if ten times as many samples need more than `GROWTH` beyond what is
held on purpose: codes of a command that computes all of them, names, and the rows of a file that is read.
"""

from __future__ import annotations

import sys
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
NAME = 65
"""Bytes of the name of a sample: its text, and the place in a list."""
KINDS = {
    "generate": ("rows", "pictures"),
    "decode": ("rows", "pictures"),
    "reconstruct": ("rows", "pictures"),
    "interpolate": ("rows",),
    "traverse": ("rows",),
    "neighbours": ("rows",),
}
"""The commands, and of which kinds of data each is measured."""
PICTURES, ROWS = (2_000, 20_000), (100_000, 1_000_000)


def write_codes(path: Path, num: int) -> Path:
    """Write an NPZ file of `num` codes, and return its path."""
    np.savez(path, z=np.random.default_rng(0).normal(size=(num, CODE)).astype(np.float32))
    return path


def held(verb: str, kind: str, num: int) -> float:
    """Return the MiB that a command holds on purpose for `num` samples: codes of 4 bytes, rows of 8, and names."""
    if verb in ("reconstruct", "neighbours"):
        return 8 * COLUMNS * num / 2**20 if kind == "rows" else 0.0
    names = NAME * num / 2**20 if verb in ("interpolate", "traverse") else 0.0
    return 4 * CODE * num / 2**20 + names


def source(verb: str, folder: Path, inputs: dict[int, Path], num: int) -> list[str]:
    """Return the arguments of a command that writes `num` samples, or neighbours of `num`."""
    if verb == "generate":
        return ["-n", str(num), "--seed", "0"]
    if verb == "decode":
        return [str(write_codes(folder / f"codes{num}.npz", num))]
    if verb == "interpolate":
        return [str(inputs[min(inputs)]), "--from", "0", "--to", "1", "--steps", str(num)]
    if verb == "traverse":
        return ["--directions", "0", "--steps", str(num)]
    if verb == "neighbours":
        return [str(inputs[num]), "--among", "test"]
    return [str(inputs[num])]


def measure_rows(verbs: list[str], recorded: dict[str, str]) -> list[str]:
    """Measure commands, store the line of each in `recorded`, and return what is above a limit."""
    too_large = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for kind, nums, suffix in (("rows", ROWS, ".parquet"), ("pictures", PICTURES, "")):
            chosen = [verb for verb in verbs if kind in KINDS[verb]]
            if not chosen:
                continue
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
            for verb in chosen:
                peaks = []
                for num in nums:
                    output = folder / f"{verb}{num}{suffix}"
                    arguments = [str(run), *source(verb, folder, inputs, num), "-o", str(output)]
                    peak, seconds = measure([*AEFRAME, verb, *arguments])
                    peaks.append(peak - held(verb, kind, num))
                    written = "Parquet" if kind == "rows" else "PNG files"
                    key = f"| {verb} | {num:,} {kind} | {written} |"
                    recorded[key] = f"{key} {peak:.0f} | {seconds:.0f} |"
                    print(recorded[key], flush=True)
                    if peak > LIMIT:
                        too_large.append(f"{verb} of {num:,} {kind}: {peak:.0f} MiB")
                if peaks[1] - peaks[0] > GROWTH:
                    too_large.append(
                        f"{verb} of {nums[1]:,} {kind}: {peaks[1] - peaks[0]:.0f} MiB more than a tenth of them"
                    )
    return too_large


def main() -> None:
    verbs = sys.argv[1:] or list(KINDS)
    path = RESULTS / "writing_memory.md"
    header, rule = "| command | samples | output | peak memory (MiB) | seconds |", "|---|---:|---|---:|---:|"
    lines = path.read_text(encoding="utf-8").splitlines()[2:] if path.exists() else []
    recorded = {"|".join(line.split("|")[:4]) + "|": line for line in lines}
    too_large = measure_rows(verbs, recorded)
    path.write_text("\n".join([header, rule, *recorded.values()]) + "\n", encoding="utf-8")
    if too_large:
        raise SystemExit("above the limit: " + "; ".join(too_large))


if __name__ == "__main__":
    main()
