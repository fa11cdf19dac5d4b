"""Train one batch on one device or on several, to compare strategies."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import torch
import torch.multiprocessing as mp
from torch import Tensor

from aeframe.experiment.api import build
from aeframe.training.trainer import make_trainer

_T = TypeVar("_T")
NUM_DEVICES = 2
BATCH_SIZE = 14
"""Samples in the batch; no dimension of the models is a multiple of half of it, so that no other draw is by sample."""


def train_one_batch(model: str, strategy: str, devices: int, folder: Path, **settings: Any) -> dict[str, Tensor]:
    """Return the weights and buffers of a recipe after one step of Adam, and one batch of validation.

    Args:
        model: The name of the recipe, on 16 numbers in (0, 1).
        strategy: The value of ``trainer.strategy``.
        devices: 1, or 2 in a process of `in_two_processes`.
        folder: Where Lightning may write.
        settings: More settings of the run.
    """
    rows = torch.rand(4 * BATCH_SIZE, 16, generator=torch.Generator().manual_seed(0)).numpy()
    # With so large an eps, Adam does not enlarge the rounding errors of small gradients.
    settings = {
        "optimizer": {"name": "adam", "lr": 0.05, "eps": 1.0},
        "batch_size": BATCH_SIZE,
        "steps_per_call": 1,
        **settings,
    }
    module, data = build(rows, model=model, **settings)
    trainer = make_trainer(
        {"accelerator": "cpu", "devices": devices, "strategy": strategy, "timeout": 120.0},
        folder=folder,
        model=module.model,
        max_epochs=1,
        limit_train_batches=1,
        limit_val_batches=1,
        log_every_n_steps=1,
    )
    trainer.fit(module, datamodule=data)
    return {name: value.detach().clone() for name, value in module.state_dict().items()}


def largest_difference(one: Mapping[str, Tensor], two: Mapping[str, Tensor]) -> float:
    """Return the largest difference of two sets of tensors, relative to the larger of 1 and the value."""
    if one.keys() != two.keys():
        return float("inf")
    differences = [
        ((two[name].double() - value.double()).abs() / value.double().abs().clamp(min=1)).max()
        for name, value in one.items()
        if value.numel()
    ]
    return float(torch.stack(differences).max())


def in_two_processes(function: Callable[[int, Path], _T], folder: Path) -> None:
    """Call a function in each of two processes; see `in_processes`."""
    in_processes(function, folder, NUM_DEVICES)


def in_processes(function: Callable[[int, Path], _T], folder: Path, num: int) -> None:
    """Call a function in each of several processes that Lightning takes for the devices of one run; wait for all.

    Args:
        function: Called with the rank, from 0 to ``num - 1``, and `folder`.
        folder: A folder for results.
        num: The number of processes.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    mp.start_processes(  # type: ignore[attr-defined,no-untyped-call]
        _process, (function, folder, port, num), nprocs=num, start_method="fork"
    )


def _process(rank: int, function: Callable[[int, Path], Any], folder: Path, port: int, num: int) -> None:
    torch.set_num_threads(1)
    os.environ |= {
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "LOCAL_RANK": str(rank),
        "NODE_RANK": "0",
        "WORLD_SIZE": str(num),
    }
    function(rank, folder)
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()
