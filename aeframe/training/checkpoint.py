"""Checkpoint files: written whole or not at all, checked when they are read."""

from __future__ import annotations

import contextlib
import hashlib
import os
import pickle  # noqa: TID251 -- only to name the error of a file that is not what it should be
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins.io.torch_io import TorchCheckpointIO
from torch import Tensor

from aeframe.errors import AeframeError

_MARK = b"aeframe-sha256:"
_TRAILER = len(_MARK) + 64
"""Bytes after the archive: the mark, and the SHA-256 of everything before it in hexadecimal."""


class DamagedCheckpointError(AeframeError):
    """A checkpoint was cut off, or its bytes changed."""


class DurableCheckpointIO(TorchCheckpointIO):
    """Write checkpoints beside their place, flush them to the disk, and rename them; end each with its SHA-256.

    An interrupted write, a full disk or a power cut leaves the previous checkpoint. The file is torch's own format:
    `torch.load` reads it and ignores the 79 bytes behind the archive.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any | None = None) -> None:
        """Write one.

        Raises:
            AeframeError: The disk is full, the folder is gone or may not be written to.
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
                    # torch turns an error of the file into one of its archive writer.
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
                f"checkpoint '{path}' cannot be written: {error.strerror or error}; the one before it is kept, make "
                f"room or give the folder back its permissions, then resume={path.parent.parent}"
            ) from error

    def load_checkpoint(self, path: Any, map_location: Any = None, weights_only: bool | None = None) -> dict[str, Any]:
        """Read one, after its hash was compared."""
        verify(Path(path))
        return torch.load(path, map_location=map_location or "cpu", weights_only=True)


class _HashingFile:
    """A binary file that hashes what is written to it, and keeps its first error."""

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
    """Return the file beside `path` that is written first."""
    return path.with_name(f".{path.name}.partial")


def previous_of(path: Path) -> Path:
    """Return where the checkpoint before the newest is kept."""
    return path.with_name(f"{path.stem}.previous{path.suffix}")


def publish(partial: Path, path: Path) -> None:
    """Rename a whole file to `path`; ``last.ckpt`` is kept as the previous one first."""
    if path.name == "last.ckpt" and path.exists():
        os.replace(path, previous_of(path))
    os.replace(partial, path)
    _sync_folder(path.parent)


def publish_copy(source: Path, path: Path) -> None:
    """Let `path` be the same checkpoint as `source`: a hard link where the file system has them, else a copy."""
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
            f"checkpoint '{path}' cannot be written: {error.strerror or error}; make room or give the folder back its "
            f"permissions, then resume={path.parent.parent}"
        ) from error


def verify(path: Path) -> None:
    """Compare a checkpoint with the hash at its end.

    Raises:
        DamagedCheckpointError: It differs, or there is none.
    """
    try:
        size = path.stat().st_size
        digest = hashlib.sha256()
        with path.open("rb") as file:
            left = size - _TRAILER
            while left > 0 and (chunk := file.read(min(left, 1 << 20))):
                digest.update(chunk)
                left -= len(chunk)
            trailer = file.read()
    except OSError as error:
        raise DamagedCheckpointError(f"checkpoint '{path}' cannot be read: {error.strerror or error}") from error
    if trailer != _MARK + digest.hexdigest().encode():
        what = "its bytes changed after it was written" if trailer.startswith(_MARK) else "it was cut off"
        raise DamagedCheckpointError(
            f"checkpoint '{path}' is damaged: {what}, or another program wrote it; resume from another copy of the run"
        )


def read_checkpoint(path: Path, device: torch.device | None = None) -> dict[str, Any]:
    """Return what `AutoencoderModule` saved; nothing but tensors and plain values is read.

    Raises:
        DamagedCheckpointError: A file that is cut off or changed.
        AeframeError: A file that another program wrote.
    """
    verify(path)
    try:
        found = torch.load(path, map_location=device or "cpu", weights_only=True)
    except (RuntimeError, EOFError, ValueError, OSError, pickle.UnpicklingError) as error:
        raise DamagedCheckpointError(
            f"checkpoint '{path}' cannot be read ({type(error).__name__}); resume from another copy of the run"
        ) from error
    if not isinstance(found, dict) or "aeframe" not in found or "state_dict" not in found:
        raise AeframeError(
            f"checkpoint '{path}' is of another module: it holds no training progress of aeframe; resume from the "
            "folder of a run"
        )
    return found


def check_fits(own: Mapping[str, Tensor], found: Mapping[str, Tensor]) -> None:
    """Compare the tensors of a checkpoint with those of the model that its run's config describes.

    Args:
        own: The model's state by name.
        found: The checkpoint's.

    Raises:
        AeframeError: The first tensor that is missing, too many or of another shape.
    """
    for name in [*own, *(name for name in found if name not in own)]:
        here, there = _shape(own, name), _shape(found, name)
        if here != there:
            raise AeframeError(
                f"this checkpoint is of another model: '{name.removeprefix('model.')}' is {there} in it and {here} in "
                "the model of this run's config; resume the run that it belongs to"
            )


def _shape(state: Mapping[str, Tensor], name: str) -> str:
    return str(tuple(state[name].shape)) if name in state else "missing"


def _sync_folder(folder: Path) -> None:
    """Flush a rename to the disk, where the system can."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
