"""`load`: open a saved model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from aeframe.data.modality import Modality
from aeframe.devices import check_device
from aeframe.entrances import user_errors
from aeframe.errors import AeframeError, did_you_mean, reason_and_place
from aeframe.factory import build, restored_weights
from aeframe.kinds import KINDS
from aeframe.model.assembly import assemble, with_identity
from aeframe.model_store.allocation import AllocationLimit
from aeframe.model_store.data_record import read_data_record
from aeframe.model_store.files import existing_folder
from aeframe.model_store.integrity import check_hashes
from aeframe.model_store.layout import FORMAT, resolved, sibling, stored_modules
from aeframe.model_store.locations import local_folder
from aeframe.model_store.modality_state import read_modality_state
from aeframe.model_store.requirements import check_plugins
from aeframe.model_store.schema import check_saved_config
from aeframe.model_store.score_scales import read_score_scales
from aeframe.model_store.tensors import load_tensors
from aeframe.model_store.trained_model import TrainedModel
from aeframe.noise import noise_of
from aeframe.parts.own import OWN, OWN_KINDS
from aeframe.parts.samplers.base import Sampler
from aeframe.plain_files import read_mapping
from aeframe.types import DataSpec, TrainingProgress
from aeframe.version import __version__

_MANY_BATCHES = 1 << 40
"""A number of batches at which all schedules are at their end, for a saved model without a stored progress."""


@user_errors()
def load(path: str | Path, device: str = "cpu", **modules: Any) -> TrainedModel:
    """Open a saved model; no code from its folder is run.

    ```python
    model = aeframe.load("runs/vae")
    z = model.encode(x)
    ```

    Args:
        path: The folder of a run, or of a saved model; its ``file://`` URL; or ``hub:owner/name`` or
            ``hub:owner/name@revision``, a repository of the hub, of which only the files of a model are fetched. That
            requires ``aeframe[hub]``. Or ``zoo:NAME``, a model of the zoo, the folder that ``AEFRAME_ZOO`` names.
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
    folder = model_folder(local_folder(path))
    config = read_config(folder)
    for kind in modules:
        if (name := _part_name(config, kind)) != OWN:
            raise AeframeError(f"model '{folder}' has the {kind} '{name}', which needs no code; leave {kind}= out")
    check_hashes(folder, config["sha256"])
    with _of_model(folder):
        spec = DataSpec.from_dict(config["spec"])
        # Building draws initial weights; `noise_of` restores the state of torch's generator.
        with (
            noise_of(torch.device("cpu"), 0),
            restored_weights(),
            AllocationLimit("it", (folder / "model.safetensors").stat().st_size),
        ):
            # Saved models state the activation of a loss. Where it is null, an earlier version saved the identity.
            config["loss"] = with_identity(config["loss"])
            model = assemble(config, spec, modules=modules)
            sampler: Sampler = build("sampler", config["sampler"], model=model)
        modality: Modality = build("modality", config["modality"])
    load_tensors(stored_modules(model, sampler), folder / "model.safetensors")
    modality_state = read_modality_state(folder)
    if modality_state is None:
        raise AeframeError(
            f"there is no file '{folder / 'modality.json'}', which a saved model has; copy the folder again"
        )
    with _of_model(folder):
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
        scales=read_score_scales(folder),
    )


def own_kinds(path: str | Path) -> set[str]:
    """Return the kinds of part for which `load` needs a module of the model's author, such as ``{"encoder"}``.

    Raises:
        AeframeError: The folder has no model.
    """
    folder = model_folder(local_folder(path))
    config = read_config(folder)
    return {kind for kind in OWN_KINDS if _part_name(config, kind) == OWN}


def model_folder(path: Path) -> Path:
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


@contextmanager
def _of_model(folder: Path) -> Iterator[None]:
    """Name the model in errors inside; also in those of parts and modalities that its files do not fit.

    Options that the types of their annotations allow may still be impossible, such as a negative size.
    """
    try:
        yield
    except AeframeError as error:
        raise AeframeError(f"model '{folder}': {error}") from error
    except (ArithmeticError, AssertionError, AttributeError, LookupError, RuntimeError, TypeError, ValueError) as error:
        raise AeframeError(
            f"model '{folder}' has a part that its files do not fit ({reason_and_place(error)}); copy the folder again"
        ) from error


def _part_name(config: Mapping[str, Any], kind: str) -> str:
    part = config.get(kind) or KINDS[kind].default
    return str(part if isinstance(part, str) else part["name"])


def read_config(folder: Path) -> dict[str, Any]:
    path = folder / "config.yaml"
    config = read_mapping(path)
    version = config.get("format")
    if isinstance(version, int) and version > FORMAT:
        raise AeframeError(
            f"model '{folder}' has format {version}, aeframe {__version__} reads up to format {FORMAT}; "
            f"install aeframe {config.get('aeframe', 'of a later version')}"
        )
    check_saved_config(path, config)
    check_plugins(folder, config["plugins"])
    return config
