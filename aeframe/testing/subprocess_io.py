"""Run checks in other processes: exchange setups and results as files, without pickle."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from aeframe.factory import build
from aeframe.testing.reference import ReferenceSetup
from aeframe.types import Batch, DataSpec

TIMEOUT = 300
"""Seconds after which a process is killed."""


def write_setup(setup: ReferenceSetup, path: Path) -> None:
    """Write a setup to a file of tensors and plain values."""
    rows = setup.rows
    torch.save(
        {
            "config": setup.config,
            "spec": setup.spec.to_dict(),
            "rows": {field.name: getattr(rows, field.name) for field in fields(Batch)},
        },
        path,
    )


def read_setup(path: Path) -> ReferenceSetup:
    """Read a setup; its modality is a new one, without the state learned from the data."""
    values = torch.load(path, weights_only=True)
    config = values["config"]
    spec = DataSpec.from_dict(values["spec"])
    return ReferenceSetup(config, spec, Batch(**values["rows"]), build("modality", config["modality"]))


def write_result(path: Path, result: dict[str, Tensor] | str) -> None:
    """Write the tensors that a process computed, or the message of the error that prevented it."""
    torch.save(result, path)


def read_result(path: Path) -> dict[str, Tensor] | str:
    """Read the result of another process; an error message if the process wrote none."""
    if not path.is_file():
        return "the other process ended before it wrote a result"
    result: dict[str, Tensor] | str = torch.load(path, weights_only=True)
    return result


def run_processes(module: str, arguments: Sequence[Sequence[Any]], **variables: str) -> None:
    """Run ``python -m module THREADS ...`` in parallel, one process for each list of arguments.

    `variables` are added to their environment. The processes load the same plugins as this one. A process that fails
    or exceeds `TIMEOUT` leaves results unwritten, which `read_result` reports.
    """
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path), **variables}
    command = [sys.executable, "-W", "ignore", "-m", module, str(torch.get_num_threads())]
    processes = [
        subprocess.Popen([*command, *map(str, values)], env=environment, stdout=subprocess.DEVNULL)
        for values in arguments
    ]
    try:
        for process in processes:
            process.wait(TIMEOUT)
    except subprocess.TimeoutExpired:
        # Results that were written before the timeout are used.
        pass
    finally:
        for process in processes:
            process.kill()
            process.wait()
