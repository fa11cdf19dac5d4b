"""Compare 16 VAEs that are trained together by `torch.func.vmap` with the same VAEs trained one after the other.

Both sides train with Lightning's Trainer on data in memory, without evaluation and run folders, and alternate in one
process. Times are the smallest of the rounds, per training batch of all 16 models; run it with OMP_NUM_THREADS=1.

    OMP_NUM_THREADS=1 python benchmarks/packed_runs.py --sizes 16-8-2 64-32-8 784-64-16
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Callable

import lightning.pytorch as L
import numpy as np

import aeframe
from aeframe.training.module import AutoencoderModule
from aeframe.training.packed_training import PackedRun, RunPack
from aeframe.training.warning_filters import quiet_lightning

NUM_MODELS = 16


def built(size: str, batch_size: int, num_batches: int) -> list[tuple[AutoencoderModule, L.LightningDataModule]]:
    """Return models of a size ``INPUTS-HIDDEN-LATENTS`` that differ in seed and learning rate, with their data."""
    inputs, hidden, latents = map(int, size.split("-"))
    x = np.random.default_rng(0).normal(size=(batch_size * num_batches + 20, inputs)).astype("float32")
    return [
        aeframe.build(
            x,
            model="vae",
            latent={"dim": latents},
            encoder={"hidden": [hidden]},
            optimizer={"lr": 1e-3 * (1 + number % 4)},
            seed=number,
            batch_size=batch_size,
            gradient_norms=False,
            validation=x[:10],
            test=x[:10],
        )
        for number in range(NUM_MODELS)
    ]


def fit(module: AutoencoderModule, data: L.LightningDataModule) -> None:
    """Train for an epoch."""
    trainer = L.Trainer(
        max_epochs=1,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        limit_val_batches=0,
    )
    trainer.fit(module, data)


def alone(size: str, batch_size: int, num_batches: int) -> Callable[[], None]:
    """Return a function that trains the models one after the other."""
    models = built(size, batch_size, num_batches)

    def train() -> None:
        for each in models:
            fit(*each)

    return train


def packed(size: str, batch_size: int, num_batches: int) -> Callable[[], None]:
    """Return a function that trains the models together."""
    models = built(size, batch_size, num_batches)

    def train() -> None:
        runs = [PackedRun(str(row), lambda each=each: fit(*each)) for row, each in enumerate(models)]  # type: ignore[misc]
        RunPack(runs, print).execute()
        for run in runs:
            if run.error is not None:
                raise run.error

    return train


def measured(train: Callable[[], None], num_batches: int) -> tuple[float, float]:
    """Return CPU and wall time in milliseconds per batch."""
    wall, processor = time.perf_counter(), time.process_time()
    train()
    return 1e3 * (time.process_time() - processor) / num_batches, 1e3 * (time.perf_counter() - wall) / num_batches


def main() -> None:
    """Print a row for each size."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", nargs="+", default=["16-8-2", "64-32-8", "784-64-16"])
    parser.add_argument("--batch-sizes", nargs="+", type=int, default=[64])
    parser.add_argument("--batches", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    print("ms for a batch of each model")
    print("size        batch   alone CPU  packed CPU  ratio   alone wall  packed wall  ratio")
    with quiet_lightning(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for size in arguments.sizes:
            for batch_size in arguments.batch_sizes:
                sides: list[list[tuple[float, float]]] = [[], []]
                for _ in range(arguments.rounds):
                    for side, make in zip(sides, (alone, packed), strict=True):
                        side.append(measured(make(size, batch_size, arguments.batches), arguments.batches))
                (cpu, wall), (packed_cpu, packed_wall) = (
                    tuple(min(values) for values in zip(*side, strict=True)) for side in sides
                )
                print(
                    f"{size:12}{batch_size:5}{cpu:12.2f}{packed_cpu:12.2f}{cpu / packed_cpu:7.1f}"
                    f"{wall:13.2f}{packed_wall:13.2f}{wall / packed_wall:7.1f}",
                    flush=True,
                )


if __name__ == "__main__":
    main()
