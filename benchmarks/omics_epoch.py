"""Compare the epoch time and the bound of a negative binomial VAE on single-cell counts with scvi-tools.

Both train in turns, each in its own process and environment: one layer of 128 hidden units, 10 latent dimensions,
batches of 128, dropout of .1 and batch normalisation, a dispersion for each gene, observed library sizes, Adam, one
thread. An epoch is timed from the start of its first batch to the end of its last one, without evaluation; the first
epoch is ignored. The test cells are those of the file; neither side uses a validation split.

    python benchmarks/omics_epoch.py pbmc_facs.h5ad --scvi OTHER/bin/python [--rounds 3] [--epochs 20]

OTHER is an environment with scvi-tools 1.4. Writes results/omics_epoch.json.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch

try:
    from lightning.pytorch.callbacks import Callback
except ImportError as missing:  # pragma: no cover
    raise SystemExit("both environments need lightning") from missing

_RESULTS = Path(__file__).with_name("results") / "omics_epoch.json"
_BATCH = 128


class EpochTimes(Callback):
    """Write the seconds of each epoch, without evaluation, to a file when training ends."""

    works_in_groups = True

    def __init__(self, *, path: str) -> None:
        self.path, self.times, self._began = path, list[float](), 0.0

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
        if batch_idx == 0:
            self._began = time.perf_counter()
            self.times.append(0.0)

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        self.times[-1] = time.perf_counter() - self._began

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        Path(self.path).write_text(json.dumps(self.times), encoding="utf-8")


# -- the two sides, each in its own process ----------------------------------------------------------------------------


def ours(data: str, epochs: int, seed: int) -> dict[str, Any]:
    """Train with `aeframe`; return the epoch times and the bound of the test cells."""
    import aeframe

    with tempfile.TemporaryDirectory() as folder:
        times = Path(folder) / "times.json"
        run = aeframe.fit(
            modality="omics",
            model="vae",
            data={"name": "h5ad", "path": data, "split": "split", "validation": 0.01},
            encoder={"hidden": [128], "norm": True, "dropout": 0.1},
            latent={"dim": 10},
            batch_size=_BATCH,
            max_epochs=epochs,
            optimizer={"lr": 1e-3},
            callbacks={"epoch_times": {"class": "omics_epoch.EpochTimes", "path": str(times)}},
            gradient_norms=False,
            pictures=False,
            progress=False,
            seed=seed,
            trainer={"threads": 1},
            folder=f"{folder}/run",
        )
        return {"seconds": json.loads(times.read_text())[1:], "bound": run.metrics["bound"]}


def theirs(data: str, epochs: int, seed: int) -> dict[str, Any]:
    """Train with scvi-tools; return the epoch times and the bound of the test cells."""
    import anndata
    import scvi

    torch.set_num_threads(1)
    scvi.settings.seed = seed
    cells = anndata.read_h5ad(data)
    train, test = (cells[cells.obs["split"] == name].copy() for name in ("train", "test"))
    scvi.model.SCVI.setup_anndata(train)
    model = scvi.model.SCVI(train, n_hidden=128, n_latent=10, n_layers=1, gene_likelihood="nb", dispersion="gene")
    with tempfile.TemporaryDirectory() as folder:
        times = Path(folder) / "times.json"
        model.train(
            max_epochs=epochs,
            accelerator="cpu",
            train_size=1.0,
            batch_size=_BATCH,
            plan_kwargs={"lr": 1e-3, "n_epochs_kl_warmup": None},
            callbacks=[EpochTimes(path=str(times))],
            enable_progress_bar=False,
            logger=False,
        )
        seconds = json.loads(times.read_text())[1:]
    return {"seconds": seconds, "bound": -float(model.get_elbo(test))}


# -- both ------------------------------------------------------------------------------------------------------------


def main() -> int:
    """Train both in turns, and write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", help="an .h5ad file whose obs has the column split")
    parser.add_argument("--scvi", metavar="PYTHON", help="the python of an environment with scvi-tools")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--side", choices=("ours", "theirs"), help=argparse.SUPPRESS)
    parser.add_argument("--seed", type=int, default=0, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.side is not None:
        result = (ours if args.side == "ours" else theirs)(args.data, args.epochs, args.seed)
        print(json.dumps(result))
        return 0
    if args.scvi is None:
        parser.error("--scvi is required: the python of an environment with scvi-tools")
    rounds: list[dict[str, Any]] = []
    for seed in range(args.rounds):
        sides = {
            side: _run_side(python, args, side, seed)
            for side, python in (("ours", sys.executable), ("theirs", args.scvi))
        }
        rounds.append({**sides, "ratio": sides["theirs"]["epoch"] / sides["ours"]["epoch"]})
        print(f"round {seed}: ours {sides['ours']}, theirs {sides['theirs']}, {rounds[-1]['ratio']:.2f} times as fast")
    results = {
        "epochs": args.epochs,
        "threads": 1,
        "machine": platform.machine(),
        "torch": torch.__version__,
        "times_as_fast": statistics.median(row["ratio"] for row in rounds),
        "rounds": rounds,
    }
    _RESULTS.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    print(f"{results['times_as_fast']:.2f} times as fast; {_RESULTS}")
    return 0


def _run_side(python: str, args: argparse.Namespace, side: str, seed: int) -> dict[str, float]:
    arguments = [args.data, "--epochs", str(args.epochs), "--side", side, "--seed", str(seed)]
    done = subprocess.run([python, __file__, *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{side} failed:\n{done.stderr}")
    result = json.loads(done.stdout.splitlines()[-1])
    return {"epoch": round(statistics.median(result["seconds"]), 3), "bound": round(result["bound"], 1)}


if __name__ == "__main__":
    sys.exit(main())
