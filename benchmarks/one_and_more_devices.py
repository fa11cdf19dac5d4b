"""Train the same runs with one, two and four processes, and compare every weight and every logged number.

The runs draw random numbers, their last batch is uneven, and one of them has fewer rows in it than processes. Each
number of processes is one ``torchrun`` on CPU (gloo, one thread for each process) that trains all runs.

    python benchmarks/one_and_more_devices.py [--cases "vae;aae"] [--processes 2,4] [--precision 64-true] \
        [--out benchmarks/results/one_and_more_devices.md]

The largest difference of a weight is absolute. That of a metric is relative to its value, or to 0.01 where it is
smaller than that. Requires the plugins of this repository; 25 minutes on two cores.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor

import aeframe
from aeframe.runs.records import Records

# 1,437 training rows: 11 batches of 128, and one of 29.
_DIGITS = ("data=digits", "batch_size=128", "max_epochs=2")
CASES: dict[str, Sequence[str]] = {
    "ae, ema, accumulate, clip, patience": (
        *_DIGITS, "model=ae", "ema=0.9", "accumulate=2", "clip=0.5", "patience=1",
    ),
    "ae, encoder=resnet": (*_DIGITS, "model=ae", "encoder=resnet"),
    "ae, dropout": (*_DIGITS, "model=ae", "encoder=mlp", "encoder.dropout=0.2"),
    "ae, random crops and flips": (*_DIGITS, "model=ae", "modality.random_crop=1", "modality.flip=true"),
    "vqvae": (*_DIGITS, "model=vqvae"),
    "vae": (*_DIGITS, "model=vae"),
    "vae, 3 rows in the last batch": (*_DIGITS, "model=vae", "batch_size=239"),
    "vae, batches of 50": (*_DIGITS, "model=vae", "batch_size=50", "max_epochs=1"),
    "iwae": (*_DIGITS, "model=iwae"),
    "aae": (*_DIGITS, "model=aae"),
    "factor_vae": (*_DIGITS, "model=factor_vae"),
    "beta_tc_vae": (*_DIGITS, "model=beta_tc_vae"),
    "dip_vae_i": (*_DIGITS, "model=dip_vae_i"),
    "wae_mmd": (*_DIGITS, "model=wae_mmd"),
    "swae": (*_DIGITS, "model=swae"),
    "lfq_vae": (*_DIGITS, "model=lfq_vae"),
    "batch_topk_sae": (*_DIGITS, "model=batch_topk_sae"),
    "vqgan": (*_DIGITS, "model=vqgan"),
    "omics vae, condition": ("data=cells_simulated", "model=vae", "data.categorical=[batch]", "max_epochs=2"),
    "sentence_vae": ("experiment=sentence_vae", "max_epochs=2"),
}  # fmt: skip
_COMMON = ("pictures=false", "trainer.accelerator=cpu", "trainer.threads=1")


def train(names: Sequence[str], folder: Path, precision: str) -> None:
    """Train the runs in this process, which may be one of several; each gets a folder below `folder`."""
    for name in names:
        try:
            aeframe.fit(
                overrides=[*_COMMON, *CASES[name], f"trainer.precision={precision}", f"folder={folder / _slug(name)}"]
            )
        except aeframe.AeframeError as error:
            print(f"{name}: {error}", file=sys.stderr)


def difference(name: str, one: Path, more: Path) -> tuple[float, str]:
    """Return the largest difference of a weight, and the metric that differs most with its difference."""
    folder, other = one / _slug(name), more / _slug(name)
    weights, others = _weights(folder), _weights(other)
    weight = max(float((others[key].double() - value.double()).abs().max()) for key, value in weights.items())
    metrics, other_metrics = _metrics(folder), _metrics(other)
    if metrics.keys() != other_metrics.keys():
        return weight, f"other names: {sorted(metrics.keys() ^ other_metrics.keys())[:3]}"
    relative = {key: abs(other_metrics[key] - value) / max(abs(value), 1e-2) for key, value in metrics.items()}
    worst = max(relative, key=lambda key: relative[key])
    return weight, f"{relative[worst]:.1e} ({worst})"


def _weights(run: Path) -> dict[str, Tensor]:
    tensors = load_file(run / "model" / "model.safetensors")
    return {name: value for name, value in tensors.items() if value.numel()}


def _metrics(run: Path) -> dict[str, float]:
    return {f"{row.split} {row.name} at {row.step}": row.value for row in Records(run / "metrics.csv").read()}


def _slug(name: str) -> str:
    return name.replace(",", "").replace("=", "-").replace(" ", "-")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", help="names of runs, separated by semicolons; all by default")
    parser.add_argument("--processes", default="2,4", help="numbers of processes that are compared with one")
    parser.add_argument("--precision", default="32-true", help="trainer.precision of all runs")
    parser.add_argument("--out", type=Path, help="a Markdown file for the table")
    parser.add_argument("--train", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    names = args.cases.split(";") if args.cases else list(CASES)
    if args.train is not None:
        train(names, args.train, args.precision)
        return
    worlds = [1, *map(int, args.processes.split(","))]
    with tempfile.TemporaryDirectory() as temporary:
        folders = {world: Path(temporary) / str(world) for world in worlds}
        for world, folder in folders.items():
            launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(world)]
            command = [sys.executable, *(launcher if world > 1 else []), __file__, "--cases", ";".join(names)]
            command += ["--precision", args.precision]
            environment = {**os.environ, "OMP_NUM_THREADS": "1"}
            subprocess.run([*command, "--train", str(folder)], check=True, env=environment)
        lines = ["| run | processes | weights | metrics |", "|---|---|---|---|"]
        for name in names:
            for world in worlds[1:]:
                try:
                    weight, metric = difference(name, folders[1], folders[world])
                    lines.append(f"| {name} | {world} | {weight:.1e} | {metric} |")
                except FileNotFoundError as error:
                    lines.append(f"| {name} | {world} | failed | {Path(str(error.filename)).name} is missing |")
    table = "\n".join(lines) + "\n"
    print(table)
    if args.out is not None:
        head = (
            f"# One process against several\n\n`python benchmarks/one_and_more_devices.py`, torch {torch.__version__}, "
        )
        args.out.write_text(f"{head}CPU, gloo, one thread for each process.\n\n{table}", encoding="utf-8")


if __name__ == "__main__":
    main()
