"""Measure the step time of a training run as a ratio to that of a bare PyTorch loop.

Two comparisons, each for the MLP (784-512-256-32, batch 128) and the convolutional VAE (28x28, batch 64):

- ``same``: the same arithmetic on the same tensors with the same allocator settings, in one process. The loops
  alternate in blocks of 16 steps and shuffled order: each is a greenlet that yields control when it loads a batch. The
  ratio is the median over rounds.
- ``as people write it``: a bare loop with the default DataLoader and the default allocator, in its own process,
  alternating with a process of ours.

    python benchmarks/step_overhead.py [--rounds 40] [--threads 1] [--out benchmarks/results/step_overhead.json]

Requires ``greenlet`` (extra ``dev``).
"""

from __future__ import annotations

import argparse
import json
import logging
import platform
import random
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal

import greenlet
import lightning.pytorch as L
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from aeframe.data.datamodule import DataModule
from aeframe.data.memory import TensorSource
from aeframe.data.modality import Splits
from aeframe.model.assembly import assemble
from aeframe.training.malloc_tuning import keep_freed_memory, kept_memory
from aeframe.training.module import AutoencoderModule
from aeframe.training.run_checkpoints import RunCheckpoints
from aeframe.training.trainer import make_trainer
from aeframe.types import Batch, DataSpec, Domain

BATCH = {"mlp": 128, "conv": 64}
SHAPE = {"mlp": (784,), "conv": (1, 28, 28)}
ROWS = 20_480
BLOCK = 16


class BareVAE(nn.Module):
    """A VAE in plain PyTorch."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.shape = SHAPE[kind]
        if kind == "mlp":
            self.encoder = nn.Sequential(nn.Linear(784, 512), nn.ReLU(), nn.Linear(512, 256), nn.ReLU())
            self.decoder = nn.Sequential(
                nn.Linear(32, 256), nn.ReLU(), nn.Linear(256, 512), nn.ReLU(), nn.Linear(512, 784)
            )
        else:
            self.encoder = nn.Sequential(
                nn.Conv2d(1, 32, 3, 2, 1), nn.ReLU(), nn.Conv2d(32, 64, 3, 2, 1), nn.ReLU(),
                nn.Flatten(), nn.Linear(3136, 256), nn.ReLU(),
            )  # fmt: skip
            self.decoder = nn.Sequential(
                nn.Linear(32, 256), nn.ReLU(), nn.Linear(256, 3136), nn.ReLU(), nn.Unflatten(1, (64, 7, 7)),
                nn.ConvTranspose2d(64, 32, 4, 2, 1), nn.ReLU(), nn.ConvTranspose2d(32, 1, 4, 2, 1),
            )  # fmt: skip
        self.mean, self.log_variance = nn.Linear(256, 32), nn.Linear(256, 32)

    def loss(self, x: Tensor) -> Tensor:
        h = self.encoder(x)
        mean, log_variance = self.mean(h), self.log_variance(h)
        z = mean + torch.randn_like(mean) * (0.5 * log_variance).exp()
        bce = F.binary_cross_entropy_with_logits(self.decoder(z), x, reduction="sum") / len(x)
        return bce - 0.5 * (1 + log_variance - mean.square() - log_variance.exp()).sum() / len(x)


def ours_model(kind: str) -> Any:
    encoder = (
        {"name": "mlp", "hidden": [512, 256]} if kind == "mlp" else {"name": "conv", "channels": [32, 64], "dense": 256}
    )
    return assemble(
        {"encoder": encoder, "latent": {"name": "gaussian", "dim": 32}, "loss": "bernoulli", "objective": "elbo"},
        DataSpec(SHAPE[kind], Domain("unit")),
    )


def data(kind: str) -> Tensor:
    return torch.rand(ROWS, *SHAPE[kind], generator=torch.Generator().manual_seed(0))


def bare_loop(kind: str, x: Tensor, batches: Callable[[], Iterator[Tensor]], steps: int) -> None:
    torch.manual_seed(0)
    model = BareVAE(kind)
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)
    done = 0
    while done < steps:
        for batch in batches():
            optimizer.zero_grad()
            loss = model.loss(batch)
            loss.backward()
            optimizer.step()
            done += 1
            if done >= steps:
                break


def slices(kind: str, x: Tensor, turn: Callable[[], None]) -> Iterator[Tensor]:
    """Yield batches with the fastest plain loader: one permutation, then one gather per batch."""
    order, size = torch.randperm(len(x)), BATCH[kind]
    for first in range(0, len(x) - size + 1, size):
        turn()
        yield x[order[first : first + size]]


class _YieldingSource:
    """A source that calls `turn` before it loads a batch."""

    def __init__(self, x: Tensor, turn: Callable[[], None]) -> None:
        self._source, self._turn = TensorSource(x), turn
        self.in_memory = True

    def __len__(self) -> int:
        return len(self._source)

    def batch(self, index: Tensor) -> Batch:
        self._turn()
        return self._source.batch(index)


def ours_loop(
    kind: str,
    x: Tensor,
    turn: Callable[[], None],
    steps: int,
    per_call: int | Literal["auto"],
    *,
    allocator: bool = True,
) -> None:
    torch.manual_seed(0)
    model = ours_model(kind)
    few = TensorSource(x[:2])
    splits = Splits(_YieldingSource(x, turn), few, few)
    data = DataModule(splits, batch_size=BATCH[kind], seed=0, steps_per_call=per_call)
    module = AutoencoderModule(model, {"name": "adam", "lr": 1e-3}, max_batches=steps)
    with tempfile.TemporaryDirectory() as folder, kept_memory(allocator):
        path = Path(folder)
        callbacks = [RunCheckpoints(path)]
        trainer = make_trainer(
            {"accelerator": "cpu", "limit_val_batches": 0}, folder=path, callbacks=callbacks, max_epochs=10_000
        )
        trainer.fit(module, datamodule=data)


class AutomaticVAE(L.LightningModule):
    """The plain VAE with Lightning's automatic optimization, one batch per call."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.model = BareVAE(kind)

    def training_step(self, batch: Tensor, batch_idx: int) -> Tensor:
        return self.model.loss(batch)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), 1e-3)


class _Slices:
    def __init__(self, kind: str, x: Tensor, turn: Callable[[], None]) -> None:
        self._parts = kind, x, turn

    def __len__(self) -> int:
        return len(self._parts[1]) // BATCH[self._parts[0]]

    def __iter__(self) -> Iterator[Tensor]:
        yield from slices(*self._parts)


def automatic_loop(kind: str, x: Tensor, turn: Callable[[], None], steps: int) -> None:
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as folder:
        settings = {"accelerator": "cpu", "limit_val_batches": 0, "enable_checkpointing": False}
        trainer = make_trainer(settings, folder=Path(folder), max_epochs=10_000, max_steps=steps)
        trainer.fit(AutomaticVAE(kind), _Slices(kind, x, turn))


def same_setting(kind: str, rounds: int) -> dict[str, dict[str, float]]:
    """Time the loops in one process, in alternating blocks of steps."""
    keep_freed_memory()
    x, main = data(kind), greenlet.getcurrent()
    steps = (rounds + 4) * BLOCK * 2

    def turn() -> None:
        main.switch()

    contenders: dict[str, Callable[[], None]] = {
        "bare": lambda: bare_loop(kind, x, lambda: slices(kind, x, turn), steps),
        "bare again": lambda: bare_loop(kind, x, lambda: slices(kind, x, turn), steps),
        "automatic optimization": lambda: automatic_loop(kind, x, turn, steps),
        "steps_per_call=1": lambda: ours_loop(kind, x, turn, steps, 1),
        "steps_per_call=auto": lambda: ours_loop(kind, x, turn, steps, "auto"),
    }
    running = {name: greenlet.greenlet(contender) for name, contender in contenders.items()}
    for loop in running.values():
        for _ in range(BLOCK + 1):
            loop.switch()
    times: dict[str, list[float]] = {name: [] for name in running}
    rng = random.Random(0)
    for _ in range(rounds):
        for name in rng.sample(list(running), len(running)):
            began = time.perf_counter()
            for _ in range(BLOCK):
                running[name].switch()
            times[name].append((time.perf_counter() - began) / BLOCK)
    results = {}
    for name, seconds in times.items():
        ratios = sorted(a / b for a, b in zip(seconds, times["bare"], strict=True))
        quarter = len(ratios) // 4
        results[name] = {
            "milliseconds": 1e3 * statistics.median(seconds),
            "ratio": statistics.median(ratios),
            "ratio_low": ratios[quarter],
            "ratio_high": ratios[-1 - quarter],
        }
    return results


def child(side: str, kind: str, steps: int) -> None:
    """Run one side alone and print its mean step time in seconds."""
    x, marks = data(kind), []

    def turn() -> None:
        marks.append(time.perf_counter())

    if side == "ours":
        ours_loop(kind, x, turn, steps, "auto")
    else:
        loader = DataLoader(TensorDataset(x), batch_size=BATCH[kind], shuffle=True, drop_last=True)

        def batches() -> Iterator[Tensor]:
            for (batch,) in loader:
                turn()
                yield batch

        bare_loop(kind, x, batches, steps)
    warm = marks[steps // 4 :]
    print((warm[-1] - warm[0]) / (len(warm) - 1))


def as_written(kind: str, rounds: int, threads: int) -> dict[str, float]:
    """Time both sides in alternating processes: a default run, and a loop with the defaults of PyTorch."""
    times: dict[str, list[float]] = {"ours": [], "bare": []}
    for number in range(rounds):
        for side in ("ours", "bare") if number % 2 else ("bare", "ours"):
            command = [sys.executable, __file__, "--child", side, "--kind", kind, "--threads", str(threads)]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            times[side].append(float(done.stdout.split()[-1]))
    ratios = sorted(a / b for a, b in zip(times["ours"], times["bare"], strict=True))
    return {
        "ours_milliseconds": 1e3 * statistics.median(times["ours"]),
        "bare_milliseconds": 1e3 * statistics.median(times["bare"]),
        "ratio": statistics.median(ratios),
        "ratio_low": ratios[0],
        "ratio_high": ratios[-1],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--processes", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--kind", choices=list(BATCH), default=None)
    parser.add_argument("--child", choices=["ours", "bare"], default=None)
    parser.add_argument("--out", type=Path, default=None)
    args = parser.parse_args()
    warnings.filterwarnings("ignore")
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    torch.set_num_threads(args.threads)
    if args.child:
        child(args.child, args.kind, 400 if args.kind == "mlp" else 200)
        return
    results: dict[str, Any] = {
        "threads": args.threads, "torch": torch.__version__, "processor": platform.processor() or platform.machine(),
    }  # fmt: skip
    for kind in [args.kind] if args.kind else list(BATCH):
        results[kind] = {
            "same": same_setting(kind, args.rounds),
            "as people write it": as_written(kind, args.processes, args.threads),
        }
        for name, row in results[kind]["same"].items():
            print(
                f"{kind:5} {name:22} {row['milliseconds']:7.2f} ms a step, "
                f"{row['ratio']:.3f} of bare [{row['ratio_low']:.3f}, {row['ratio_high']:.3f}]"
            )
        row = results[kind]["as people write it"]
        print(
            f"{kind:5} as people write it: ours {row['ours_milliseconds']:.2f} ms, "
            f"bare {row['bare_milliseconds']:.2f} ms, "
            f"ratio {row['ratio']:.3f} [{row['ratio_low']:.3f}, {row['ratio_high']:.3f}]"
        )
    if args.out:
        args.out.parent.mkdir(parents=True, exist_ok=True)
        args.out.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
