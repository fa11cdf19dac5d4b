"""One training step shared by two processes.

``python -m aeframe.testing.two_processes THREADS RANK MEETING PARCEL...``, once for each rank.
"""

from __future__ import annotations

import sys
from datetime import timedelta
from pathlib import Path

import torch
from torch import Tensor

from aeframe.noise import noise_of
from aeframe.testing.frozen import freeze_others
from aeframe.testing.noise import RowNoise
from aeframe.testing.reference import CPU, PROGRESS, SAMPLES, Reference
from aeframe.testing.subprocess_io import answer, unpack
from aeframe.testing.terms import passed
from aeframe.training.optimizer_groups import make_optimizer_groups

WORLD = 2


def step(reference: Reference, rank: int | None) -> dict[str, Tensor]:
    """Return the gradients of one step, and the buffers after it.

    Args:
        reference: With at least ``2 * SAMPLES`` rows.
        rank: This process's place among two that share the batch; None takes the whole of it.
    """
    model = reference.model()
    groups = make_optimizer_groups(model, {"name": "sgd", "lr": 0.1})
    rows = torch.arange(WORLD * SAMPLES) if rank is None else torch.arange(SAMPLES) + rank * SAMPLES
    with noise_of(CPU, 4), RowNoise(rows, num_samples=model.objective.num_samples):
        p = passed(model, reference.rows.rows(rows))
        for group in groups:
            with freeze_others(group, groups):
                group.terms(model, p, PROGRESS).total().mean().backward()
    found = {f"gradient of {name}": p.grad for name, p in model.named_parameters() if p.grad is not None}
    if rank is not None:
        for gradient in found.values():
            torch.distributed.all_reduce(gradient)
            gradient /= WORLD
    return found | {f"buffer {name}": buffer.detach().clone() for name, buffer in model.named_buffers()}


def main() -> None:
    """Share every parcel with the other process; the first of the two answers."""
    threads, rank, meeting, *parcels = sys.argv[1:]
    torch.set_num_threads(int(threads))
    torch.distributed.init_process_group(
        "gloo",
        init_method=f"file://{meeting}",
        rank=int(rank),
        world_size=WORLD,
        timeout=timedelta(seconds=60),
    )
    for parcel in map(Path, parcels):
        numbers: dict[str, Tensor] | str
        try:
            numbers = step(unpack(parcel), int(rank))
        except Exception as error:  # noqa: BLE001 -- the plugin boundary: whatever it raises is the answer
            numbers = f"{type(error).__name__}: {error}"
        if rank == "0":
            answer(parcel.with_name("shared.pt"), numbers)
    torch.distributed.destroy_process_group()


if __name__ == "__main__":
    main()
