"""Read and write tensors by name in safetensors files; a tensor with two names is stored once."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from aeframe.errors import AeframeError
from aeframe.safetensors_files import write_safetensors

_ALIASES = "aliases"


def write_tensors(path: Path, tensors: dict[str, Tensor]) -> None:
    """Write tensors by name; a tensor with several names is written once, and its other names as metadata."""
    unique: dict[str, Tensor] = {}
    first_name: dict[object, str] = {}
    aliases: dict[str, str] = {}
    for name, tensor in tensors.items():
        start = tensor.untyped_storage().data_ptr(), tensor.storage_offset()
        memory = (*start, tensor.shape, tensor.stride(), tensor.dtype)
        if tensor.numel() and memory in first_name:
            aliases[name] = first_name[memory]
            continue
        first_name[memory] = name
        # A copy, since the format rejects tensors that share memory.
        unique[name] = tensor.detach().cpu().contiguous().clone()
    write_safetensors(unique, path, metadata={_ALIASES: json.dumps(aliases)})


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Read tensors by name; a tensor with several names is returned under each of them.

    Raises:
        AeframeError: The file is missing or damaged.
    """
    if not path.is_file():
        raise AeframeError(f"there is no file '{path}', which a saved model has; copy the folder again")
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 -- `file` is not a mapping
            aliases = json.loads((file.metadata() or {}).get(_ALIASES, "{}"))
            aliased = {alias: tensors[name] for alias, name in aliases.items()}
    except (SafetensorError, OSError, ValueError, RecursionError) as error:
        raise AeframeError(f"'{path}' cannot be read as safetensors ({error}); copy the file again") from error
    except (AttributeError, KeyError, TypeError) as error:
        raise AeframeError(f"'{path}' has other names of tensors that it lacks; copy the file again") from error
    return {**tensors, **aliased}


def load_tensors(module: nn.Module, path: Path) -> None:
    """Load the tensors of a file into a module; names, shapes and dtypes must equal those of the module.

    Raises:
        AeframeError: A tensor is missing, unknown, of another shape or dtype, or a parameter is not finite.
    """
    stored, expected = read_tensors(path), module.state_dict()
    misfit = f"'{path}' does not fit the parts in config.yaml"
    for name, tensor in expected.items():
        if name not in stored:
            raise AeframeError(f"{misfit}: it lacks the tensor '{name}'; copy the whole folder again")
        if stored[name].shape != tensor.shape:
            raise AeframeError(
                f"{misfit}: tensor '{name}' has shape {tuple(stored[name].shape)}, expected {tuple(tensor.shape)}; "
                "copy the whole folder again"
            )
        if stored[name].dtype != tensor.dtype:
            raise AeframeError(
                f"{misfit}: tensor '{name}' is of {stored[name].dtype}, expected {tensor.dtype}; copy the whole folder "
                "again"
            )
    for name in stored:
        if name not in expected:
            raise AeframeError(f"{misfit}: it has an unknown tensor '{name}'; copy the whole folder again")
    for name, _ in module.named_parameters():
        if num := int((~torch.isfinite(stored[name])).sum()):
            raise AeframeError(
                f"'{path}' has a weight '{name}' of which {num} of {stored[name].numel()} values are NaN or infinite; "
                "copy the folder again, or train the model again with a lower optimizer.lr"
            )
    with torch.no_grad():
        module.load_state_dict(stored)
