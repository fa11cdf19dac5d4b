"""`load`: open a saved model."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from aeframe.data.modality import Modality
from aeframe.devices import check_device
from aeframe.errors import AeframeError, did_you_mean
from aeframe.factory import build, restored_weights
from aeframe.kinds import SAVED
from aeframe.model.assembly import assemble
from aeframe.model_store.data_record import read_data_record
from aeframe.model_store.files import existing_folder, read_yaml
from aeframe.model_store.layout import FORMAT, resolved, sibling, stored_modules
from aeframe.model_store.modality_state import read_modality_state
from aeframe.model_store.requirements import check_plugins
from aeframe.model_store.tensors import load_tensors
from aeframe.model_store.trained_model import TrainedModel
from aeframe.noise import noise_of
from aeframe.parts.own import OWN, OWN_KINDS
from aeframe.parts.samplers.base import Sampler
from aeframe.types import DataSpec, TrainingProgress
from aeframe.version import __version__

# The keys that every saved config has. Parts with a default, and those by label (penalties, critics), may be absent.
_REQUIRED = ("format", "model", "spec", *(kind.key for kind in SAVED if not (kind.labelled or kind.default)))
_MANY_BATCHES = 1 << 40
"""A number of batches at which all schedules are at their end, for a saved model without a stored progress."""


def load(path: str | Path, device: str = "cpu", **modules: Any) -> TrainedModel:
    """Open a saved model; no code from its folder is run.

    ```python
    model = aeframe.load("runs/vae")
    z = model.encode(x)
    ```

    Args:
        path: The folder of a run, or of a saved model.
        device: The device of the model: ``cpu``, ``cuda``, ``cuda:1``.
        modules: For a model that was trained with modules of its author's own (``encoder``, ``decoder``) or with an own
            function as ``loss``: such modules, whose weights are replaced by the saved ones.

    Raises:
        AeframeError: The folder has no model, a plugin is missing, the format is newer, a part is unknown, the tensors
            do not fit the parts, or the device cannot be used.
    """
    check_device(device, "device=")
    for kind in modules:
        if kind not in OWN_KINDS:
            raise AeframeError(f"load has no argument '{kind}'{did_you_mean(kind, OWN_KINDS)}; leave it out")
    folder = _model_folder(Path(path))
    config = read_yaml(folder / "config.yaml")
    _check_config(folder, config)
    for kind in modules:
        if config[kind]["name"] != OWN:
            raise AeframeError(
                f"model '{folder}' has the {kind} '{config[kind]['name']}', which needs no code; leave {kind}= out"
            )
    spec = DataSpec.from_dict(config["spec"])
    try:
        # Building draws initial weights; `noise_of` restores the state of torch's generator.
        with noise_of(torch.device("cpu"), 0), restored_weights():
            model = assemble(config, spec, modules=modules)
            sampler: Sampler = build("sampler", config["sampler"], model=model)
        modality: Modality = build("modality", config["modality"])
    except AeframeError as error:
        raise AeframeError(f"model '{folder}': {error}") from error
    load_tensors(stored_modules(model, sampler), folder / "model.safetensors")
    modality_state = read_modality_state(folder)
    if modality_state is None:
        raise AeframeError(
            f"there is no file '{folder / 'modality.json'}', which a saved model has; copy the folder again"
        )
    modality.load_state(modality_state)
    stored_progress = config.get("progress", {"batch": _MANY_BATCHES, "planned": _MANY_BATCHES})
    return TrainedModel(
        model=model.eval().to(device),
        modality=modality,
        sampler=sampler.eval().to(device),
        config=config,
        spec=spec,
        progress=TrainingProgress(**stored_progress),
        device=torch.device(device),
        data=read_data_record(folder),
    )


def own_kinds(path: str | Path) -> set[str]:
    """Return the kinds of part for which `load` needs a module of the model's author, such as ``{"encoder"}``.

    Raises:
        AeframeError: The folder has no model.
    """
    folder = _model_folder(Path(path))
    config = read_yaml(folder / "config.yaml")
    _check_config(folder, config)
    return {kind for kind in OWN_KINDS if config[kind]["name"] == OWN}


def _model_folder(path: Path) -> Path:
    """Return the folder of the saved model: ``model`` below the folder of a run, or `path` itself."""
    path = resolved(path)
    for folder in (path / "model", path):
        # If saving was interrupted between its two renames, only the previous model is there.
        for candidate in (folder, sibling(folder, "previous")):
            if (candidate / "model.safetensors").is_file():
                return candidate
    folder = existing_folder(path)
    hint = "use the folder of a finished run"
    if any((folder / "checkpoints").glob("*.ckpt")):
        hint = f"save the model of its best checkpoint with aeframe finish {folder}"
    raise AeframeError(
        f"'{folder}' holds no saved model: there is no model.safetensors in it, nor in its folder 'model'; {hint}"
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
