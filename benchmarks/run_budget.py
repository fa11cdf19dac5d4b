"""Measure where the time of a whole run goes, beside a script in plain PyTorch that does the same work.

Both sides train the same model on the same data: they evaluate the validation split each epoch, write a checkpoint each
epoch, test the best weights and save them. Our run also computes all metrics, draws pictures and writes its folder.
They run in turns, each in its own process with one thread.

    python benchmarks/run_budget.py mnist.npz [--rounds 3] [--case mnist_mlp|mnist_conv|digits_quick ...]

The script has the architecture, batches, epochs and optimizer of ours, but no schedules: digits_quick warms up its
learning rate and the weight of its KL, so that the bounds of the two differ a little.

The ratio is that of CPU seconds of the processes, which other work on the machine changes less than the wall clock.
Both are in the results. The phases are those of ``time.json``, in seconds of the wall clock.

Writes results/run_budget.json.
"""

from __future__ import annotations

import argparse
import copy
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_RESULTS = Path(__file__).with_name("results") / "run_budget.json"
_IMPORTS = "import torch, lightning.pytorch"


@dataclass(frozen=True)
class Case:
    """The same work for both sides.

    Args:
        overrides: Those of our run.
        channels: Of the convolutional encoder; None for dense layers of 784-512-16.
        dense: Units of the dense layer of a convolutional encoder.
        dim: Dimension of the code.
        side: Height and width of an image.
        epochs: Passes over the training split.
        batch_size: Images of a batch.
        lr: Learning rate.
        aim: The ratio that is not to be exceeded.
    """

    overrides: tuple[str, ...]
    channels: tuple[int, ...] | None
    dense: int
    dim: int
    side: int
    epochs: int
    batch_size: int
    lr: float
    aim: float


_MNIST = ("model=vae", "data=mnist", "loss=bernoulli", "latent.dim=16", "batch_size=128", "max_epochs=3")
CASES = {
    "mnist_mlp": Case(
        (*_MNIST, "encoder=mlp", "encoder.hidden=[512]", "optimizer.lr=1e-3"), None, 512, 16, 28, 3, 128, 1e-3, 1.10
    ),
    "mnist_conv": Case(
        (*_MNIST, "encoder=conv", "encoder.channels=[32,64]", "encoder.dense=128", "optimizer.lr=1e-3"),
        (32, 64), 128, 16, 28, 3, 128, 1e-3, 1.10,
    ),
    "digits_quick": Case(("experiment=digits_quick",), (32, 64), 128, 8, 8, 60, 64, 3e-3, 1.3),
}  # fmt: skip


def by_hand(case: Case, data: str, folder: Path) -> None:
    """Train, evaluate, test and save a VAE as a script in plain PyTorch does."""
    import numpy as np
    import torch
    from torch import Tensor, nn
    from torch.nn import functional as F

    torch.set_num_threads(1)
    torch.manual_seed(0)
    if case.side == 8:
        from sklearn.datasets import load_digits

        x = torch.from_numpy(load_digits().images).float().div(16)[torch.randperm(1797)].unsqueeze(1)
        train, validation, test = x[:1437], x[1437:1617], x[1617:]
    else:
        with np.load(data) as file:
            images = torch.from_numpy(file["x_train"]).unsqueeze(1), torch.from_numpy(file["x_test"]).unsqueeze(1)
        (train, validation), test = images[0].split([50_000, 10_000]), images[1]
    if case.channels is None:
        pixels = case.side**2
        encoder = nn.Sequential(
            nn.Flatten(), nn.Linear(pixels, case.dense), nn.ReLU(), nn.Linear(case.dense, 2 * case.dim)
        )
        decoder = nn.Sequential(
            nn.Linear(case.dim, case.dense), nn.ReLU(), nn.Linear(case.dense, pixels),
            nn.Unflatten(1, (1, case.side, case.side)),
        )  # fmt: skip
    else:
        first, second = case.channels
        small = case.side // 4
        flat = second * small * small
        encoder = nn.Sequential(
            nn.Conv2d(1, first, 3, 2, 1), nn.ReLU(), nn.Conv2d(first, second, 3, 2, 1), nn.ReLU(), nn.Flatten(),
            nn.Linear(flat, case.dense), nn.ReLU(), nn.Linear(case.dense, 2 * case.dim),
        )  # fmt: skip
        decoder = nn.Sequential(
            nn.Linear(case.dim, case.dense), nn.ReLU(), nn.Linear(case.dense, flat), nn.ReLU(),
            nn.Unflatten(1, (second, small, small)), nn.ConvTranspose2d(second, first, 4, 2, 1), nn.ReLU(),
            nn.ConvTranspose2d(first, 1, 4, 2, 1),
        )  # fmt: skip
    model = nn.ModuleList([encoder, decoder])
    optimizer = torch.optim.Adam(model.parameters(), case.lr)

    def loss(batch: Tensor) -> Tensor:
        if batch.dtype == torch.uint8:
            batch = batch.float().div(255)
        mean, log_variance = encoder(batch).chunk(2, 1)
        z = mean + torch.randn_like(mean) * (0.5 * log_variance).exp()
        error = F.binary_cross_entropy_with_logits(decoder(z), batch, reduction="sum")
        kl: Tensor = -0.5 * (1 + log_variance - mean.square() - log_variance.exp()).sum()
        return (error + kl) / len(batch)

    @torch.no_grad()
    def evaluate(split: Tensor) -> float:
        return sum(float(loss(batch)) * len(batch) for batch in split.split(case.batch_size)) / len(split)

    best, best_state = float("inf"), model.state_dict()
    for _ in range(case.epochs):
        for index in torch.randperm(len(train)).split(case.batch_size):
            optimizer.zero_grad()
            value = loss(train[index])
            value.backward()
            optimizer.step()
        bound = evaluate(validation)
        torch.save({"model": model.state_dict(), "optimizer": optimizer.state_dict()}, folder / "last.pt")
        if bound < best:
            best, best_state = bound, copy.deepcopy(model.state_dict())
            torch.save(best_state, folder / "best.pt")
    model.load_state_dict(best_state)
    (folder / "metrics.json").write_text(json.dumps({"bound": evaluate(test)}))


def timed(command: list[str]) -> dict[str, float]:
    """Run a process with one thread; return its CPU seconds and its seconds."""
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    seconds, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        raise SystemExit(f"{command} failed:\n{done.stderr}{done.stdout}")
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"cpu_seconds": round(cpu, 3), "seconds": round(seconds, 3)}


def measured(name: str, side: str, data: str) -> dict[str, Any]:
    """Run one side once; return its times, its test bound, and of ours the phases."""
    case = CASES[name]
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "run"
        if side == "imports":
            return timed([sys.executable, "-c", _IMPORTS])
        if side == "by_hand":
            folder.mkdir()
            times = timed([sys.executable, __file__, data, "--by-hand", name, "--folder", str(folder)])
            return {**times, "bound": json.loads((folder / "metrics.json").read_text())["bound"]}
        train = [sys.executable, "-c", "import sys; from aeframe.experiment.main import main; sys.exit(main())"]
        path = [f"data.path={data}"] if case.side == 28 else []
        common = ["profile=true", "progress=false", "trainer.threads=1", f"folder={folder}"]
        times = timed([*train, *case.overrides, *path, *common])
        metrics = json.loads((folder / "metrics.json").read_text())["test"]
        return {**times, "bound": metrics["bound"], "phases": json.loads((folder / "time.json").read_text())}


def summary(name: str, rounds: list[dict[str, dict[str, Any]]]) -> dict[str, Any]:
    """Return medians, ratios with their spread, and the phases of the median."""
    ratios = sorted(each["aeframe"]["cpu_seconds"] / each["by_hand"]["cpu_seconds"] for each in rounds)
    phases = [each["aeframe"]["phases"] for each in rounds]
    medians = {key: round(statistics.median(each.get(key, 0.0) for each in phases), 3) for key in phases[0]}
    work = medians.get("training", 0.0) + medians.get("validation", 0.0)
    imports = statistics.median(each["imports"]["seconds"] for each in rounds)
    return {
        "aim": CASES[name].aim,
        "ratio": statistics.median(ratios),
        "ratio_low": ratios[0],
        "ratio_high": ratios[-1],
        "sides": {
            side: {
                key: statistics.median(each[side][key] for each in rounds) for key in rounds[0][side] if key != "phases"
            }
            for side in rounds[0]
        },
        "phases": medians,
        "seconds_outside_of_training_and_validation_beyond_imports": sum(medians.values()) - work - imports,
        "rounds": rounds,
    }


def main() -> int:
    """Measure all cases, and write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", help="mnist.npz")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--case", nargs="+", choices=CASES, default=list(CASES))
    parser.add_argument("--out", type=Path, default=_RESULTS)
    parser.add_argument("--by-hand", choices=CASES, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.by_hand:
        by_hand(CASES[args.by_hand], args.data, args.folder)
        return 0
    data = str(Path(args.data).resolve())
    # Results of cases that are not measured now are kept.
    results: dict[str, Any] = json.loads(args.out.read_text(encoding="utf-8")) if args.out.is_file() else {}
    results |= {"threads": 1, "machine": platform.machine(), "date": time.strftime("%Y-%m-%d")}
    for name in args.case:
        rounds = []
        for number in range(args.rounds):
            sides = ("aeframe", "by_hand", "imports") if number % 2 else ("imports", "by_hand", "aeframe")
            rounds.append({side: measured(name, side, data) for side in sides})
            print(name, json.dumps(rounds[-1]), flush=True)
        results[name] = summary(name, rounds)
        args.out.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
        print(name, json.dumps({key: value for key, value in results[name].items() if key != "rounds"}, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
