"""What a saved model's folder holds, how it is written, and how it is opened."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from aeframe.data.fingerprint import DataRecord
from aeframe.data.modality import Modality
from aeframe.errors import AeframeError
from aeframe.factory import build, restored_weights
from aeframe.kinds import SAVED
from aeframe.model.assembly import assemble
from aeframe.model.autoencoder import Autoencoder
from aeframe.model_store.card import write_card
from aeframe.model_store.data_record import read_data_record, write_data_record
from aeframe.model_store.files import existing_folder, read_yaml, write_text, write_yaml
from aeframe.model_store.requirements import check_plugins, needed_plugins
from aeframe.model_store.tensors import load_tensors, read_tensors, write_tensors
from aeframe.noise import noise_of
from aeframe.parts.samplers.base import Sampler
from aeframe.types import DataSpec, TrainingProgress
from aeframe.version import __version__

FORMAT = 1
"""Raised when an older aeframe could not open what this one writes."""

_STORED = (
    *(kind.key for kind in SAVED),
    "condition_encoder",
    "label_classes",
    "data",
    "metrics",
    "seed",
    "batch_size",
)
"""Keys of a run's config that a saved model stores."""
_REQUIRED = ("format", "model", "spec", *(kind.key for kind in SAVED if not kind.labelled))
# Schedules of a run whose length is not recorded are taken at their end.
_END = 1 << 40


@dataclass(frozen=True, slots=True)
class OpenedModel:
    """What a folder gives back."""

    model: Autoencoder
    modality: Modality
    sampler: Sampler
    config: dict[str, Any]
    spec: DataSpec
    progress: TrainingProgress
    data: DataRecord = field(default_factory=DataRecord)
    """What was stored of the data of the training; empty for a model that was saved without."""


def save_model(
    folder: Path,
    model: Autoencoder,
    modality: Modality,
    config: Mapping[str, Any],
    sampler: Sampler,
    *,
    metrics: Mapping[str, float],
    progress: TrainingProgress | None = None,
    data: DataRecord | None = None,
) -> None:
    """Write a model as a folder of ``config.yaml``, ``model.safetensors``, ``modality.json`` (and ``.safetensors``
    where the modality has tensors), ``data.json`` and ``splits.safetensors`` (see `write_data_record`) and ``card.md``.

    The folder is written beside its place and then moved there, so an interrupted save leaves the model before it.

    Args:
        folder: The model's own folder; a model that stands there is replaced.
        model: With the weights to keep, on any device.
        modality: Prepared, so that what it learned is kept.
        config: The run's resolved config, in plain values.
        sampler: Fitted, where it must be.
        metrics: Test metrics for the card.
        progress: Where the run stands; without it, schedules are taken at their end when the model is evaluated.
        data: Fingerprint and split of the training data, by which later commands detect that they changed.
    """
    folder = _resolved(folder)
    partial, previous = _beside(folder, "partial"), _beside(folder, "previous")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    kept: dict[str, Any] = {
        "format": FORMAT,
        "aeframe": __version__,
        "model": dict(config.get("model") or {"name": "unnamed"}),
        "spec": model.spec.plain(),
        **{key: config[key] for key in _STORED if key in config},
        "plugins": needed_plugins(config),
    }
    if progress is not None:
        kept["progress"] = progress.state_dict()
    write_yaml(partial / "config.yaml", kept)
    write_tensors(partial / "model.safetensors", _whole(model, sampler).state_dict())
    write_modality_state(partial, modality.state())
    if data is not None:
        write_data_record(partial, data)
    num_parameters = sum(parameter.numel() for parameter in model.parameters())
    write_text(partial / "card.md", write_card(kept, metrics, num_parameters))
    if folder.exists():
        shutil.rmtree(previous, ignore_errors=True)
        folder.rename(previous)
    partial.rename(folder)
    shutil.rmtree(previous, ignore_errors=True)


def open_model(path: Path) -> OpenedModel:
    """Read the folder of a model, or that of its run; everything is built on the CPU, in evaluation.

    Raises:
        AeframeError: Anything that keeps it from being this model.
    """
    folder = _find(path)
    config = read_yaml(folder / "config.yaml")
    _check_config(folder, config)
    spec = DataSpec.of_plain(config["spec"])
    try:
        # Building draws weights that are then overwritten: the caller's noise stays where it was.
        with noise_of(torch.device("cpu"), 0), restored_weights():
            model = assemble(config, spec)
            sampler: Sampler = build("sampler", config["sampler"], model=model)
        modality: Modality = build("modality", config["modality"])
    except AeframeError as error:
        raise AeframeError(f"model '{folder}': {error}") from error
    load_tensors(_whole(model, sampler), folder / "model.safetensors")
    learned = read_modality_state(folder)
    if learned is None:
        raise AeframeError(
            f"there is no file '{folder / 'modality.json'}', which a saved model has; copy the folder again"
        )
    modality.load_state(learned)
    progress = TrainingProgress(batch=_END, planned=_END)
    if "progress" in config:
        progress.load_state_dict(config["progress"])
        progress.planned, progress.rows = config["progress"]["planned"], config["progress"].get("rows", 0)
    return OpenedModel(model.eval(), modality, sampler.eval(), config, spec, progress, read_data_record(folder))


def _whole(model: Autoencoder, sampler: Sampler) -> nn.ModuleDict:
    return nn.ModuleDict({"model": model, "sampler": sampler})


def _beside(folder: Path, what: str) -> Path:
    return folder.parent / f".{folder.name}.{what}"


def _resolved(path: Path) -> Path:
    """Return the absolute path, without links, and with the home folder in place of ``~``."""
    return Path(os.path.realpath(path.expanduser()))


def _find(path: Path) -> Path:
    """Return the model's own folder, below a run's or at `path` itself."""
    place = _resolved(path)
    for folder in (place / "model", place):
        # A save that was cut off between its two moves left the model before it here.
        for candidate in (folder, _beside(folder, "previous")):
            if (candidate / "model.safetensors").is_file():
                return candidate
    folder = existing_folder(place)
    raise AeframeError(
        f"'{folder}' holds no saved model: there is no model.safetensors in it, nor in its folder 'model'; "
        "give the folder of a finished run"
    )


def _check_config(folder: Path, config: Mapping[str, Any]) -> None:
    for key in _REQUIRED:
        if key not in config:
            raise AeframeError(
                f"'{folder / 'config.yaml'}' is not that of a saved model: it has no '{key}'; copy the folder again"
            )
    if config["format"] > FORMAT:
        raise AeframeError(
            f"model '{folder}' has format {config['format']}, aeframe {__version__} reads up to format {FORMAT}; "
            f"install aeframe {config.get('aeframe', 'of a later version')}"
        )
    check_plugins(folder, config.get("plugins") or {})


def write_modality_state(folder: Path, state: Mapping[str, Any]) -> None:
    """Write what a modality learned: tensors as tensors, and the rest as JSON."""
    tensors = {name: value for name, value in state.items() if isinstance(value, Tensor)}
    plain = {name: value for name, value in state.items() if name not in tensors}
    write_text(folder / "modality.json", json.dumps(plain, indent=2, ensure_ascii=False) + "\n")
    if tensors:
        write_tensors(folder / "modality.safetensors", tensors)


def read_modality_state(folder: Path) -> dict[str, Any] | None:
    """Return what `write_modality_state` wrote; None where it wrote nothing.

    Raises:
        AeframeError: A file that is damaged.
    """
    path = folder / "modality.json"
    if not path.is_file():
        return None
    try:
        state: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise AeframeError(f"'{path}' cannot be read as JSON ({error}); copy the file again") from error
    tensors = folder / "modality.safetensors"
    return {**state, **(read_tensors(tensors) if tensors.is_file() else {})}
