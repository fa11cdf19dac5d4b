"""`write_safetensors`: a safetensors file with the permissions of other new files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from safetensors.torch import save_file
from torch import Tensor


def write_safetensors(tensors: dict[str, Tensor], path: Path, metadata: Mapping[str, str] | None = None) -> None:
    """Write tensors on the CPU, which share no memory, as a safetensors file.

    Args:
        tensors: The tensors by name, contiguous.
        path: The file.
        metadata: Strings by name, which the file has too.
    """
    path.touch()
    mode = path.stat().st_mode
    # safetensors replaces the file by one that only its owner can read: no colleague could open a model.
    save_file(tensors, path, metadata=None if metadata is None else dict(metadata))
    path.chmod(mode)
