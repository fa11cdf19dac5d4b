"""Set the process-wide state of a run, such as threads and warning filters, and restore the previous state."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from lightning.pytorch.utilities.seed import isolate_rng

from aeframe.training.malloc_tuning import kept_memory
from aeframe.training.packed_training import PackedRun, RunPack, current_packed_run
from aeframe.training.warning_filters import quiet_lightning

_VARIABLES = ("PL_GLOBAL_SEED", "PL_SEED_WORKERS", "CUBLAS_WORKSPACE_CONFIG")
"""Environment variables that Lightning sets."""


@contextmanager
def restored_generators() -> Iterator[None]:
    """Restore the random generators of Python, NumPy, torch and CUDA afterwards, also after an error.

    Lightning's `isolate_rng` does not restore them after an error. The environment variables that Lightning sets are
    restored too.
    """
    variables = {name: os.environ.get(name) for name in _VARIABLES}
    isolated = isolate_rng()
    isolated.__enter__()
    try:
        yield
    finally:
        isolated.__exit__(None, None, None)
        for name, value in variables.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


@contextmanager
def run_process(trainer: Mapping[str, Any]) -> Iterator[None]:
    """Apply the process-wide ``trainer`` settings of a run inside, and restore everything afterwards.

    These are the random generators of Python, NumPy, torch and CUDA, the thread count, glibc's allocator, warning
    filters, log levels, deterministic algorithms, the default dtype, and environment variables of Lightning.
    """
    if current_packed_run() is not None:
        # The process has the state of all runs of a `RunPack` already, and the other runs still need it.
        yield
        return
    threads, dtype = torch.get_num_threads(), torch.get_default_dtype()
    deterministic = torch.are_deterministic_algorithms_enabled()
    warn_only = torch.is_deterministic_algorithms_warn_only_enabled()
    cudnn = torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark
    with ExitStack() as stack:
        stack.enter_context(restored_generators())
        stack.enter_context(quiet_lightning())
        stack.enter_context(kept_memory(bool(trainer["allocator"])))
        if trainer["threads"] is not None:
            torch.set_num_threads(int(trainer["threads"]))
        try:
            yield
        finally:
            torch.set_num_threads(threads)
            torch.set_default_dtype(dtype)
            torch.use_deterministic_algorithms(deterministic, warn_only=warn_only)
            torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark = cudnn


def execute_together(runs: Sequence[PackedRun[Any]], trainer: Mapping[str, Any]) -> None:
    """Execute runs in this process, with the ``trainer`` settings of all of them; a line on stderr names a run that is
    trained alone, and why. Each run then has its result, or the error that ended it.
    """
    with run_process(trainer):
        RunPack(runs, lambda sentence: print(sentence, file=sys.stderr)).execute()
