"""`decided_by_first_process`: let the first process of a run decide something, and hand it to the others.

The processes exchange one text before Lightning connects them, through the store of torch.distributed that Lightning
will use too.
"""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from lightning.fabric.plugins.environments.lightning import LightningEnvironment
from torch.distributed import DistError, PrefixStore, rendezvous  # type: ignore[attr-defined]

from aeframe.errors import AeframeError, first_sentence
from aeframe.training.launchers import cluster_environment, num_devices, with_devices

VARIABLE = "AEFRAME_DECISION"
"""The environment variable through which Lightning's child processes receive the decision of their first run."""
_RESOLVE_SECONDS = 10.0
"""How long the name of the first process's host may take to resolve."""
_stores: list[Any] = []
"""The stores of this process. The first process serves them, and must do so until the others have read them."""


@dataclass(frozen=True, slots=True)
class _Processes:
    """This process among those that a launcher has started for a run."""

    rank: int
    number: int
    address: str
    port: int
    timeout: float
    """Seconds for which they wait for one another."""


def decided_by_first_process(
    decide: Callable[[], dict[str, Any]], settings: Mapping[str, Any], number: int
) -> dict[str, Any]:
    """Return what `decide` returns in the first process of the run, which alone calls it.

    Args:
        decide: Returns a mapping of plain values.
        settings: ``trainer`` of the run's config.
        number: The number of this run in its process, which is the same in all processes of the run.

    Raises:
        AeframeError: `decide` raised it, in any process; or the first process cannot be reached.
    """
    if (handed := os.environ.get(VARIABLE)) is not None and json.loads(handed)["number"] == number:
        decision: dict[str, Any] = json.loads(handed)["decision"]
        return decision
    processes = _processes(settings)
    if processes is None:
        return decide()
    key = f"decision/{os.environ.get('TORCHELASTIC_RESTART_COUNT', 0)}/{number}"
    if processes.rank > 0:
        return _received(processes, key)
    try:
        answer: dict[str, Any] = {"decision": decide()}
    except AeframeError as error:
        _store(processes).set(key, json.dumps({"error": str(error)}))
        raise
    except BaseException:
        _store(processes).set(key, json.dumps({"error": "the first process of the run ended; see its message"}))
        raise
    _store(processes).set(key, json.dumps(answer))
    return answer["decision"]


@contextmanager
def exported_decision(decision: Mapping[str, Any], settings: Mapping[str, Any], number: int) -> Iterator[None]:
    """Export a decision to the child processes that Lightning starts inside, if it starts any."""
    settings = with_devices(settings)
    if num_devices(settings) * settings["num_nodes"] == 1 or _environment().creates_processes_externally:
        yield
        return
    os.environ[VARIABLE] = json.dumps({"number": number, "decision": decision})
    try:
        yield
    finally:
        os.environ.pop(VARIABLE, None)


def _environment() -> Any:
    return cluster_environment() or LightningEnvironment()


def _processes(settings: Mapping[str, Any]) -> _Processes | None:
    """Return the processes that exist before Lightning connects them; None for one process that decides alone."""
    settings = with_devices(settings)
    per_node, num_nodes = num_devices(settings), settings["num_nodes"]
    environment = _environment()
    if per_node * num_nodes == 1 or not environment.creates_processes_externally:
        return None
    if isinstance(environment, LightningEnvironment):
        rank = environment.node_rank() * per_node + environment.local_rank()
    else:
        rank = environment.global_rank()
    return _Processes(
        rank, per_node * num_nodes, str(environment.main_address), int(environment.main_port), settings["timeout"]
    )


def _received(processes: _Processes, key: str) -> dict[str, Any]:
    try:
        answer = json.loads(_store(processes).get(key))
    except DistError as error:
        raise _unreachable(processes, error) from error
    if "error" in answer:
        raise AeframeError(answer["error"])
    decision: dict[str, Any] = answer["decision"]
    return decision


def _store(processes: _Processes) -> PrefixStore:
    """Connect to the store that the first process, or the agent of torchrun, serves."""
    url, timeout = f"tcp://{processes.address}:{processes.port}", timedelta(seconds=processes.timeout)
    check_host(processes.address)
    try:
        store, _, _ = next(rendezvous(url, rank=processes.rank, world_size=processes.number, timeout=timeout))
    except DistError as error:
        raise _unreachable(processes, error) from error
    store.set_timeout(timeout)
    _stores.append(store)
    return PrefixStore("aeframe", store)


def _unreachable(processes: _Processes, error: Exception) -> AeframeError:
    return AeframeError(
        f"process {processes.rank} of {processes.number} could not meet the others at "
        f"{processes.address}:{processes.port} within trainer.timeout={processes.timeout:g} seconds "
        f"({first_sentence(error)}); see the messages of the other processes, or correct MASTER_ADDR and MASTER_PORT"
    )


def check_host(address: str) -> None:
    """Raise an error for the name of a host that cannot be resolved; torch would retry until the time limit."""
    end = time.monotonic() + _RESOLVE_SECONDS
    while True:
        try:
            socket.getaddrinfo(address, None)
            return
        except OSError as error:
            if time.monotonic() < end:
                time.sleep(1.0)
                continue
            raise AeframeError(
                f"host '{address}' of the first process cannot be resolved on host '{socket.gethostname()}' "
                f"({error.strerror or error}); set MASTER_ADDR to a name or address that every machine knows"
            ) from error
