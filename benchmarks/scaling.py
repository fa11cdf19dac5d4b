"""Measure what a second process costs a training step: ``python benchmarks/scaling.py``.

A VAE of 784-512-16 is trained on synthetic rows by one process and by two, which each have `ROWS` rows of every batch
and one thread. Runs alternate. For each number of processes it writes the median time of a step, and for two the time
of an all-reduce of the gradients alone, measured in the same process. `docs/explanation/scale.md` compares these with
its model: a step of W processes takes that of one, plus the all-reduce as far as the backward pass does not hide it.

Writes ``results/scaling.json``.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).with_name("results")
ROWS, COLUMNS, STEPS, SKIPPED, REPEATS = 128, 784, 160, 40, 3
MEASURE = "measure"
"""The argument of the processes that train."""


def measure() -> None:
    """Train in this process, and print the seconds of a step and of an all-reduce; only the first process prints."""
    import lightning.pytorch as L
    import numpy as np
    import torch

    import aeframe
    from aeframe.devices import num_devices

    class StepTimes(L.Callback):
        """The moments at which steps end."""

        def __init__(self) -> None:
            self.moments: list[float] = []
            self.seconds_of_all_reduce = 0.0

        def on_train_batch_end(self, *_: Any) -> None:
            self.moments.append(time.perf_counter())

        def on_train_end(self, trainer: L.Trainer, module: L.LightningModule) -> None:
            """Average as many numbers as the model has parameters, as often as there are steps."""
            if num_devices() == 1:
                return
            gradients = torch.zeros(sum(parameter.numel() for parameter in module.parameters()))
            seconds = []
            for _ in range(SKIPPED):
                torch.distributed.barrier()
                start = time.perf_counter()
                torch.distributed.all_reduce(gradients)
                seconds.append(time.perf_counter() - start)
            self.seconds_of_all_reduce = statistics.median(seconds)

    world = int(os.environ.get("WORLD_SIZE", 1))
    times = StepTimes()
    x = np.random.default_rng(0).normal(size=(ROWS * world * 20, COLUMNS)).astype(np.float32)
    run = aeframe.fit(
        x, model="vae", encoder={"hidden": [512]}, latent={"dim": 16}, batch_size=ROWS * world, max_batches=STEPS,
        pictures=False, verbose=False, progress=False, callbacks=[times], trainer={"accelerator": "cpu", "threads": 1},
    )  # fmt: skip
    if int(os.environ.get("RANK", 0)) == 0:
        steps = [end - start for start, end in zip(times.moments[SKIPPED:], times.moments[SKIPPED + 1 :], strict=False)]
        parameters = sum(parameter.numel() for parameter in run.model.model.parameters())
        print(
            json.dumps(
                {"step": statistics.median(steps), "all_reduce": times.seconds_of_all_reduce, "parameters": parameters}
            )
        )


def train(world: int) -> dict[str, float]:
    """Return what the first of `world` processes measured."""
    launcher = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={world}"] if world > 1 else []
    command = [sys.executable, *launcher, str(Path(__file__).resolve()), MEASURE]
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            command,
            cwd=folder,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
    return dict(json.loads(done.stdout.strip().splitlines()[-1]))


def main() -> None:
    measured: dict[int, list[dict[str, float]]] = {1: [], 2: []}
    for _ in range(REPEATS):
        for world in measured:
            measured[world].append(train(world))
            print(world, measured[world][-1], flush=True)
    one, two = (statistics.median(each["step"] for each in measured[world]) for world in measured)
    all_reduce = statistics.median(each["all_reduce"] for each in measured[2])
    result = {
        "parameters": measured[1][0]["parameters"],
        "rows of a process": ROWS,
        "milliseconds of a step, 1 process": round(one * 1e3, 3),
        "milliseconds of a step, 2 processes": round(two * 1e3, 3),
        "milliseconds of an all-reduce": round(all_reduce * 1e3, 3),
        "efficiency, measured": round(one / two, 3),
        "efficiency, of the model without overlap": round(one / (one + all_reduce), 3),
        "runs": measured,
    }
    (RESULTS / "scaling.json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    measure() if sys.argv[1:] == [MEASURE] else main()
