"""Write the sharded tensors of a checkpoint: each process its own share, by `torch.distributed.checkpoint`.

A sharded checkpoint is the usual file, in which sharded tensors are on the meta device, and a folder ``shards/ID`` with
one safetensors file for each process. The entry ``shards`` of the checkpoint has the name of that folder, the SHA-256
of each file, and the chunks of each tensor as ``[file, offset, size]``. Neither needs pickle: the file is read with
``weights_only=True``. `aeframe.training.shard_reader` reads them.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import shutil
from collections.abc import Mapping
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.default_planner import DefaultSavePlanner
from torch.distributed.checkpoint.metadata import Metadata
from torch.distributed.checkpoint.planner import SavePlan, SavePlanner
from torch.distributed.checkpoint.state_dict_saver import save
from torch.distributed.checkpoint.storage import StorageWriter, WriteResult
from torch.futures import Future

from aeframe.errors import AeframeError
from aeframe.safetensors_files import write_safetensors
from aeframe.training.checkpoint_files import SHARDS
from aeframe.training.checkpoint_hash import sync_folder
from aeframe.training.shard_reader import map_tensors, reason_of
from aeframe.training.sharding import gathered, has_shares


def new_shard_folder(checkpoint: Path) -> Path:
    """Return the folder for the shards of a new checkpoint, under a name that no other checkpoint has."""
    return checkpoint.absolute().parent / SHARDS / secrets.token_hex(8)


def has_sharded_tensors(checkpoint: Mapping[str, Any]) -> bool:
    """Return whether a checkpoint has tensors of which each process holds a share."""
    found: list[bool] = []
    map_tensors(checkpoint, lambda _, value: found.append(has_shares(value)))
    return any(found)


def write_shards(checkpoint: Mapping[str, Any], folder: Path, path: Path) -> dict[str, Any]:
    """Write the sharded tensors of a checkpoint into a folder; every process must call this.

    Each process writes its share, and holds no other one. Files and folders are flushed to the disk.

    Args:
        checkpoint: The checkpoint.
        folder: The folder of the shards, the same on all processes; see `new_shard_folder`.
        path: The file of the checkpoint, for messages.

    Returns:
        The checkpoint with sharded tensors on the meta device, and on the first process with the index ``shards``.

    Raises:
        AeframeError: A process cannot write; raised on all processes, and the folder is removed.
    """
    sharded: dict[str, Tensor] = {}

    def take(name: str, value: Tensor) -> Tensor:
        if not has_shares(value):
            whole: Tensor = gathered(value)
            return whole
        if name in sharded:
            raise AeframeError(f"checkpoint '{path}' cannot be written: it has two tensors '{name}'; rename one")
        sharded[name] = value.detach()
        return torch.empty(value.shape, dtype=value.dtype, device="meta")

    rest: dict[str, Any] = map_tensors(checkpoint, take)
    writer = _ShardWriter(folder)
    try:
        save(sharded, storage_writer=writer, planner=DefaultSavePlanner(flatten_state_dict=False))
    except CheckpointException as error:
        shutil.rmtree(folder, ignore_errors=True)
        rank, (cause, _) = min(error.failures.items(), key=lambda failure: failure[0])
        raise AeframeError(
            f"checkpoint '{path}' cannot be written: {reason_of(cause)} (rank {rank}); the previous one is kept, free "
            "disk space, restore the permissions of the folder, or use a folder that all machines share, then "
            f"resume={path.parent.parent}"
        ) from cause
    return {**rest, SHARDS: writer.index}


class _ShardWriter(StorageWriter):
    """Write the tensors of each process to one safetensors file; `index` describes them on the first process."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.index: dict[str, Any] = {}

    def reset(self, checkpoint_id: str | os.PathLike[str] | None = None) -> None:
        """Do nothing: a writer writes once."""

    def set_up_storage_writer(self, is_coordinator: bool, *_: Any, **__: Any) -> None:
        """Make the folder. Every process does: its machine may see the folder of another one late."""
        self._folder.mkdir(parents=True, exist_ok=True)

    def prepare_local_plan(self, plan: SavePlan) -> SavePlan:
        """Return the plan unchanged."""
        return plan

    def prepare_global_plan(self, plans: list[SavePlan]) -> list[SavePlan]:
        """Name the file of each process."""
        return [
            replace(plan, storage_data=f"{number:05d}-of-{len(plans):05d}.safetensors")
            for number, plan in enumerate(plans, start=1)
        ]

    def write_data(self, plan: SavePlan, planner: SavePlanner) -> Future[list[WriteResult]]:
        """Write the file of this process, flush it, and hash it."""
        tensors: dict[str, Tensor] = {}
        storages = set()
        for item in plan.items:
            value = planner.resolve_data(item)
            assert isinstance(value, Tensor)
            value = value.detach().cpu().contiguous()
            # safetensors refuses two names of one memory, such as those of a shared parameter.
            storage = value.untyped_storage().data_ptr()
            tensors[item.index.fqn] = value.clone() if storage in storages else value
            storages.add(storage)
        name = str(plan.storage_data)
        digest = _write_file(tensors, self._folder / name) if tensors else ""
        future: Future[list[WriteResult]] = Future()
        future.set_result(
            [
                WriteResult(item.index, 0, (name, digest, list(item.index.offset or ()), list(value.shape)))
                for item, value in zip(plan.items, tensors.values(), strict=True)
            ]
        )
        return future

    def finish(self, metadata: Metadata, results: list[list[WriteResult]]) -> None:
        """Make the index. It runs on the first process, which must see the files of all others."""
        files: dict[str, str] = {}
        chunks: dict[str, list[Any]] = {}
        for result in chain.from_iterable(results):
            name, digest, offset, size = result.storage_data
            files[name] = digest
            chunks.setdefault(result.index.fqn, []).append([name, offset, size])
        for name in files:
            (self._folder / name).stat()
        for folder in (self._folder, self._folder.parent, self._folder.parent.parent):
            sync_folder(folder)
        self.index = {"folder": self._folder.name, "files": files, "chunks": chunks}

    @classmethod
    def validate_checkpoint_id(cls, checkpoint_id: str | os.PathLike[str]) -> bool:
        """Return False: torch does not choose this class by itself."""
        return False


def _write_file(tensors: dict[str, Tensor], path: Path) -> str:
    """Write tensors, flush them to the disk, and return the SHA-256 of the file."""
    write_safetensors(tensors, path)
    with path.open("rb") as file:
        os.fsync(file.fileno())
        return hashlib.file_digest(file, "sha256").hexdigest()
