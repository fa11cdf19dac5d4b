"""The metadata of an exported function: all that is needed to use it without the saved model."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from aeframe.model_store.layout import saved_parts
from aeframe.model_store.trained_model import TrainedModel
from aeframe.version import __version__

FORMAT = 1
"""The version of the metadata; increased when a key changes its meaning."""
KEY = "aeframe"
"""The key of the metadata in an ONNX file, whose value is JSON."""
FILE = "metadata.json"
"""The name of the metadata inside of a torch-export file, and beside the files of all functions."""
_QUANTILES = (0.9, 0.95, 0.99, 0.999)


def model_metadata(model: TrainedModel) -> dict[str, Any]:
    """Return what all functions of a model have in common, in values that JSON can represent.

    Paths of the user's machine are not among them.
    """
    config, spec = model.config, model.spec
    parts: dict[str, list[Any]] = {}
    for kind, part in saved_parts(config):
        parts.setdefault(kind, []).append(_plain(part))
    data = config.get("data")
    return {
        "format": FORMAT,
        "model": {
            "recipe": model.name,
            "parts": {kind: values[0] if len(values) == 1 else values for kind, values in parts.items()},
            "sha256": config.get("sha256", {}).get("model.safetensors"),
            "aeframe": config.get("aeframe"),
            "plugins": _plain(config.get("plugins", {})),
            "dataset": data.get("name") if isinstance(data, Mapping) else data,
        },
        "versions": {"aeframe": __version__, "torch": torch.__version__, "python": platform.python_version()},
        "sample": {**spec.to_dict(), "value_range": _plain(model.data.value_range)},
        "preprocessing": {"modality": _plain(config["modality"]), "state": _plain(model.modality.state())},
        "condition": None if model.data.condition is None else _plain(model.data.condition.state()),
        "label_classes": int(config.get("label_classes", 0)),
        "label_names": None if model.label_names is None else list(model.label_names),
    }


def score_metadata(model: TrainedModel) -> dict[str, Any]:
    """Return kind and unit of the scores, and thresholds from the validation split, by quantile."""
    scale = model.scales.get("reconstruction")
    distribution: dict[str, Any] = {}
    if scale is not None:
        distribution = {
            "thresholds": {str(quantile): scale.validation.at(quantile) for quantile in _QUANTILES},
            "training_quantiles": scale.train.values.tolist(),
            "num_training_samples": scale.num[0],
            "num_validation_samples": scale.num[1],
        }
    return {
        "by": "reconstruction",
        "meaning": "loss of the reconstruction from the mean of z, divided by the number of observed elements; higher "
        "is more anomalous",
        "unit": model.model.loss.unit,
        **distribution,
    }


def describe_tensors(tensors: Mapping[str, Tensor], dynamic: Mapping[str, Sequence[str | int]]) -> dict[str, Any]:
    """Return shape and dtype of tensors by name, with the names of the sizes that may vary."""
    return {
        name: {"shape": list(dynamic.get(name, value.shape)), "dtype": str(value.dtype).removeprefix("torch.")}
        for name, value in tensors.items()
    }


def _plain(value: Any) -> Any:
    """Return a value with tensors as lists, and tuples as lists."""
    if isinstance(value, Tensor):
        return value.tolist()
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, (list, tuple)) else value
