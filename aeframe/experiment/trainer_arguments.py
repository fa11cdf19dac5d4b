"""Check the arguments of Lightning's Trainer that a config sets, by the signature of the installed version.

Lightning, whose import takes seconds, is imported only if a config sets such an argument.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
import re
import types
import typing
from collections.abc import Collection, Mapping
from typing import Any, Literal

import pydantic

from aeframe.errors import AeframeError, did_you_mean
from aeframe.experiment.schema import TrainerSettings

_RENAMED = {
    "max_epochs": "max_epochs=",
    "max_steps": "max_batches=",
    "max_time": "max_hours=",
    "callbacks": "callbacks.LABEL.class=",
    "logger": "logger=",
    "enable_progress_bar": "progress=",
    "default_root_dir": "root= or folder=",
    "log_every_n_steps": "log_every=",
}
"""Arguments of the Trainer that are settings of a run, and the setting to use instead."""
_FIXED = {
    "use_distributed_sampler": "the data module divides each batch among the devices itself",
    "reload_dataloaders_every_n_epochs": "the data module makes the loader of every epoch itself",
    "barebones": "it turns off the checkpoints and metrics that a run writes",
    "enable_checkpointing": "a run writes checkpoints always; checkpoint_every= sets how often",
    "inference_mode": "some penalties differentiate during evaluation",
    "gradient_clip_algorithm": "gradients are clipped by their norm, to clip=",
    "plugins": "they are Python objects, which a config cannot hold; pass them to a Trainer of your own",
}
"""Arguments of the Trainer that a run cannot set, and why."""
# The module in front of the name of a class: ``collections.abc.``.
_MODULES = re.compile(r"(?:\w+\.)+(?=\w)")
# Types of values that a config can hold.
_SIMPLE = (bool, int, float, str, type(None))
STRATEGIES = ("auto", "ddp", "ddp_spawn", "fsdp2")
"""The values of ``trainer.strategy``."""
_SHARDING = ("fsdp", "deepspeed", "model_parallel")
"""Strategies of Lightning that divide a model in other ways than FSDP2, or that need a mesh."""
_PROCESSES = ("ddp_fork", "ddp_notebook", "ddp_spawn_")
"""Strategies of Lightning that start processes, except ``ddp_spawn``."""
_ACCELERATORS = ("auto", "cpu", "gpu", "cuda", "mps", "tpu")


def setting_names() -> list[str]:
    """Return the names of the fields of `TrainerSettings`."""
    return [field.name for field in dataclasses.fields(TrainerSettings)]


@functools.cache
def trainer_arguments() -> dict[str, inspect.Parameter]:
    """Return the Trainer arguments that a config may set in addition to `TrainerSettings`; imports Lightning."""
    import lightning.pytorch as L

    excluded = {"self", *setting_names(), *_RENAMED, *_FIXED}
    parameters = inspect.signature(L.Trainer.__init__).parameters
    return {name: parameter for name, parameter in parameters.items() if name not in excluded}


def extra_arguments(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the checked arguments in `settings` that are not in `TrainerSettings`; null means Lightning's default.

    Raises:
        AeframeError: An unknown argument, one that a run cannot set, or a value of another type.
    """
    schema_names = setting_names()
    checked = {}
    for name, value in settings.items():
        if name in schema_names:
            continue
        if name in _RENAMED:
            raise AeframeError(f"trainer.{name} is a setting of the run itself; set {_RENAMED[name]} instead")
        if name in _FIXED:
            raise AeframeError(f"trainer.{name} cannot be set: {_FIXED[name]}; leave it out")
        known = trainer_arguments()
        if name not in known:
            names = [*schema_names, *known]
            raise AeframeError(
                f"trainer has no setting '{name}'{did_you_mean(name, [*names, *_RENAMED])}; "
                f"its settings are {', '.join(names)}"
            )
        if value is None and known[name].default is None:
            continue
        _check_type(name, known[name].annotation, value)
        checked[name] = value
    return checked


def check_accelerator(name: str) -> None:
    """Raise an error for an accelerator that Lightning does not have."""
    if name not in _ACCELERATORS:
        from lightning.pytorch.accelerators import AcceleratorRegistry

        _check_name("accelerator", name, dict.fromkeys([*_ACCELERATORS, *sorted(AcceleratorRegistry)]))


def check_strategy(name: str) -> None:
    """Raise an error for a strategy that a run does not support."""
    if name in STRATEGIES:
        return
    if name.startswith(_SHARDING):
        raise AeframeError(
            f"trainer.strategy={name} is not supported, since optimizer groups and the moving average of weights need "
            "parameters that keep their names; set trainer.strategy=fsdp2, which also divides weights and optimizer "
            "states"
        )
    if name.startswith(_PROCESSES):
        raise AeframeError(
            f"trainer.strategy={name} trains in processes that return weights only, but a run needs their metrics; "
            "set trainer.strategy=ddp_spawn, or use it in a Trainer of your own (aeframe.build)"
        )
    _check_name("strategy", name, STRATEGIES)


def check_devices(value: int | str | list[int]) -> None:
    """Raise an error for a number of devices that is neither positive nor -1, or a list with repeated indices."""
    if isinstance(value, int) and (value >= 1 or value == -1):
        return
    if value == "auto":
        return
    if isinstance(value, list) and value and min(value) >= 0 and len(set(value)) == len(value):
        return
    raise AeframeError(
        f"setting 'trainer.devices' must be at least 1, -1 or auto for all, or a list of distinct indices, found "
        f"{value}; set trainer.devices to one of these"
    )


def _check_name(setting: str, name: str, known: Collection[str]) -> None:
    if name not in known:
        raise AeframeError(
            f"setting 'trainer.{setting}' has no value '{name}'{did_you_mean(name, known)}; choose {', '.join(known)}"
        )


def _check_type(name: str, annotation: Any, value: Any) -> None:
    """Raise an error if a value is not of the type that the Trainer expects, as far as a config can hold that type."""
    expected = _without_objects(annotation)
    if expected is None:
        return
    try:
        pydantic.TypeAdapter(expected, config=pydantic.ConfigDict(strict=True)).validate_python(value)
    except pydantic.ValidationError:
        raise AeframeError(
            f"setting 'trainer.{name}' expects {readable(expected)}, found {value!r}; change it to such a value"
        ) from None


def _without_objects(annotation: Any) -> Any:
    """Return an annotation without the members of unions that a config cannot hold; None if nothing remains."""
    origin = typing.get_origin(annotation)
    if origin in (typing.Union, types.UnionType):
        members = [kept for member in typing.get_args(annotation) if (kept := _without_objects(member)) is not None]
        return typing.Union[tuple(members)] if members else None  # noqa: UP007 -- the members are known at run time
    if annotation in _SIMPLE or origin is Literal:
        return annotation
    is_container = origin in (list, dict) and all(item in _SIMPLE for item in typing.get_args(annotation))
    return annotation if is_container else None


def readable(annotation: Any) -> str:
    """Return an annotation in the notation of the help: ``int | auto | null``."""
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if annotation in (None, type(None)):
        return "null"
    if origin is Literal:
        return " | ".join("null" if value is None else str(value) for value in arguments)
    if origin in (typing.Union, types.UnionType):
        return " | ".join(dict.fromkeys(readable(member) for member in arguments))
    return annotation.__name__ if type(annotation) is type else _MODULES.sub("", str(annotation))
