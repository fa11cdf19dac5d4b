"""Data: what a modality is, and how its samples come to the trainer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aeframe.data.memory import TensorSource
from aeframe.data.modality import Dataset, Modality, Source, Splits

if TYPE_CHECKING:
    from aeframe.data.datamodule import DataModule


def __getattr__(name: str) -> Any:
    """Import Lightning only where a trainer is used: opening a saved model needs none."""
    if name != "DataModule":
        raise AttributeError(f"module 'aeframe.data' has no attribute '{name}'")
    from aeframe.data.datamodule import DataModule

    return DataModule


__all__ = ["DataModule", "Dataset", "Modality", "Source", "Splits", "TensorSource"]
