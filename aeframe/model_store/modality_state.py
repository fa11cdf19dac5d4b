"""Write and read the fitted state of a modality, in the folder of a run or of a saved model.

A modality is a kind of data, such as images. Its state is what it learns from the training data, such as the scale of
each column.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from aeframe.data.modality import Modality
from aeframe.errors import AeframeError, did_you_mean
from aeframe.factory import build
from aeframe.model_store.files import write_text
from aeframe.model_store.tensors import read_tensors, write_tensors
from aeframe.plain_files import read_mapping


def write_modality_state(folder: Path, state: Mapping[str, Any]) -> None:
    """Write the state of a modality: tensors to ``modality.safetensors``, everything else to ``modality.json``."""
    tensors = {name: value for name, value in state.items() if isinstance(value, Tensor)}
    plain = {name: value for name, value in state.items() if name not in tensors}
    write_text(folder / "modality.json", json.dumps(plain, indent=2, ensure_ascii=False) + "\n")
    if tensors:
        write_tensors(folder / "modality.safetensors", tensors)


def read_modality_state(folder: Path) -> dict[str, Any] | None:
    """Return the state that `write_modality_state` wrote; None if there is none.

    Raises:
        AeframeError: A file is damaged.
    """
    path = folder / "modality.json"
    if not path.is_file():
        return None
    state = read_mapping(path)
    tensors = folder / "modality.safetensors"
    return {**state, **(read_tensors(tensors) if tensors.is_file() else {})}


def check_reading_options(who: str, modality: Modality, options: Mapping[str, Any]) -> None:
    """Raise an error unless all `options` are among those that may differ from training."""
    known = type(modality).reading_options
    for name in options:
        if name not in known:
            raise AeframeError(
                f"{who} reads files as in training, and '{name}' cannot differ{did_you_mean(name, known)}; "
                f"its modality's options that can: {', '.join(known) or 'none'}"
            )


def with_options(modality: Modality, config: Mapping[str, Any], options: Mapping[str, Any]) -> Modality:
    """Return a modality with the same state and other options.

    Args:
        modality: The modality.
        config: Its name and options.
        options: The options that differ.
    """
    other: Modality = build("modality", {**config, **options})
    other.load_state(modality.state())
    return other
