"""Record whole runs, and compare two recordings bit for bit.

``python benchmarks/recorded_runs.py record FILE [--every-recipe]``, then ``compare BEFORE AFTER``. A change that only
renames and moves code must not change any value of these runs: the weights, the state of the optimizers, the rows of
``metrics.csv`` and ``metrics.json``. Names may differ: tensors and columns are compared by content, and renamed ones
are listed.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import json
import os
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

SHORT = ("progress=false", "pictures=false", "trainer=cpu", "batch_size=16", "log_every=5", "seed=3")
ROWS = "data=breast_cancer"
DIGITS = "data=digits"
RUNS: dict[str, tuple[str, ...]] = {
    "vae on rows": ("model=vae", ROWS, "max_epochs=4", "ema=0.99", "accumulate=3"),
    "vqvae on rows": ("model=vqvae", ROWS, "max_epochs=4"),
    "factor_vae on rows": ("model=factor_vae", ROWS, "max_epochs=4"),
    "vqgan on images": ("model=vqgan", DIGITS, "max_epochs=2", "optimizer.lr=1e-3"),
    "iwae on images": ("model=iwae", DIGITS, "max_epochs=2"),
    "topk_sae on images": ("model=topk_sae", DIGITS, "max_epochs=2"),
    "nvae on images": ("model=nvae", DIGITS, "max_epochs=1"),
    "vae on omics": ("model=vae", "data=cells_simulated", "max_epochs=2"),
    "aae on series": ("model=aae", "data=series_simulated", "max_epochs=2"),
    "vae in two processes": ("model=vae", ROWS, "max_epochs=3", "trainer=ddp", "trainer.accelerator=cpu"),
    "vqvae resumed": ("model=vqvae", ROWS, "max_epochs=2"),
}
TRAIN = (str(Path(sys.executable).with_name("aeframe-train")),)
RESUMED = {"vqvae resumed": ("max_epochs=4",)}


def main(argv: list[str] | None = None) -> int:
    """Record or compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    actions = parser.add_subparsers(dest="action", required=True)
    record = actions.add_parser("record", help="train all runs, and write FILE")
    record.add_argument("file", type=Path)
    record.add_argument("--every-recipe", action="store_true", help="also each recipe on rows and on images")
    comparison = actions.add_parser("compare", help="compare two recordings; exit code 1 if a value differs")
    comparison.add_argument("before", type=Path)
    comparison.add_argument("after", type=Path)
    args = parser.parse_args(argv)
    if args.action == "compare":
        return compare(json.loads(args.before.read_text()), json.loads(args.after.read_text()))
    runs = dict(RUNS)
    if args.every_recipe:
        runs |= every_recipe()
    recording = {}
    for name, overrides in runs.items():
        recording[name] = run(name, overrides)
        print(f"{name}: {len(recording[name]['weights'])} tensors", flush=True)
    args.file.write_text(json.dumps(recording, indent=1, sort_keys=True) + "\n")
    return 0


def every_recipe() -> dict[str, tuple[str, ...]]:
    """Return a run of each recipe on rows and on images; a combination that is an error has an empty record."""
    folder = Path(__file__).parents[1] / "aeframe" / "conf" / "model"
    recipes = sorted(path.stem for path in folder.glob("*.yaml"))
    return {
        f"{recipe}, {data}": (f"model={recipe}", data, "max_epochs=1") for recipe in recipes for data in (ROWS, DIGITS)
    }


def run(name: str, overrides: tuple[str, ...]) -> dict[str, Any]:
    """Train in a new process, and return the hashes of its weights and metrics."""
    with tempfile.TemporaryDirectory() as root:
        folder = Path(root, "run")
        command = [*TRAIN, *SHORT, *overrides, f"folder={folder}"]
        _call(command, allow_errors=name not in RUNS)
        if name in RESUMED:
            _call([*TRAIN, f"resume={folder}", *RESUMED[name], "progress=false"])
        return {"weights": _weights(folder), "columns": _columns(folder), "metrics": _metrics(folder)}


def _call(command: list[str], allow_errors: bool = False) -> None:
    environment = dict(os.environ, OMP_NUM_THREADS="1", CUDA_VISIBLE_DEVICES="")
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    if done.returncode not in ((0, 2) if allow_errors else (0,)):
        raise SystemExit(f"{' '.join(command)}\n{done.stdout}\n{done.stderr}")


def _weights(folder: Path) -> dict[str, str]:
    """Return the hash of each tensor of the last checkpoint (weights and optimizer state) and of the saved model."""
    found = {}
    path = folder / "checkpoints" / "last.ckpt"
    if path.exists():
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
        states = {key: checkpoint[key] for key in ("state_dict", "optimizer_states")}
        found = {name: _hash(value) for name, value in _tensors(states)}
    for path in sorted(folder.rglob("*.safetensors")):
        saved = load_file(path)
        found |= {f"{path.relative_to(folder)}/{name}": _hash(value) for name, value in saved.items()}
    return found


def _tensors(value: Any, name: str = "") -> list[tuple[str, torch.Tensor]]:
    if isinstance(value, torch.Tensor):
        return [(name, value)]
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, (list, tuple)) else ()
    return [found for key, each in items for found in _tensors(each, f"{name}/{key}")]


def _hash(tensor: torch.Tensor) -> str:
    plain = tensor.detach().contiguous()
    content = (
        plain.view(torch.uint8).numpy().tobytes() if plain.numel() and plain.ndim else str(plain.tolist()).encode()
    )
    return hashlib.sha256(content + str((plain.dtype, tuple(plain.shape))).encode()).hexdigest()[:16]


def _columns(folder: Path) -> dict[str, str]:
    """Return the hash of each column of numbers in ``metrics.csv``: one split and name."""
    path = folder / "metrics.csv"
    if not path.exists():
        return {}
    columns: dict[str, list[str]] = {}
    with path.open(newline="") as file:
        for row in csv.DictReader(file):
            columns.setdefault(f"{row['split']}/{row['name']}", []).append(f"{row['step']} {row['value']}")
    return {name: hashlib.sha256("\n".join(rows).encode()).hexdigest()[:16] for name, rows in columns.items()}


def _metrics(folder: Path) -> dict[str, str]:
    path = folder / "metrics.json"
    found = json.loads(path.read_text()) if path.exists() else {}
    return {
        f"{split}/{name}": repr(value)
        for split, values in found.items()
        if isinstance(values, dict)
        for name, value in values.items()
    }


def compare(before: dict[str, Any], after: dict[str, Any]) -> int:
    """Print the differences, and return 1 if a value differs."""
    num_differences = 0
    for name in before:
        if name not in after:
            print(f"{name}: not in the second recording")
            num_differences += 1
            continue
        for part in ("weights", "columns", "metrics"):
            first, second = before[name][part], after[name][part]
            lost = Counter(first.values()) - Counter(second.values())
            new = Counter(second.values()) - Counter(first.values())
            renamed = sorted(key for key in first if key not in second)
            if lost or new:
                num_differences += 1
                gone = [key for key, value in first.items() if value in lost]
                print(
                    f"{name}: {part} differ: {', '.join(gone[:6]) or 'more than before'} ({len(gone)} of {len(first)})"
                )
            elif renamed:
                print(f"{name}: {part} renamed: {', '.join(renamed[:4])} ({len(renamed)})")
    print(f"{len(before)} runs, {num_differences} differences")
    return 1 if num_differences else 0


if __name__ == "__main__":
    sys.exit(main())
