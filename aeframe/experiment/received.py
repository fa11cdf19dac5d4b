"""Sort the arguments of `aeframe.fit`: objects of the caller's program, and settings that a config can hold.

The settings are changed in place: an object is replaced by the config that stands for it.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from aeframe.errors import AeframeError, did_you_mean
from aeframe.experiment.objects import RunObjects
from aeframe.experiment.resume import AUTO
from aeframe.experiment.warm_start import INIT_IN_MEMORY
from aeframe.runs.folder import RunFolder

if TYPE_CHECKING:
    from aeframe.data.in_memory import SampleSplits

_SPLIT_NAMES = {
    **dict.fromkeys(("train", "training", "0", "false"), "train"),
    **dict.fromkeys(("validation", "valid", "val", "1", "true"), "validation"),
    "test": "test",
}
"""The split of each value that a column of splits may have, in lower case."""


def received(x: Any, columns: Mapping[str, Any], held_out: Mapping[str, Any], settings: dict[str, Any]) -> RunObjects:
    """Return the objects among the arguments: samples by split, modules, callbacks, loggers and a model to start from.

    Args:
        x: The samples, or None.
        columns: The other fields of `aeframe.Samples`.
        held_out: Samples or a fraction for ``validation`` and ``test``, or None.
        settings: The settings of the run.

    Raises:
        AeframeError: Arguments that exclude each other, samples that no modality takes, or an object that a run cannot
            take, such as a Trainer.
    """
    return _received_objects(_received_samples(x, columns, held_out, settings), settings)


def _received_samples(
    x: Any, columns: Mapping[str, Any], held_out: Mapping[str, Any], settings: dict[str, Any]
) -> SampleSplits | None:
    """Return the samples by split, or None if there are none; the ``data`` section then names their dataset."""
    if x is None:
        given = [name for name, value in {**columns, **held_out}.items() if value is not None]
        if given:
            raise AeframeError(
                f"fit: {given[0]}= belongs to samples in memory, found none; pass them as the first argument, or set "
                f"data={{...}} for a dataset of files"
            )
        _refuse_data_object(settings)
        return None
    # The rest of this module needs numpy and torch; a run whose data are files does not wait for them here.
    from aeframe.data.in_memory import SampleSplits, memory_dataset
    from aeframe.data.samples import Samples, is_anndata, is_frame

    data = settings.get("data") or {}
    if not isinstance(data, Mapping) or "name" in data:
        raise AeframeError(
            f"fit: x and data={data!r} both name the data; leave out data=, or pass options of the samples: "
            'data={"split_seed": 1}'
        )
    samples = Samples.of(x)
    given_columns = {name: value for name, value in columns.items() if value is not None}
    if given_columns:
        samples = Samples(samples.x, **{**_fields(samples), **given_columns})
    samples = samples.unpacked()
    options = dict(data)
    by_split = {"train": samples}
    validation = held_out["validation"]
    if isinstance(validation, str) and is_anndata(samples.x):
        # The dataset splits the cells itself: an AnnData per split would be a copy of the counts.
        options["split"] = validation
        held_out = {"validation": None, "test": held_out["test"]}
    elif isinstance(validation, str):
        if not is_frame(samples.x):
            raise AeframeError(f"fit: validation='{validation}' names a column, but x has no columns; pass samples")
        by_split = _split_by_column(samples, validation)
        held_out = {"validation": None, "test": held_out["test"]}
    for split, value in held_out.items():
        if isinstance(value, (float, int)) and not isinstance(value, bool):
            options[split] = float(value)
        elif value is not None:
            named = {name: value for name, value in given_columns.items() if isinstance(value, (str, list))}
            split_samples = Samples.of(value).unpacked()
            names_columns = {name: column for name, column in named.items() if _names_columns(column, split_samples.x)}
            by_split[split] = Samples(split_samples.x, **{**names_columns, **_fields(split_samples)})
    modality = settings.get("modality")
    chosen = modality.get("name") if isinstance(modality, Mapping) else modality
    if chosen is None and settings.get("resume") not in (None, False, AUTO):
        chosen = RunFolder.open(settings["resume"]).read_config()["modality"]["name"]
    # Columns that are labels or a condition do not decide which modality takes the others.
    x_alone = by_split["train"].resolved("fit").x if is_frame(samples.x) else samples.x
    settings["data"] = {"name": memory_dataset(x_alone, chosen), **options}
    return SampleSplits(by_split)


def _received_objects(samples: SampleSplits | None, settings: dict[str, Any]) -> RunObjects:
    """Return the samples with the objects among the settings."""
    if _is_lightning(settings.get("trainer"), "lightning.pytorch", "Trainer"):
        raise AeframeError(
            "fit makes its own Trainer; pass its arguments as trainer={...}, or use module, data = aeframe.build(...) "
            "with a Trainer of your own"
        )
    optimizer = settings.get("optimizer")
    if optimizer is not None and not isinstance(optimizer, (str, Mapping)):
        raise AeframeError(
            f"fit: optimizer expects a name such as 'adam', or {{'name': ..., options}}, found {optimizer!r}; register "
            "a class with @aeframe.register('optimizer')"
        )
    modules = _take_modules(settings)
    callbacks = _take_list(settings, "callbacks", "lightning.pytorch.callbacks", "Callback")
    loggers = _take_list(settings, "logger", "lightning.pytorch.loggers", "Logger")
    init = _take_init(settings)
    _refuse_arrays(settings)
    return RunObjects(samples, modules, callbacks, loggers, init)


def _fields(samples: Any) -> dict[str, Any]:
    from aeframe.data.samples import COLUMNS

    return {name: value for name in COLUMNS if (value := getattr(samples, name)) is not None}


def _names_columns(column: Any, x: Any) -> bool:
    """Return whether `column` names columns of the data frame x, or of ``obs`` of the AnnData x."""
    from aeframe.data.samples import named_columns, names_of_columns

    names, frame = [column] if isinstance(column, str) else column, named_columns(x)
    if frame is None:
        return False
    known = names_of_columns(frame)
    return all(isinstance(name, str) and name in known for name in names)


def _split_by_column(samples: Any, name: str) -> dict[str, Any]:
    """Return the samples of each split that the column `name` of a data frame defines."""
    from aeframe.data.samples import COLUMNS, Samples, as_array, column_of, names_of_columns

    frame, names = samples.x, names_of_columns(samples.x)
    if name not in names:
        raise AeframeError(f"fit: validation='{name}' is no column of x; its columns are {', '.join(names)}")
    values = [str(value).lower() for value in as_array(column_of(frame, name)).tolist()]
    unknown = next((value for value in values if value not in _SPLIT_NAMES), None)
    if unknown is not None:
        raise AeframeError(
            f"fit: column '{name}' has the value '{unknown}', expected train, validation or test for each row"
        )
    splits = np.array([_SPLIT_NAMES[value] for value in values])
    by_split = {}
    for split in dict.fromkeys(("train", *splits.tolist())):
        rows = np.flatnonzero(splits == split)
        kept = [original for original in frame.columns if str(original) != name]
        part = (frame.iloc[rows] if hasattr(frame, "iloc") else frame[rows])[kept]
        columns = {
            field: value if _names_columns(value, frame) else as_array(value)[rows]
            for field in COLUMNS
            if (value := getattr(samples, field)) is not None
        }
        by_split[split] = Samples(part, **columns)
    return by_split


def _refuse_data_object(settings: Mapping[str, Any]) -> None:
    data = settings.get("data")
    if data is None or isinstance(data, (str, Mapping)):
        return
    raise AeframeError(
        f"fit: data expects the name of a dataset, found {type(data).__name__}; pass samples as the first argument: "
        "aeframe.fit(x, ...)"
    )


def _take_modules(settings: dict[str, Any]) -> dict[str, Any]:
    """Return the modules and functions among the settings by kind, and leave their configs."""
    modules: dict[str, Any] = {}
    for kind in ("encoder", "decoder", "loss"):
        value = settings.get(kind)
        if value is None or isinstance(value, (str, Mapping)):
            continue
        if not callable(value):
            raise AeframeError(
                f"fit: {kind} expects a name, {{'name': ..., options}} or a module, found {type(value).__name__}"
            )
        from aeframe.parts.own import OWN, described_code

        modules[kind] = value
        settings[kind] = {"name": OWN, "code": described_code(value)}
    return modules


def _refuse_arrays(settings: Mapping[str, Any]) -> None:
    """Raise an error for an array or a data frame under a name that is no argument for samples."""
    names = ("x", "y", "condition", "sample_weight", "groups", "factors", "validation", "test")
    for key, value in settings.items():
        if getattr(value, "ndim", 0) and hasattr(value, "shape"):
            raise AeframeError(
                f"fit has no argument '{key}' for samples (found {type(value).__name__} of shape "
                f"{tuple(value.shape)}){did_you_mean(key, names)}; its arguments for samples are {', '.join(names)}"
            )


def _take_init(settings: dict[str, Any]) -> Any:
    """Return the trained model under ``init``, and leave a text that stands for it; a path or a run stays a path."""
    value = settings.get("init")
    if value is None or isinstance(value, (str, Path)):
        return None
    from aeframe.experiment.finished_run import Run
    from aeframe.model_store.trained_model import TrainedModel

    trained = value.model if isinstance(value, Run) else value
    if not isinstance(trained, TrainedModel):
        raise AeframeError(
            f"fit: init expects a folder, a run or a trained model, found {type(value).__name__}; pass "
            "aeframe.load(folder)"
        )
    settings["init"] = str(value.folder) if isinstance(value, Run) else INIT_IN_MEMORY
    return trained


def _take_list(settings: dict[str, Any], key: str, module: str, name: str) -> list[Any]:
    """Return the objects of a class of Lightning under a key, a single one or a list, and remove them."""
    value = settings.get(key)
    if value is None or isinstance(value, (str, Mapping)):
        return []
    objects = list(value) if isinstance(value, (list, tuple)) else [value]
    if objects and all(isinstance(item, str) for item in objects):
        return []
    for item in objects:
        if not _is_lightning(item, module, name):
            raise AeframeError(
                f"fit: {key} expects objects of {module}.{name}, found {type(item).__module__}.{type(item).__name__}; "
                f"import them from lightning.pytorch"
            )
    del settings[key]
    return objects


def _is_lightning(value: Any, module: str, name: str) -> bool:
    """Return whether a value is an object of a class of Lightning; Lightning is not imported for it."""
    loaded = sys.modules.get(module)
    return value is not None and loaded is not None and isinstance(value, getattr(loaded, name))
