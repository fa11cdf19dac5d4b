"""Read the sharded tensors of a checkpoint on any number of processes, verify them, and remove those of no checkpoint.

`aeframe.training.shard_writer` describes the files. The planner of `torch.distributed.checkpoint` computes which parts
of which files a process needs. Each process reads by itself, without communication.
"""

from __future__ import annotations

import contextlib
import hashlib
import math
import re
import shutil
from collections import Counter, OrderedDict, defaultdict
from collections.abc import Callable, Container, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor
from torch.distributed.checkpoint.default_planner import DefaultLoadPlanner
from torch.distributed.checkpoint.metadata import (
    ChunkStorageMetadata,
    Metadata,
    MetadataIndex,
    TensorProperties,
    TensorStorageMetadata,
)
from torch.distributed.checkpoint.planner import LoadPlanner, ReadItem

from aeframe.training.checkpoint_files import SHARDS
from aeframe.training.checkpoint_hash import DamagedCheckpointError

_FOLDER_NAME, _FILE_NAME = re.compile(r"[0-9a-f]{16}"), re.compile(r"[0-9]+-of-[0-9]+\.safetensors")


def read_shards(
    checkpoint: dict[str, Any],
    path: Path,
    allocate: Callable[[Tensor], Tensor],
    entries: Container[str] | None = None,
) -> dict[str, Any]:
    """Return a checkpoint with the values of its sharded tensors.

    Args:
        checkpoint: What the file `path` holds; a checkpoint without shards is returned as it is.
        path: The file; the folder ``shards`` is next to it.
        allocate: Called with a tensor on the meta device; returns an ordinary or sharded tensor for its values. Of a
            sharded one only the share of this process is read.
        entries: The entries of the checkpoint, such as ``state_dict``, whose tensors are read; others stay on the meta
            device. None for all.

    Raises:
        DamagedCheckpointError: A file that is read is missing or damaged, or the index does not fit.
    """
    if SHARDS not in checkpoint:
        return checkpoint
    index = _checked_index(checkpoint, path)
    targets: dict[str, Tensor] = {}
    metadata = Metadata({})
    file_of: dict[MetadataIndex, str] = {}

    def place(name: str, value: Tensor) -> Tensor:
        if name not in index["chunks"] or not (entries is None or name.partition("/")[0] in entries):
            return value
        parts = []
        for file, offset, size in index["chunks"][name]:
            parts.append(ChunkStorageMetadata(torch.Size(offset), torch.Size(size)))
            # Processes without a share of a small tensor write empty chunks, at the same offset.
            if parts[-1].sizes.numel():
                file_of[MetadataIndex(name, offset)] = file
        properties = TensorProperties(dtype=value.dtype)
        metadata.state_dict_metadata[name] = TensorStorageMetadata(properties, value.shape, parts)
        targets[name] = allocate(value)
        return targets[name]

    read: dict[str, Any] = map_tensors({name: each for name, each in checkpoint.items() if name != SHARDS}, place)
    planner = DefaultLoadPlanner(flatten_state_dict=False)
    planner.set_up_planner(targets, metadata, is_coordinator=True)
    by_file: dict[str, list[ReadItem]] = {}
    for item in planner.finish_plan(planner.create_local_plan()).items:
        by_file.setdefault(file_of[item.storage_index], []).append(item)
    for file, items in by_file.items():
        _verify_file(index, file, path)
        try:
            with safe_open(_folder_of(index, path) / file, framework="pt") as opened, torch.no_grad():
                for item in items:
                    _read_item(opened, item, planner)
        except (OSError, SafetensorError, ValueError) as error:
            raise _damaged(index, file, path, reason_of(error)) from error
    return read


def _read_item(opened: Any, item: ReadItem, planner: LoadPlanner) -> None:
    """Copy a part of a tensor in a file to its place."""
    box = zip(item.storage_offsets, item.lengths, strict=True)
    value = opened.get_slice(item.storage_index.fqn)[tuple(slice(start, start + length) for start, length in box)]
    target = planner.resolve_tensor(item).detach()
    if value.shape != target.shape or value.dtype != target.dtype:
        raise ValueError(f"'{item.storage_index.fqn}' has another shape or type in it")
    planner.commit_tensor(item, target.copy_(value))


def verify_shards(checkpoint: Mapping[str, Any], path: Path) -> None:
    """Compare every file of shards of a checkpoint with its hash.

    Raises:
        DamagedCheckpointError: A file is missing or damaged, or the index does not fit.
    """
    if SHARDS in checkpoint:
        index = _checked_index(checkpoint, path)
        for file in index["files"]:
            _verify_file(index, file, path)


def remove_unused_shards(folder: Path) -> None:
    """Remove shards that no checkpoint file in `folder` names, as an interrupted write leaves them.

    Nothing is removed if a file cannot be opened. One run at a time may write checkpoints into a folder.
    """
    root = folder / SHARDS
    if not root.is_dir():
        return
    with contextlib.suppress(OSError):
        used = {_shards_of(path) for path in folder.iterdir() if path.is_file()}
        for entry in list(root.iterdir()):
            if entry.name not in used and _FOLDER_NAME.fullmatch(entry.name):
                shutil.rmtree(entry)
        root.rmdir()


def _shards_of(path: Path) -> str:
    """Return the name of the folder of a checkpoint's shards; empty for any other file.

    Raises:
        OSError: The file cannot be opened.
    """
    with path.open("rb") as file:
        if file.read(4) != b"PK\x03\x04":
            return ""
    try:
        # With mmap, the tensors of a large file are not read.
        return str(torch.load(path, map_location="meta", weights_only=True, mmap=True)[SHARDS]["folder"])
    except OSError:
        raise
    except Exception:  # noqa: BLE001 -- a damaged checkpoint, or a file of another program
        return ""


def _checked_index(checkpoint: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """Return the index of a checkpoint, after a check that it can be that of `write_shards`."""
    index: dict[str, Any] = checkpoint[SHARDS]
    tensors: dict[str, Tensor] = {}
    map_tensors(checkpoint, lambda name, value: tensors.setdefault(name, value))
    num_bytes: Counter[str] = Counter()
    try:
        fits = _FOLDER_NAME.fullmatch(index["folder"]) is not None
        fits &= all(_FILE_NAME.fullmatch(name) and isinstance(digest, str) for name, digest in index["files"].items())
        fits &= all(tensors[name].is_meta == (name in index["chunks"]) for name in {*tensors, *index["chunks"]})
        for name, chunks in index["chunks"].items():
            tensor, num_elements = tensors[name], 0
            for file, offset, size in chunks:
                fits &= file in index["files"] and all(isinstance(number, int) for number in (*offset, *size))
                box = zip(offset, size, tensor.shape, strict=True)
                fits &= all(start >= 0 and 0 <= length <= total - start for start, length, total in box)
                num_elements += math.prod(size)
                num_bytes[file] += math.prod(size) * tensor.itemsize
            fits &= num_elements == tensor.numel()
    except (AttributeError, LookupError, TypeError, ValueError):
        fits = False
    if not fits:
        raise DamagedCheckpointError(
            f"checkpoint '{path}' is damaged: its entry '{SHARDS}' does not fit its tensors, which training does not "
            "write; resume from another copy of the run"
        )
    for file, expected in num_bytes.items():
        try:
            size = (_folder_of(index, path) / file).stat().st_size
        except OSError as error:
            raise _damaged(index, file, path, reason_of(error)) from error
        if size < expected:
            raise _damaged(index, file, path, "it was cut off")
    return index


def _verify_file(index: Mapping[str, Any], file: str, path: Path) -> None:
    try:
        with (_folder_of(index, path) / file).open("rb") as opened:
            digest = hashlib.file_digest(opened, "sha256").hexdigest()
    except OSError as error:
        raise _damaged(index, file, path, reason_of(error)) from error
    if digest != index["files"][file]:
        raise _damaged(index, file, path, "its bytes changed after it was written")


def _damaged(index: Mapping[str, Any], file: str, path: Path, reason: str) -> DamagedCheckpointError:
    shard = _folder_of(index, path) / file
    return DamagedCheckpointError(
        f"checkpoint '{path}' is damaged: its shard '{shard}' cannot be used ({reason}); resume from another copy of "
        "the run"
    )


def _folder_of(index: Mapping[str, Any], path: Path) -> Path:
    return path.parent / SHARDS / str(index["folder"])


def reason_of(error: BaseException) -> str:
    """Return the message of an error; of the operating system without the path, which the caller names."""
    return (error.strerror if isinstance(error, OSError) else None) or str(error) or type(error).__name__


def map_tensors(value: Any, function: Callable[[str, Tensor], Any], name: str = "") -> Any:
    """Return nested dicts, lists and tuples with each tensor replaced by ``function(name, tensor)``.

    The name is the path of the tensor, such as ``optimizer_states/0/state/3/exp_avg``.
    """
    if isinstance(value, Tensor):
        return function(name, value)
    if type(value) in (dict, OrderedDict, defaultdict):
        return {key: map_tensors(each, function, f"{name}/{key}" if name else str(key)) for key, each in value.items()}
    if type(value) in (list, tuple):
        return type(value)(map_tensors(each, function, f"{name}/{row}") for row, each in enumerate(value))
    return value
