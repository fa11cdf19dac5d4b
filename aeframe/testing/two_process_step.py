"""Compute the gradients of one training step whose batch is split between two processes.

``python -m aeframe.testing.two_process_step THREADS RANK RENDEZVOUS SETUP...``, once for each rank. ``RENDEZVOUS`` is a
new file by which the processes find each other. ``SETUP`` is a file written by `write_setup`; the gradients go to
``gradients.pt`` next to it.
"""

from __future__ import annotations

import sys
from datetime import timedelta
from pathlib import Path

import torch
from torch import Tensor

from aeframe.devices import LocalRows, shared_batch
from aeframe.noise import noise_of
from aeframe.testing.freezing import freeze_others
from aeframe.testing.model_outputs import forward_pass
from aeframe.testing.noise import RowNoise
from aeframe.testing.reference import BATCH_SIZE, CPU, PROGRESS, ReferenceSetup
from aeframe.testing.subprocess_io import read_setup, write_result
from aeframe.training.optimizer_groups import make_optimizer_groups

WORLD_SIZE = 2
GRADIENTS = "gradients.pt"


def gradients_of_step(setup: ReferenceSetup, rank: int | None) -> dict[str, Tensor]:
    """Return the gradients of one step averaged over the processes, and the buffers after it.

    Args:
        setup: A setup with at least ``2 * BATCH_SIZE`` samples.
        rank: The rank of this process, which computes one half of the batch. None computes the whole batch in one
            process.
    """
    model = setup.model()
    groups = make_optimizer_groups(model, {"name": "sgd", "lr": 0.1})
    rows = torch.arange(WORLD_SIZE * BATCH_SIZE) if rank is None else torch.arange(BATCH_SIZE) + rank * BATCH_SIZE
    local_rows = None if rank is None else LocalRows(WORLD_SIZE * BATCH_SIZE, rank, WORLD_SIZE)
    with noise_of(CPU, 4), shared_batch(local_rows), RowNoise(rows, num_samples=model.objective.num_samples):
        out = forward_pass(model, setup.rows.rows(rows))
        for group in groups:
            with freeze_others(group, groups):
                group.terms(model, out, PROGRESS).total().mean().backward()
    gradients = {f"gradient of {name}": p.grad for name, p in model.named_parameters() if p.grad is not None}
    if rank is not None:
        for gradient in gradients.values():
            torch.distributed.all_reduce(gradient)
            gradient /= WORLD_SIZE
    return gradients | {f"buffer {name}": buffer.detach().clone() for name, buffer in model.named_buffers()}


def main() -> None:
    """Compute the step of each setup together with the other process; rank 0 writes the gradients."""
    threads, rank, rendezvous, *setups = sys.argv[1:]
    torch.set_num_threads(int(threads))
    torch.distributed.init_process_group(
        "gloo",
        init_method=f"file://{rendezvous}",
        rank=int(rank),
        world_size=WORLD_SIZE,
        timeout=timedelta(seconds=60),
    )
    for path in map(Path, setups):
        result: dict[str, Tensor] | str
        try:
            result = gradients_of_step(read_setup(path), int(rank))
        except Exception as error:  # noqa: BLE001 -- the plugin boundary: any error is a result
            result = f"{type(error).__name__}: {error}"
        if rank == "0":
            write_result(path.with_name(GRADIENTS), result)
    torch.distributed.destroy_process_group()


if __name__ == "__main__":
    main()
