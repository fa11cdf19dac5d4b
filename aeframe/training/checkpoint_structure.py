"""Check that a checkpoint has the structure that training writes: it may be damaged, or come from a stranger."""

from __future__ import annotations

import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from torch import Tensor

from aeframe.errors import AeframeError, reason_and_place

_AEFRAME: Mapping[str, tuple[type, ...]] = {
    "progress": (dict,),
    "batches_per_epoch": (int,),
    "seed": (int,),
    "groups": (dict,),
    "buffered": (dict,),
    "term_gradient_norms": (dict,),
}
"""What `AutoencoderModule` adds to a checkpoint, with types."""
_RESTORING = ("checkpoint_connector.py", "restore_groups")
"""The file of Lightning, and the function of `AutoencoderModule`, that restore the state of a run."""


def structure_fault(checkpoint: Mapping[str, Any]) -> str:
    """Return what is wrong with the structure of a checkpoint, ``"'aeframe.seed' is 'x'"``; empty if nothing is."""
    weights, stored = checkpoint["state_dict"], checkpoint["aeframe"]
    if not isinstance(weights, dict) or not all(isinstance(value, Tensor) for value in weights.values()):
        return "'state_dict' is no mapping of tensors"
    if not isinstance(stored, dict):
        return f"'aeframe' is {_shown(stored)}"
    for key, expected in _AEFRAME.items():
        if key in stored and not isinstance(stored[key], expected):
            return f"'aeframe.{key}' is {_shown(stored[key])}"
    progress = stored.get("progress", {})
    if "batch" not in progress:
        return "'aeframe.progress.batch' is missing"
    for key, count in progress.items():
        if not isinstance(count, int) or not 0 <= count < 1 << 62:
            return f"'aeframe.progress.{key}' is {_shown(count)}"
    for key in ("callbacks", "hyper_parameters", "loops"):
        if not isinstance(checkpoint.get(key, {}), dict):
            return f"'{key}' is {_shown(checkpoint[key])}"
    for name, state in checkpoint.get("callbacks", {}).items():
        if not isinstance(state, dict):
            return f"'callbacks.{name}' is {_shown(state)}"
    states = checkpoint.get("optimizer_states", [])
    if not isinstance(states, list):
        return f"'optimizer_states' is {_shown(states)}"
    for number, state in enumerate(states):
        if fault := _optimizer_fault(state):
            return f"'optimizer_states.{number}' has {fault}"
    return ""


def _optimizer_fault(state: Any) -> str:
    """Return what is wrong with the state of an optimizer: every parameter has the same names of the same types."""
    groups = state.get("param_groups") if isinstance(state, dict) else None
    if not isinstance(groups, list) or not all(
        isinstance(group, dict)
        and isinstance(group.get("params"), list)
        and all(isinstance(number, int) for number in group["params"])
        for group in groups
    ):
        return "no groups of parameters"
    by_parameter = state.get("state")
    if not isinstance(by_parameter, dict) or not all(isinstance(each, dict) for each in by_parameter.values()):
        return "no state of each parameter"
    forms = [{name: type(value) for name, value in each.items()} for each in by_parameter.values()]
    if any(form != forms[0] for form in forms):
        return "another state for one parameter than for the others"
    return ""


@contextmanager
def restored_from(path: Path | None) -> Iterator[None]:
    """Raise an `AeframeError` for an error inside that is raised while a checkpoint is restored.

    Raises:
        AeframeError: The checkpoint `path` holds values of another type than its model or the Trainer expect.
    """
    try:
        yield
    except (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError) as error:
        frames = traceback.extract_tb(error.__traceback__)
        places = {name for frame in frames for name in (Path(frame.filename).name, frame.name)}
        if path is None or places.isdisjoint(_RESTORING):
            raise
        raise AeframeError(
            f"checkpoint '{path}' holds values that training cannot continue from ({reason_and_place(error)}); resume "
            "from another copy of the run"
        ) from error


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:60]}..."
