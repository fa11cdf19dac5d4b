"""`save_model`: write a model as a folder of names, plain values and tensors, without code."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from aeframe.data.fingerprint import DataRecord
from aeframe.data.modality import Modality
from aeframe.data.sample_comparison import SampleComparison
from aeframe.evaluation.anomalies import ScoreScale
from aeframe.factory import signature
from aeframe.kinds import SAVED
from aeframe.model.autoencoder import Autoencoder
from aeframe.model_store.card import make_card
from aeframe.model_store.data_record import write_data_record
from aeframe.model_store.files import write_text, write_yaml
from aeframe.model_store.integrity import file_hashes
from aeframe.model_store.layout import FORMAT, put_in_place, resolved, sibling, stored_modules
from aeframe.model_store.modality_state import write_modality_state
from aeframe.model_store.requirements import needed_plugins
from aeframe.model_store.score_scales import write_score_scales
from aeframe.model_store.tensors import write_tensors
from aeframe.parts.losses.base import Loss
from aeframe.parts.samplers.base import Sampler
from aeframe.registry import registry
from aeframe.types import TrainingProgress
from aeframe.version import __version__

_STORED = (
    *(kind.key for kind in SAVED),
    "condition_encoder",
    "label_classes",
    "data",
    "metrics",
    "seed",
    "batch_size",
)
"""Keys of a run's config that are stored with a saved model, after those that `save_model` adds."""


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
    scales: Mapping[str, ScoreScale] | None = None,
    comparison: SampleComparison | None = None,
) -> None:
    """Write a model as a folder.

    Its files are ``config.yaml``, ``model.safetensors``, ``modality.json`` (and ``modality.safetensors`` where the
    modality has tensors), ``data.json`` and ``splits.safetensors`` (see `write_data_record`), ``scores.safetensors``
    (the distributions of anomaly scores) and ``card.md``. The config has the SHA-256 of the other files, see
    `aeframe.model_store.integrity`.

    The folder is written under another name and then renamed, so an interrupted save leaves the previous model.

    Args:
        folder: The folder of the model; an existing model is replaced.
        model: The model, on any device.
        modality: The modality, fitted to the data.
        config: The resolved config of the run, in plain values.
        sampler: The ex-post density, fitted if it requires a fit.
        metrics: Test metrics for the card.
        progress: The training progress; without it, schedules are at their end when the model is evaluated.
        data: Fingerprint and split of the training data, with which later commands detect changed data.
        scales: The distributions of anomaly scores in training, by kind of score.
        comparison: How new samples compare with test samples, for the card.
    """
    folder = resolved(folder)
    partial = sibling(folder, "partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    stored: dict[str, Any] = {
        "format": FORMAT,
        "aeframe": __version__,
        "model": dict(config.get("model") or {"name": "unnamed"}),
        "spec": model.spec.to_dict(),
        **{key: config[key] for key in _STORED if key in config},
        **_loss_in_use(config, model.loss),
        **({"hidden_options": list(config["hidden_options"])} if config.get("hidden_options") else {}),
        "plugins": needed_plugins(config),
    }
    if progress is not None:
        stored["progress"] = progress.state_dict()
    write_tensors(partial / "model.safetensors", stored_modules(model, sampler).state_dict())
    write_modality_state(partial, modality.state())
    if data is not None:
        write_data_record(partial, data)
    write_score_scales(partial, scales or {})
    stored["sha256"] = file_hashes(partial)
    write_yaml(partial / "config.yaml", stored)
    num_parameters = sum(parameter.numel() for parameter in model.parameters())
    write_text(partial / "card.md", make_card(stored, metrics, num_parameters, data, comparison))
    put_in_place(partial, folder)


def _loss_in_use(config: Mapping[str, Any], loss: Loss) -> dict[str, Any]:
    """Return the config of the loss with the values in use of options whose default depends on the data."""
    if "loss" not in config:
        return {}
    options = {"name": config["loss"]} if isinstance(config["loss"], str) else dict(config["loss"])
    known = signature(registry().load("loss", options["name"])).options
    return {"loss": options | {name: value for name, value in loss.options_in_use.items() if name in known}}
