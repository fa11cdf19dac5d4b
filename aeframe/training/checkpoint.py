"""Reading a checkpoint: whether it is one, and of this model."""

from __future__ import annotations

import pickle  # noqa: TID251 -- only to name the error of a file that is not what it should be
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from aeframe.errors import AeframeError


def read_checkpoint(path: Path, device: torch.device | None = None) -> dict[str, Any]:
    """Return what `AutoencoderModule` saved; nothing but tensors and plain values is read.

    Raises:
        AeframeError: A file that is cut off, or was written by something else.
    """
    try:
        found = torch.load(path, map_location=device or "cpu", weights_only=True)
    except (RuntimeError, EOFError, ValueError, OSError, pickle.UnpicklingError) as error:
        raise AeframeError(
            f"'{path}' cannot be read as a checkpoint ({type(error).__name__}); it was cut off or is something else, "
            "resume from another copy of the run"
        ) from error
    if not isinstance(found, dict) or "aeframe" not in found or "state_dict" not in found:
        raise AeframeError(f"'{path}' was not written by aeframe: it has no clock; resume from a run's folder")
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
    return str(tuple(state[name].shape)) if name in state else "not there"
