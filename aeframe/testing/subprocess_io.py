"""References on their way to another process: tensors and plain values, opened without pickle."""

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
from aeframe.testing.reference import Reference
from aeframe.types import Batch, DataSpec

SECONDS = 300
"""After which a process that was asked is given up."""


def pack(reference: Reference, path: Path) -> None:
    """Write a reference."""
    rows = reference.rows
    torch.save(
        {
            "config": reference.config,
            "spec": reference.spec.to_dict(),
            "rows": {field.name: getattr(rows, field.name) for field in fields(Batch)},
        },
        path,
    )


def unpack(path: Path) -> Reference:
    """Read a reference; its modality is built, and has learned nothing."""
    parcel = torch.load(path, weights_only=True)
    spec = DataSpec.from_dict(parcel["spec"])
    return Reference(parcel["config"], spec, Batch(**parcel["rows"]), build("modality", parcel["config"]["modality"]))


def answer(path: Path, numbers: dict[str, Tensor] | str) -> None:
    """Write what came of a parcel: numbers by name, or a sentence that says why there are none."""
    torch.save(numbers, path)


def answered(path: Path) -> dict[str, Tensor] | str:
    """Read what came of a parcel; a sentence where the process ended before it got there."""
    if not path.is_file():
        return "the other process ended before it came to this part"
    found: dict[str, Tensor] | str = torch.load(path, weights_only=True)
    return found


def ask(module: str, arguments: Sequence[Sequence[Any]]) -> None:
    """Run ``python -m module`` once for each list of arguments, side by side, with the plugins of this process."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    command = [sys.executable, "-W", "ignore", "-m", module, str(torch.get_num_threads())]
    processes = [
        subprocess.Popen([*command, *map(str, words)], env=environment, stdout=subprocess.DEVNULL)
        for words in arguments
    ]
    try:
        for process in processes:
            process.wait(SECONDS)
    except subprocess.TimeoutExpired:
        # Whatever was answered until now counts; the rest is told as not answered.
        pass
    finally:
        for process in processes:
            process.kill()
            process.wait()
