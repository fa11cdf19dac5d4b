"""Data: modalities, datasets, sources, and the loaders of a run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aeframe.data.file_samples import FileSamples, OnError
from aeframe.data.memory import TensorSource
from aeframe.data.modality import Dataset, Modality, Source, Splits
from aeframe.data.sample_batches import SampleBatches
from aeframe.data.sample_comparison import SampleComparison

if TYPE_CHECKING:
    from aeframe.data.datamodule import DataModule


def __getattr__(name: str) -> Any:
    """Import `DataModule` on first use: loading a saved model should not import Lightning."""
    if name != "DataModule":
        raise AttributeError(f"module 'aeframe.data' has no attribute '{name}'")
    from aeframe.data.datamodule import DataModule

    return DataModule


__all__ = [
    "DataModule",
    "Dataset",
    "FileSamples",
    "Modality",
    "OnError",
    "SampleBatches",
    "SampleComparison",
    "Source",
    "Splits",
    "TensorSource",
]
