"""Start the processes of a run before anything is written, and report which of them failed and why."""

from __future__ import annotations

import os
import signal
import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import lightning.pytorch as L
from torch import distributed
from torch.distributed import TCPStore  # type: ignore[attr-defined]

from aeframe.entrances import sentence_of
from aeframe.errors import AeframeError, ReportedError, reason_and_place
from aeframe.interruption import Interrupted
from aeframe.training.first_process import check_host

_ACKNOWLEDGE_SECONDS = 3.0
"""How long a process that failed waits until the other ones have read why."""
_POLL_SECONDS = 0.05
_GLOO = ("[gloo", "gloo/transport", "Connection closed by peer", "Connection reset by peer", "Broken pipe", "NCCL")
"""Parts of the messages of errors that are raised where another process has ended."""


@dataclass(frozen=True, slots=True)
class _Fault:
    """Why a process failed."""

    rank: int
    host: str
    reason: str


@contextmanager
def joined_processes(trainer: L.Trainer, module: L.LightningModule, settings: Mapping[str, Any]) -> Iterator[None]:
    """Start the other processes of the run and connect them before the block; report a failure inside.

    The process that fails first tells the others why, and all of them end. The first process (rank 0) raises an error
    that names the rank, its host and the reason. The other processes raise a `ReportedError`, unless the first one
    does not answer. With one device the block runs as it is.

    Args:
        trainer: The Trainer of the run.
        module: The module that it will train.
        settings: The entry ``trainer`` of the run's config.

    Raises:
        AeframeError: Not all processes came within ``trainer.timeout`` seconds, a host cannot be found, or a process
            failed with an error that the user can correct.
    """
    if trainer.world_size == 1:
        yield
        return
    board = _connect(trainer, module, settings["timeout"])
    children = _Children(trainer.strategy.launcher)
    try:
        yield
    except Interrupted:
        raise
    except Exception as error:
        children.take_over()
        if _is_of_other_process(error):
            failure = board.failed_elsewhere(children)
            children.end()
            raise failure from error
        board.publish(error)
        _leave_group()
        board.wait_until_read()
        children.end()
        if isinstance(error, AeframeError) and board.rank > 0 and board.first_has_reported():
            raise ReportedError(str(error)) from error
        raise


class _Children:
    """The processes that Lightning has started for this run on this machine: ranks 1, 2, ..."""

    def __init__(self, launcher: Any) -> None:
        self._observed: list[Any] = getattr(launcher, "procs", [])
        self._processes = list(self._observed)

    def take_over(self) -> None:
        """Stop Lightning's observer, which kills this process within five seconds after another one has ended."""
        self._observed.clear()

    def end(self) -> None:
        """Wait until the processes end, but not for long, and kill those that do not."""
        end = time.monotonic() + _ACKNOWLEDGE_SECONDS
        for process in self._processes:
            while process.poll() is None and time.monotonic() < end:
                time.sleep(_POLL_SECONDS)
            if process.poll() is None:
                process.kill()
                process.wait()

    def signal_of(self, rank: int) -> int | None:
        """Return the signal that killed a process; None if it is not known."""
        code = self._processes[rank - 1].poll() if 0 < rank <= len(self._processes) else None
        return -code if code is not None and code < 0 else None


class _Board:
    """Messages between the processes of a run, in the store that they connected by."""

    def __init__(self, store: TCPStore, rank: int, size: int) -> None:
        self._store, self.rank, self._size = store, rank, size
        self._host = socket.gethostname()
        self._reachable = True
        self._set("host", self._host)

    def publish(self, error: Exception) -> None:
        """Write why this process failed."""
        reason = str(error) if isinstance(error, AeframeError) else sentence_of(error) or reason_and_place(error)
        _record_for_torchrun(error)
        self._set("fault", f"{self._host}\n{reason}")

    def wait_until_read(self) -> None:
        """Wait until the other processes have failed too, but not for long."""
        end = time.monotonic() + _ACKNOWLEDGE_SECONDS
        others = [rank for rank in range(self._size) if rank != self.rank] if self.rank == 0 else [0]
        while self._reachable and time.monotonic() < end and not all(self._has_failed(rank) for rank in others):
            time.sleep(_POLL_SECONDS)

    def first_has_reported(self) -> bool:
        """Return whether the first process knows of a failure, and will report it."""
        return self._has_failed(0)

    def failed_elsewhere(self, children: _Children) -> AeframeError:
        """Return the error for a process that failed because another one did."""
        # Read before this process says that it has failed: the first process, which holds the store, then ends.
        fault = self._first_fault()
        self._set("seen", "")
        end = time.monotonic() + _ACKNOWLEDGE_SECONDS
        while fault is None and self._reachable and time.monotonic() < end and not self._all_have_failed():
            time.sleep(_POLL_SECONDS)
            fault = self._first_fault()
        if not self._reachable and fault is None:
            return AeframeError(
                f"rank {self.rank} of {self._size} on host '{self._host}' stopped, because the first process (rank 0) "
                "ended without a message, as when its host has too little memory or is switched off; look at the log "
                "of its host"
            )
        fault = fault or self._killed(children)
        _leave_group()
        self.wait_until_read()
        if fault is None:
            message = (
                f"rank {self.rank} of {self._size} on host '{self._host}' lost its connection to another process; look "
                "at the network, and at the messages of the other processes"
            )
        else:
            message = f"rank {fault.rank} of {self._size} on host '{fault.host}' ended the run: {fault.reason}"
        return AeframeError(message) if self.rank == 0 else ReportedError(message)

    def _first_fault(self) -> _Fault | None:
        for rank in range(self._size):
            if self._has(f"aeframe/fault/{rank}"):
                host, _, reason = self._store.get(f"aeframe/fault/{rank}").decode().partition("\n")
                return _Fault(rank, host, reason)
        return None

    def _all_have_failed(self) -> bool:
        return all(self._has_failed(rank) for rank in range(self._size))

    def _killed(self, children: _Children) -> _Fault | None:
        """Return the fault of a process that ended without a message."""
        silent = [rank for rank in range(self._size) if not self._has_failed(rank)]
        if not silent:
            return None
        rank = silent[0]
        host = self._store.get(f"aeframe/host/{rank}").decode() if self._has(f"aeframe/host/{rank}") else "unknown"
        ended = "it ended without a message"
        number = children.signal_of(rank)
        if number is not None:
            ended = f"it was killed by {signal.Signals(number).name}"
        return _Fault(
            rank, host, f"{ended}, as when its host has too little memory or is switched off; look at the host's log"
        )

    def _has_failed(self, rank: int) -> bool:
        return rank == self.rank or self._has(f"aeframe/seen/{rank}") or self._has(f"aeframe/fault/{rank}")

    def _has(self, key: str) -> bool:
        if self._reachable:
            try:
                return bool(self._store.check([key]))
            except (distributed.DistError, RuntimeError):
                # The first process, which holds the store, has ended.
                self._reachable = False
        return False

    def _set(self, key: str, value: str) -> None:
        if self._reachable:
            try:
                self._store.set(f"aeframe/{key}/{self.rank}", value)
            except (distributed.DistError, RuntimeError):
                self._reachable = False


def _connect(trainer: L.Trainer, module: L.LightningModule, timeout: float) -> _Board:
    """Start the processes that the launcher did not start, and connect all."""
    strategy = trainer.strategy
    environment: Any = getattr(strategy, "cluster_environment", None)
    address = str(environment.main_address)
    check_host(address)
    # `ModelParallelStrategy` gives its mesh to the module.
    strategy.connect(module)
    try:
        launcher = strategy.launcher
        if launcher is None:
            strategy.setup_environment()
        else:
            launcher.launch(strategy.setup_environment, trainer=trainer)
        store = TCPStore(
            os.environ.get("MASTER_ADDR", address),
            int(os.environ.get("MASTER_PORT", environment.main_port)),
            is_master=False,
            timeout=timedelta(seconds=min(timeout, 60.0)),
        )
    except (distributed.DistError, RuntimeError, ValueError) as error:
        rank = getattr(strategy, "global_rank", 0)
        raise AeframeError(
            f"rank {rank} of {trainer.world_size} on host '{socket.gethostname()}' did not meet the other processes at "
            f"{address}:{environment.main_port} within trainer.timeout={timeout:g} seconds "
            f"({reason_and_place(error)}); look at the messages of the others, check that all were started and that "
            "the port is open, or set trainer.timeout higher"
        ) from error
    return _Board(store, trainer.global_rank, trainer.world_size)


def _is_of_other_process(error: BaseException) -> bool:
    """Return whether an error or one of its causes says that another process does not answer."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, distributed.DistError):
            return True
        if isinstance(seen, RuntimeError) and any(text in str(seen) for text in _GLOO):
            return True
        seen = seen.__cause__
    return False


def _leave_group() -> None:
    """Close the connections to the other processes, which end waiting for this one."""
    # NCCL would wait for operations that never end.
    if distributed.is_initialized() and distributed.get_backend() == "gloo":
        distributed.destroy_process_group()


def _record_for_torchrun(error: Exception) -> None:
    """Write the error to the file that torchrun prints as the root cause."""
    if "TORCHELASTIC_ERROR_FILE" in os.environ:
        from torch.distributed.elastic.multiprocessing.errors import get_error_handler

        get_error_handler().record_exception(error)
