"""Hydra's errors as one sentence each."""

from __future__ import annotations

import re

from hydra.core.object_type import ObjectType
from hydra.errors import MissingConfigException, OverrideParseException
from omegaconf.errors import InterpolationResolutionError

from aeframe.errors import did_you_mean
from aeframe.experiment.hydra_internals import IConfigRepository
from aeframe.registry import registry


def sentence(error: Exception, repository: IConfigRepository | None = None) -> str:
    """Return one sentence for an error of Hydra, OmegaConf or YAML; `repository` has the known options."""
    if isinstance(error, MissingConfigException):
        return _unknown_option(error, repository)
    if isinstance(error, OverrideParseException):
        return f"'{error.override}' cannot be read as key=value; put a value with spaces, commas or brackets in quotes"
    cause = error if isinstance(error, InterpolationResolutionError) else error.__cause__
    if isinstance(cause, InterpolationResolutionError):
        key = f"'{cause.full_key}' " if cause.full_key else ""
        return f"the value of {key}refers to something that is not there: {_line(cause)}"
    text = " ".join(part for part in (_text(error), _text(error.__cause__) if error.__cause__ else "") if part)
    if (
        several := re.search(r"Ambiguous value for argument '(.*?)'|Sweep parameters '(.*?)' requires", text)
    ) is not None:
        return (
            f"'{several.group(1) or several.group(2)}' has several values; add -m to run one after the other, or put "
            "them in [brackets] for a list"
        )
    if (group := re.search(r"Config group override must be a string or a list|Could not override '(.*?)'", text)) and (
        group.group(1) is None or "No match in the defaults list" in text
    ):
        return f"an option is chosen by its name: {text}" if group.group(1) is None else _no_such_group(group.group(1))
    return f"the config cannot be composed: {text}"


def _unknown_option(error: MissingConfigException, repository: IConfigRepository | None) -> str:
    group, _, name = (error.missing_cfg_file or "").rpartition("/")
    known = sorted(set(error.options or ()))
    if not known and repository is not None:
        known = repository.get_group_options(group, ObjectType.CONFIG)
    if not group:
        return f"there is no config '{name}'{did_you_mean(name, known)}"
    broken = "".join(
        f"; plugin '{plugin.name}' ({plugin.distribution}) is {plugin.state}: {plugin.reason}"
        for plugin in registry().plugins
        if plugin.state != "ok"
    )
    return f"unknown {group} '{name}'{did_you_mean(name, known)}; known are {', '.join(known) or 'none'}{broken}"


def _no_such_group(key: str) -> str:
    return f"'{key}' is not a part of a run that an override can choose; see aeframe-train --help"


def _line(error: Exception) -> str:
    return str(error).strip().splitlines()[0].strip().rstrip(".")


def _text(error: BaseException) -> str:
    return " ".join(str(error).split())
