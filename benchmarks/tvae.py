"""Compare `model=tvae` with the TVAE of the package ctgan, 0.12.1: time, memory and the quality of synthetic rows.

    python benchmarks/tvae.py adult.csv --ctgan OTHER/bin/python [--target income] [--epochs 300] [--seeds 3]

OTHER is an environment with ctgan. A random 80 % of the rows (seed 0) are the training file that both get, the others
are held out. Both train with their defaults, except for the number of epochs where it is stated: in turns, each in a
process of its own, with one thread. Text is without the blanks around it. ctgan takes no missing cells: ``?`` is
a class. Ours holds out 2 % of the training rows, by which it selects the epoch; ctgan trains on all of them.

Each draws as many rows as the training file has, and writes them as CSV. Our package reads both files with the columns
of the training file and computes all scores. The column "held out" has the scores of real rows that were not trained
on, and for the target the score after training on real rows.

``fit`` includes what prepares the data; ours also includes validation after each epoch, checkpoints, and the metrics of
the test rows. Seconds are of the wall clock, which other work on the machine lengthens; CPU seconds are of the process.

Writes results/tvae.json and results/tvae.md.
"""

from __future__ import annotations

import argparse
import json
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

_RESULTS = Path(__file__).with_name("results")
_SIDES = ("aeframe", "ctgan")
_TRAIN, _TEST = "train.csv", "test.csv"
_COSTS = {
    "fit_cpu_seconds": "fit, CPU seconds",
    "fit_seconds": "fit, seconds",
    "process_cpu_seconds": "whole process, CPU seconds",
    "process_seconds": "whole process, seconds",
    "peak_mib": "peak memory, MiB",
    "fit_mib": "peak memory beyond the imports, MiB",
}


def prepare(path: Path, folder: Path, rows: int | None) -> None:
    """Write the training file and the file of held-out rows: 80 % and 20 % of a table, drawn with seed 0."""
    frame = pd.read_csv(path, dtype=str, keep_default_na=False, skipinitialspace=True)
    order = np.random.default_rng(0).permutation(len(frame))[:rows]
    num_train = round(0.8 * len(order))
    for name, chosen in ((_TRAIN, order[:num_train]), (_TEST, order[num_train:])):
        frame.iloc[np.sort(chosen)].to_csv(folder / name, index=False)


# -- the two sides, each in its own process ----------------------------------------------------------------------------


def ours(folder: Path, out: Path, seed: int, epochs: int, options: list[str]) -> dict[str, float]:
    """Train `model=tvae`, write its samples, and return what the training cost."""
    import torch

    import aeframe
    import aeframe.experiment.workflow

    torch.set_num_threads(1)
    base = _peak()
    with timed() as times:
        run = aeframe.fit(
            model="tvae",
            data={
                "name": "table",
                "path": str(folder / _TRAIN),
                "test_path": str(folder / _TEST),
                "validation": 0.02,
                "unknown": "missing",
            },
            max_epochs=epochs,
            seed=seed,
            pictures=False,
            progress=False,
            verbose=False,
            folder=str(out.with_suffix("")),
            overrides=options,
        )
    memory = {"peak_mib": _peak(), "fit_mib": _peak() - base}
    num = len(pd.read_csv(folder / _TRAIN, usecols=[0]))
    run.model.restore(run.model.sample(num)).to_csv(out, index=False)
    return {**times, **memory}


def theirs(folder: Path, out: Path, seed: int, epochs: int) -> dict[str, float]:
    """Train ctgan's TVAE, write its samples, and return what the training cost."""
    import ctgan
    import torch

    torch.set_num_threads(1)
    torch.manual_seed(seed)
    np.random.seed(seed)  # noqa: NPY002  # ctgan draws from the global generator
    base = _peak()
    with timed() as times:
        frame = pd.read_csv(folder / _TRAIN, keep_default_na=False)
        discrete = [str(name) for name in frame.columns if frame[name].dtype == object]
        model = ctgan.TVAE(epochs=epochs, enable_gpu=False)
        model.fit(frame, discrete)
    memory = {"peak_mib": _peak(), "fit_mib": _peak() - base}
    model.sample(len(frame)).to_csv(out, index=False)
    return {**times, **memory}


@contextmanager
def timed() -> Iterator[dict[str, float]]:
    """Yield a dictionary that receives the CPU seconds and the seconds of the block."""
    times: dict[str, float] = {}
    began, cpu_began = time.perf_counter(), time.process_time()
    yield times
    times |= {"fit_cpu_seconds": time.process_time() - cpu_began, "fit_seconds": time.perf_counter() - began}


def _peak() -> float:
    """Return the largest resident memory of this process so far, in MiB (Linux).

    `resource.getrusage` is no substitute: its maximum begins with the memory of the process that started this one.
    """
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


# -- both --------------------------------------------------------------------------------------------------------------


def scores_of(folder: Path, synthetic: Path, target: str, seed: int) -> dict[str, list[float]]:
    """Return the name of each score, its value for synthetic rows, and that for held-out rows."""
    from aeframe_tabular.inference import infer_columns
    from aeframe_tabular.quality.comparison import compare_tables
    from aeframe_tabular.reading import read_frame
    from aeframe_tabular.typed import typed_frame

    raw = read_frame(folder / _TRAIN)
    columns = infer_columns(raw)
    train = typed_frame(raw, columns)
    test, drawn = (typed_frame(read_frame(path), columns, unknown="missing") for path in (folder / _TEST, synthetic))
    quality = compare_tables(train, test, drawn, columns, target=target, seed=seed)
    return {name: [ours, real] for name, ours, real in quality.rows()}


def main() -> int:
    """Measure both sides in turns, and write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="a table as CSV with a header, or with --side the prepared folder")
    parser.add_argument("--ctgan", metavar="PYTHON", help="the python of an environment with ctgan")
    parser.add_argument("--target", default="income", help="the column that is predicted")
    parser.add_argument("--epochs", type=int, default=300)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--rows", type=int, help="rows of the table that are used; all by default")
    parser.add_argument("--only", choices=_SIDES, help="measure one side, and write no results")
    parser.add_argument("--override", action="append", default=[], help="an option of our run, such as loss.scale=0.3")
    parser.add_argument("--side", choices=_SIDES, help=argparse.SUPPRESS)
    parser.add_argument("--seed", type=int, default=0, help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.side == "aeframe":
        print(json.dumps(ours(args.data, args.out, args.seed, args.epochs, args.override)))
        return 0
    if args.side == "ctgan":
        print(json.dumps(theirs(args.data, args.out, args.seed, args.epochs)))
        return 0
    if args.ctgan is None and args.only != "aeframe":
        parser.error("--ctgan is required: the python of an environment with ctgan")
    sides = [side for side in _SIDES if args.only in (None, side)]
    with tempfile.TemporaryDirectory() as folder:
        prepare(args.data, Path(folder), args.rows)
        rounds = [{side: _measured(args, Path(folder), side, seed) for side in sides} for seed in range(args.seeds)]
    if args.only is None:
        _write(args, rounds)
    return 0


def _measured(args: argparse.Namespace, folder: Path, side: str, seed: int) -> dict[str, Any]:
    out = folder / f"{side}-{seed}.csv"
    python = args.ctgan if side == "ctgan" else sys.executable
    arguments = ["--side", side, "--seed", str(seed), "--epochs", str(args.epochs), "--out", str(out)]
    for override in args.override:
        arguments += ["--override", override]
    began, cpu_began = time.perf_counter(), _cpu_of_children()
    done = subprocess.run([python, __file__, str(folder), *arguments], capture_output=True, text=True, check=False)
    whole = {"process_seconds": time.perf_counter() - began, "process_cpu_seconds": _cpu_of_children() - cpu_began}
    if done.returncode:
        raise SystemExit(f"{python} failed:\n{done.stderr}")
    costs: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    result = {"costs": {**costs, **whole}, "scores": scores_of(folder, out, args.target, seed)}
    print(f"seed {seed}, {side}: {json.dumps(result)}", flush=True)
    return result


def _cpu_of_children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _write(args: argparse.Namespace, rounds: list[dict[str, dict[str, Any]]]) -> None:
    """Write all rounds as JSON, and means with the deviation over seeds as Markdown."""
    setting = {
        "data": args.data.name,
        "rows": args.rows or "all",
        "epochs": args.epochs,
        "seeds": args.seeds,
        "overrides": args.override,
        "threads": 1,
        "machine": platform.machine(),
    }
    text = json.dumps({**setting, "rounds": rounds}, indent=1)
    _RESULTS.joinpath("tvae.json").write_text(text + "\n", encoding="utf-8")
    lines = [
        f"{args.data.name}, {setting['rows']} rows, {args.epochs} epochs: mean ± deviation over {args.seeds} seeds",
        "",
        "| | aeframe | ctgan | ctgan / aeframe |",
        "|---|---|---|---|",
    ]
    for key, name in _COSTS.items():
        values = [[each[side]["costs"][key] for each in rounds] for side in _SIDES]
        ratio = statistics.median(b / a for a, b in zip(*values, strict=True))
        lines.append(f"| {name} | {_spread(values[0], 1)} | {_spread(values[1], 1)} | {ratio:.2f} |")
    lines += ["", "| | aeframe | ctgan | held out |", "|---|---|---|---|"]
    for name in rounds[0]["aeframe"]["scores"]:
        values = [[each[side]["scores"][name][0] for each in rounds] for side in _SIDES]
        real = statistics.fmean(each["aeframe"]["scores"][name][1] for each in rounds)
        lines.append(f"| {name} | {_spread(values[0], 4)} | {_spread(values[1], 4)} | {real:.4f} |")
    table = "\n".join(lines)
    _RESULTS.joinpath("tvae.md").write_text(table + "\n", encoding="utf-8")
    print(table)


def _spread(values: list[float], digits: int) -> str:
    deviation = statistics.stdev(values) if len(values) > 1 else float("nan")
    return f"{statistics.fmean(values):.{digits}f} ± {deviation:.{digits}f}"


if __name__ == "__main__":
    sys.exit(main())
