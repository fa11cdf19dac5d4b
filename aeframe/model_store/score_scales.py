"""Write and read the distributions of anomaly scores, in the folder of a saved model."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from aeframe.errors import AeframeError
from aeframe.evaluation.anomalies import ScoreScale
from aeframe.model_store.tensors import read_tensors, write_tensors

FILE = "scores.safetensors"


def write_score_scales(folder: Path, scales: Mapping[str, ScoreScale]) -> None:
    """Write distributions by kind of score; nothing without one."""
    if scales:
        tensors = {f"{kind}.{name}": value for kind, scale in scales.items() for name, value in scale.state().items()}
        write_tensors(folder / FILE, tensors)


def read_score_scales(folder: Path) -> dict[str, ScoreScale]:
    """Return what `write_score_scales` wrote; empty for a model without scores.

    Raises:
        AeframeError: The file is damaged.
    """
    path = folder / FILE
    if not path.is_file():
        return {}
    by_kind: dict[str, dict[str, Tensor]] = {}
    for key, value in read_tensors(path).items():
        kind, _, name = key.partition(".")
        by_kind.setdefault(kind, {})[name] = value
    for state in by_kind.values():
        sizes = {name: value.numel() for name, value in state.items() if value.ndim == 1}
        if sizes.keys() != {"train", "validation", "num"} or sizes["num"] != 2 or not all(sizes.values()):
            raise AeframeError(f"'{path}' does not hold distributions of scores; copy the folder again")
    return {kind: ScoreScale.from_state(state) for kind, state in by_kind.items()}
