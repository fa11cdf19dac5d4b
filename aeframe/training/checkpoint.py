"""Write checkpoint files atomically with a hash at the end, and verify the hash when they are read."""

from __future__ import annotations

import contextlib
import hashlib
import os
import pickle  # noqa: TID251 -- only the name of its error is used
import shutil
import struct
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins.io.torch_io import TorchCheckpointIO
from torch import Tensor

from aeframe.errors import AeframeError
from aeframe.training.checkpoint_files import LAST, PREVIOUS, SHARDS
from aeframe.training.checkpoint_hash import DamagedCheckpointError, sha256_of, sync_folder
from aeframe.training.checkpoint_structure import structure_fault
from aeframe.training.shard_reader import read_shards, remove_unused_shards, verify_shards

_READ_ERRORS = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    EOFError,
    LookupError,
    OSError,
    RuntimeError,
    TypeError,
    ValueError,
    struct.error,
)
"""What `torch.load` raises for bytes that are no archive."""
_MARK = b"aeframe-sha256:"
_TRAILER_SIZE = len(_MARK) + 64
"""Bytes after torch's archive: the mark, and the SHA-256 of the archive in hexadecimal."""


class DurableCheckpointIO(TorchCheckpointIO):
    """Write each checkpoint to a temporary file with its SHA-256 at the end, flush it to the disk, and rename it.

    An interrupted write, a full disk or a power cut leaves the previous checkpoint. The file is torch's own format:
    `torch.load` reads it and ignores the 79 bytes after the archive. Shards that no checkpoint of the folder needs any
    more are removed.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any | None = None) -> None:
        """Write a checkpoint.

        Raises:
            AeframeError: The disk is full, or the folder is missing or read-only.
        """
        path = Path(path)
        partial = partial_of(path)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with partial.open("wb") as file:
                hashing = _HashingFile(file)
                try:
                    torch.save(checkpoint, hashing)  # type: ignore[arg-type]
                except RuntimeError:
                    # torch raises an error of its archive writer instead of the error of the file.
                    if hashing.error is not None:
                        raise hashing.error from None
                    raise
                file.write(_MARK + hashing.digest.hexdigest().encode())
                file.flush()
                os.fsync(file.fileno())
            publish(partial, path)
        except OSError as error:
            with contextlib.suppress(OSError):
                partial.unlink(missing_ok=True)
            raise AeframeError(
                f"checkpoint '{path}' cannot be written: {error.strerror or error}; the previous one is kept, free "
                f"disk space or restore the permissions of the folder, then resume={path.parent.parent}"
            ) from error

    def load_checkpoint(
        self,
        path: Any,
        map_location: Any = None,
        weights_only: bool | None = None,
        allocate: Callable[[Tensor], Tensor] | None = None,
    ) -> dict[str, Any]:
        """Verify the hash of a checkpoint, and read it.

        Args:
            path: The file.
            map_location: See `torch.load`; not used for sharded tensors.
            weights_only: Ignored: only tensors and plain values are read.
            allocate: See `read_shards`; by default sharded tensors are read as whole ones, on the CPU.
        """
        verify(Path(path))
        checkpoint = torch.load(path, map_location=map_location or "cpu", weights_only=True)
        return read_shards(checkpoint, Path(path), allocate or _on_device("cpu"))

    def remove_checkpoint(self, path: Any) -> None:
        """Remove a checkpoint, and its shards if no other one of the folder has them."""
        super().remove_checkpoint(path)
        remove_unused_shards(Path(path).parent)


class _HashingFile:
    """A binary file that hashes the bytes written to it, and stores its first error."""

    def __init__(self, file: Any) -> None:
        self._file = file
        self.digest = hashlib.sha256()
        self.error: OSError | None = None

    def write(self, data: Any) -> int:
        try:
            self._file.write(data)
        except OSError as error:
            self.error = self.error or error
            raise
        self.digest.update(data)
        return len(memoryview(data).cast("B"))

    def flush(self) -> None:
        self._file.flush()


def partial_of(path: Path) -> Path:
    """Return the temporary file, in the same folder, that is renamed to `path` when complete."""
    return path.with_name(f".{path.name}.partial")


def publish(partial: Path, path: Path) -> None:
    """Rename a complete file to `path`; an existing ``last.ckpt`` is renamed to ``last.previous.ckpt`` first."""
    if path.name == LAST and path.exists():
        os.replace(path, path.with_name(PREVIOUS))
    os.replace(partial, path)
    sync_folder(path.parent)
    remove_unused_shards(path.parent)


def publish_copy(source: Path, path: Path) -> None:
    """Write the checkpoint `source` to `path` too: as a hard link or, if the file system has none, a copy."""
    partial = partial_of(path)
    try:
        partial.unlink(missing_ok=True)
        try:
            os.link(source, partial)
        except OSError:
            shutil.copyfile(source, partial)
        publish(partial, path)
    except OSError as error:
        raise AeframeError(
            f"checkpoint '{path}' cannot be written: {error.strerror or error}; free disk space or restore the "
            f"permissions of the folder, then resume={path.parent.parent}"
        ) from error


def verify(path: Path) -> None:
    """Compare a checkpoint with the hash at its end.

    Raises:
        DamagedCheckpointError: The hash differs or is missing.
    """
    try:
        with path.open("rb") as file:
            digest = sha256_of(file, path.stat().st_size - _TRAILER_SIZE)
            trailer = file.read()
    except OSError as error:
        raise DamagedCheckpointError(f"checkpoint '{path}' cannot be read: {error.strerror or error}") from error
    if trailer != _MARK + digest.encode():
        reason = "its bytes changed after it was written" if trailer.startswith(_MARK) else "it was cut off"
        raise DamagedCheckpointError(
            f"checkpoint '{path}' is damaged: {reason}, or another program wrote it; resume from another copy of the "
            "run"
        )


def read_checkpoint(
    path: Path, device: torch.device | None = None, *, entries: Collection[str] | None = None
) -> dict[str, Any]:
    """Read a checkpoint of an `AutoencoderModule`, which has tensors and plain values only.

    Args:
        path: The file.
        device: The device of the tensors; the CPU by default.
        entries: The entries whose sharded tensors are read, such as ``("state_dict",)``; others are on the meta device,
            and with ``()`` the shards are only verified. None for all.

    Raises:
        DamagedCheckpointError: The file or one of its shards is truncated, changed or missing.
        AeframeError: The checkpoint is of another module.
    """
    verify(path)
    try:
        checkpoint = torch.load(path, map_location=device or "cpu", weights_only=True)
    except (*_READ_ERRORS, pickle.UnpicklingError) as error:
        raise DamagedCheckpointError(
            f"checkpoint '{path}' cannot be read ({type(error).__name__}); resume from another copy of the run"
        ) from error
    if not isinstance(checkpoint, dict) or "aeframe" not in checkpoint or "state_dict" not in checkpoint:
        raise AeframeError(
            f"checkpoint '{path}' is of another module: it holds no training progress of aeframe; resume from the "
            "folder of a run"
        )
    if fault := structure_fault(checkpoint):
        raise DamagedCheckpointError(
            f"checkpoint '{path}' is damaged: {fault}, which training does not write; resume from another copy of the "
            "run"
        )
    if entries is not None and not entries:
        verify_shards(checkpoint, path)
        return checkpoint
    return read_shards(checkpoint, path, _on_device(device or "cpu"), entries)


def training_state(checkpoint: Mapping[str, Any]) -> dict[str, Any]:
    """Return what `AutoencoderModule` adds to a checkpoint.

    Raises:
        AeframeError: A checkpoint of another module, or a sharded one that a Trainer read without its shards.
    """
    if "aeframe" not in checkpoint:
        raise AeframeError(
            "this checkpoint is of another module: it holds no training progress of aeframe; resume from the folder "
            "of a run"
        )
    if SHARDS in checkpoint:
        raise AeframeError(
            "this checkpoint is sharded, and the Trainer has not read its shards; pass "
            "plugins=[aeframe.training.checkpoint.DurableCheckpointIO()] to the Trainer"
        )
    state: dict[str, Any] = checkpoint["aeframe"]
    return state


def _on_device(device: torch.device | str) -> Callable[[Tensor], Tensor]:
    return lambda value: torch.empty_like(value, device=device)


def check_fits(model_state: Mapping[str, Tensor], checkpoint_state: Mapping[str, Tensor]) -> None:
    """Check that a checkpoint has the tensors of a model: the same names and shapes.

    Args:
        model_state: The state dict of the model that the run's config describes.
        checkpoint_state: The state dict in the checkpoint.

    Raises:
        AeframeError: A tensor is missing or unknown, or has another shape.
    """
    for name in [*model_state, *(name for name in checkpoint_state if name not in model_state)]:
        expected, found = _shape(model_state, name), _shape(checkpoint_state, name)
        if expected != found:
            raise AeframeError(
                f"this checkpoint is of another model: '{name.removeprefix('model.')}' is {found} in it and {expected} "
                "in the model of this run's config; resume the run that it belongs to"
            )


def _shape(state: Mapping[str, Tensor], name: str) -> str:
    return str(tuple(state[name].shape)) if name in state else "missing"
