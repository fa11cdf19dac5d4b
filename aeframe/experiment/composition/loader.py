"""`Loader`: Hydra's config loader, with a default dataset for each modality and errors of one sentence.

A *group* is a key of the config whose value is chosen by name (``loss=mse``); its *options* are the YAML files and
registered parts with these names. A *point* is one of the runs of a multirun (``-m``), given by its overrides.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from hydra.core.object_type import ObjectType
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from hydra.plugins.config_source import ConfigResult, ConfigSource
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import InterpolationResolutionError, OmegaConfBaseException

from aeframe.errors import AeframeError, did_you_mean
from aeframe.experiment.composition.hydra_internals import ConfigLoaderImpl, IConfigRepository, global_state
from aeframe.experiment.composition.sources import search_path
from aeframe.registry import registry

CONFIG = "train"
"""The name of the primary config, ``train.yaml``."""


class Loader(ConfigLoaderImpl):
    """Compose ``train.yaml`` with overrides.

    It differs from Hydra's loader in four ways:

    - Without ``data=`` the default dataset of the chosen modality is used.
    - ``key=value`` needs no ``+`` for a new key, since the validation after composition rejects unknown keys.
    - Errors are `AeframeError`s.
    - Hydra's process-wide state is restored after each call.

    The methods are decorated with `global_state`, which sets Hydra's process-wide state for the job ``train`` during
    the call, and restores the previous state afterwards.

    Args:
        config_dir: The folder of the user's own option files; by default ``./configs``, if present.
        names_only: Do not import registered parts: their options are then missing from the config, which suffices for
            lists of names. Hydra's own errors are raised, since its tab completion relies on them.
    """

    def __init__(self, config_dir: Path | None = None, *, names_only: bool = False) -> None:
        super().__init__(search_path(config_dir, names_only=names_only))
        self._names_only = names_only

    @global_state(CONFIG)
    def load_configuration(
        self,
        config_name: str | None,
        overrides: list[str],
        run_mode: RunMode,
        from_shell: bool = True,
        validate_sweep_overrides: bool = True,
    ) -> DictConfig:
        """Compose one run; in a multirun, the config that all its points have in common."""
        if self._names_only:
            return super().load_configuration(config_name, overrides, run_mode, from_shell, validate_sweep_overrides)
        try:
            parsed = OverridesParser.create().parse_overrides(overrides)
            completed = self._completed(config_name, parsed)
            config = super().load_configuration(config_name, completed, run_mode, from_shell, validate_sweep_overrides)
        except (HydraException, OmegaConfBaseException, yaml.YAMLError, ValueError) as error:
            raise AeframeError(sentence(error, self.repository)) from error
        # The sweeper composes its points from these overrides, without the default data: a point may choose its own.
        config.hydra.overrides.task = [override.input_line for override in parsed if not override.is_hydra_override()]
        return config

    @global_state(CONFIG)
    def load_sweep_config(self, master_config: DictConfig, sweep_overrides: list[str]) -> DictConfig:
        """Compose one point of a multirun; an error names the point."""
        try:
            return super().load_sweep_config(master_config, sweep_overrides)
        except AeframeError as error:
            raise AeframeError(f"{point_name(sweep_overrides)}: {error}") from error

    @global_state(CONFIG)
    def compute_defaults_list(self, config_name: str | None, overrides: list[str], run_mode: RunMode) -> Any:
        """Return the defaults list (the options that are chosen in each group), without composing the config."""
        return super().compute_defaults_list(config_name, overrides, run_mode)

    @global_state(CONFIG)
    def choices(self, overrides: Sequence[str]) -> dict[str, Any]:
        """Return the name that a run chooses in each group, without Hydra's own groups."""
        parsed = OverridesParser.create().parse_overrides(list(overrides))
        defaults_list = self.compute_defaults_list(CONFIG, self._completed(CONFIG, parsed), RunMode.RUN)
        chosen = defaults_list.overrides.known_choices
        return {group: name for group, name in chosen.items() if not group.startswith("hydra/")}

    @global_state(CONFIG)
    def used_options(self, overrides: Sequence[str]) -> list[str]:
        """Return the paths of the options that a run uses, without Hydra's own: ``train``, ``model/vae``, ..."""
        parsed = OverridesParser.create().parse_overrides(list(overrides))
        chosen = self.compute_defaults_list(CONFIG, self._completed(CONFIG, parsed), RunMode.RUN).defaults
        paths = dict.fromkeys(str(default.config_path) for default in chosen)
        return [path for path in paths if not path.startswith("hydra/")]

    def sources(self) -> list[ConfigSource]:
        """Return the sources of options, the first of which that has an option is used."""
        return list(self.repository.get_sources())

    @global_state(CONFIG)
    def list_groups(self, parent_name: str) -> list[str]:
        """Return the groups below a group; all groups for the name ``""``."""
        return list(super().list_groups(parent_name))

    @global_state(CONFIG)
    def get_group_options(
        self,
        group_name: str,
        results_filter: ObjectType | None = ObjectType.CONFIG,
        config_name: str | None = None,
        overrides: list[str] | None = None,
    ) -> list[str]:
        """Return the names of a group's options."""
        return list(super().get_group_options(group_name, results_filter, config_name, overrides))

    @global_state(CONFIG)
    def read(self, path: str) -> ConfigResult | None:
        """Read one option from the first source that has it; None where no source has it."""
        return self.repository.load_config(path)

    def is_group(self, name: str) -> bool:
        """Return whether `name` is a group of options."""
        return bool(self.repository.group_exists(name))

    def _completed(self, config_name: str | None, parsed: Sequence[Override]) -> list[str]:
        """Return overrides that need no ``+``, with the default dataset of the modality if none is chosen."""
        completed = [self._without_plus(override) for override in parsed]
        if any(override.key_or_group == "data" for override in parsed):
            return completed
        return completed + self._default_data(config_name, completed)

    def _without_plus(self, override: Override) -> str:
        """Return an override that also sets a new key, so that ``penalties.l1.weight=1`` needs no ``+``.

        ``logger=null`` becomes ``~logger``, Hydra's syntax for removing a choice.
        """
        line = override.input_line or ""
        if override.is_add() or override.is_force_add() or override.is_delete() or override.is_hydra_override():
            return line
        if not self.is_group(str(override.key_or_group)):
            return f"++{line}" if override.package is None else line
        return f"~{override.key_or_group}" if override.value() is None else line

    def _default_data(self, config_name: str | None, overrides: list[str]) -> list[str]:
        """Return the override that chooses the modality's default dataset; none if a dataset is chosen already."""
        choices = self.compute_defaults_list(config_name, overrides, RunMode.MULTIRUN).overrides.known_choices
        if choices.get("data") is not None or (modality := choices.get("modality")) is None:
            return []
        dataset = registry().load("modality", modality).dataset
        return [f"data={dataset}"] if dataset is not None else []


def point_name(overrides: Sequence[str]) -> str:
    """Return the name of a point of a multirun for messages: its overrides."""
    name = " ".join(override for override in overrides if not override.startswith("hydra."))
    return f"the point {name}" if name else "the only point"


@global_state(CONFIG)
def task_config(config: DictConfig) -> dict[str, Any]:
    """Return a composed config without its node ``hydra``, as plain values with interpolations resolved.

    Missing values stay ``???``.

    Raises:
        AeframeError: An interpolation refers to a missing value.
    """
    without_hydra = OmegaConf.masked_copy(config, [str(key) for key in config if key != "hydra"])
    try:
        plain: Any = OmegaConf.to_container(without_hydra, resolve=True)
    except OmegaConfBaseException as error:
        raise AeframeError(sentence(error)) from error
    return dict(plain)


def sentence(error: Exception, repository: IConfigRepository | None = None) -> str:
    """Return an error of Hydra, OmegaConf or YAML as one sentence; unknown options are looked up in `repository`."""
    if isinstance(error, MissingConfigException):
        return _unknown_option(error, repository)
    if isinstance(error, OverrideParseException):
        return f"'{error.override}' cannot be read as key=value; put a value with spaces, commas or brackets in quotes"
    cause = error if isinstance(error, InterpolationResolutionError) else error.__cause__
    if isinstance(cause, InterpolationResolutionError):
        key = f"'{cause.full_key}' " if cause.full_key else ""
        return f"the value of {key}refers to a missing value: {_first_line(cause)}"
    text = " ".join(part for part in (_one_line(error), _one_line(error.__cause__) if error.__cause__ else "") if part)
    if (
        sweep := re.search(r"Ambiguous value for argument '(.*?)'|Sweep parameters '(.*?)' requires", text)
    ) is not None:
        return (
            f"'{sweep.group(1) or sweep.group(2)}' has several values; add -m to run one after the other, or put "
            "them in [brackets] for a list"
        )
    if (group := re.search(r"Config group override must be a string or a list|Could not override '(.*?)'", text)) and (
        group.group(1) is None or "No match in the defaults list" in text
    ):
        return f"an option is chosen by its name: {text}" if group.group(1) is None else _no_such_group(group.group(1))
    return f"the config cannot be composed: {text}"


def _unknown_option(error: MissingConfigException, repository: IConfigRepository | None) -> str:
    group, _, name = (error.missing_cfg_file or "").rpartition("/")
    names = sorted(set(error.options or ()))
    if not names and repository is not None:
        names = repository.get_group_options(group, ObjectType.CONFIG)
    if not group:
        return f"there is no config '{name}'{did_you_mean(name, names)}"
    not_loaded = "".join(
        f"; plugin '{plugin.name}' ({plugin.distribution}) is {plugin.state}: {plugin.reason}"
        for plugin in registry().plugins
        if plugin.state != "ok"
    )
    return f"unknown {group} '{name}'{did_you_mean(name, names)}; known are {', '.join(names) or 'none'}{not_loaded}"


def _no_such_group(key: str) -> str:
    return f"'{key}' is not a part of a run that an override can choose; see aeframe-train --help"


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0].strip().rstrip(".")


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())
