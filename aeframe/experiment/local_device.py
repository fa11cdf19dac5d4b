"""Give each process of a local launcher (joblib, submitit_local) a CUDA device of its own."""

from __future__ import annotations

import itertools
import os
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

try:
    import fcntl
except ImportError:
    # Windows has no `fcntl`.
    _HAS_LOCKS = False
else:
    _HAS_LOCKS = True

VARIABLE = "CUDA_VISIBLE_DEVICES"
_claims: dict[int, tuple[str, IO[str]]] = {}
"""The device of this process, by process id, with its lock file: a forked process has none."""


def use_free_device(trainer: Mapping[str, Any], launcher: str) -> str | None:
    """Let this process see one CUDA device only, the least used one, and return its name.

    A process keeps its device until it ends, whatever the number of points that it trains. The devices are shared with
    all sweeps of the user on this machine. Nothing is changed, and None returned, if the points are trained one after
    the other in the process of the command, if a run names its devices or needs several, if only one is visible, or if
    CUDA was initialised already.

    Args:
        trainer: ``trainer`` of the run's config.
        launcher: The class path of Hydra's launcher.
    """
    if launcher.endswith(("BasicLauncher", "SlurmLauncher")) or not _HAS_LOCKS:
        return None
    if trainer["accelerator"] not in ("auto", "gpu", "cuda") or trainer["devices"] not in (None, 1):
        return None
    if os.getpid() in _claims:
        return _claims[os.getpid()][0]
    torch: Any = sys.modules.get("torch")
    devices = visible_devices()
    if len(devices) < 2 or (torch is not None and torch.cuda.is_initialized()):
        return None
    device, file = _claim(devices)
    _claims[os.getpid()] = device, file
    os.environ[VARIABLE] = device
    return device


def visible_devices() -> list[str]:
    """Return the names of the CUDA devices that this process may use, as ``CUDA_VISIBLE_DEVICES`` has them."""
    if (listed := os.environ.get(VARIABLE)) is not None:
        return [name for name in listed.split(",") if name.strip()]
    import torch

    # Counts the devices without initialising CUDA.
    return [str(number) for number in range(torch.cuda.device_count())]


def _claim(devices: Sequence[str]) -> tuple[str, IO[str]]:
    """Return the first device with the fewest processes, and the locked file that marks it as used once more."""
    folder = Path(tempfile.gettempdir(), f"aeframe-devices-{os.getuid()}")
    folder.mkdir(mode=0o700, exist_ok=True)
    for turn in itertools.count():
        for device in devices:
            file = (folder / f"{device}.{turn}").open("w", encoding="utf-8")
            try:
                fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                file.close()
            else:
                return device, file
    raise AssertionError("the turns do not end")
