"""`Loader`: Hydra's config loader, with a default dataset for each modality and errors of one sentence.

A *group* is a key of the config whose value is chosen by name (``loss=mse``); its *options* are the YAML files and
registered parts with these names. A *point* is one of the runs of a multirun (``-m``), given by its overrides.
"""

from __future__ import annotations

import copy
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml
from hydra.core.object_type import ObjectType
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, OverrideType
from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from hydra.plugins.config_source import ConfigResult, ConfigSource
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import InterpolationResolutionError, OmegaConfBaseException

from aeframe.errors import AeframeError, did_you_mean
from aeframe.experiment.composition.hydra_internals import (
    IConfigRepository,
    ReadingOnce,
    get_overrides_dirname,
    global_state,
)
from aeframe.experiment.composition.hydra_settings import check_hydra_settings
from aeframe.experiment.composition.sources import search_path
from aeframe.kinds import GROUPS
from aeframe.registry import registry

CONFIG = "train"
"""The name of the primary config, ``train.yaml``."""


class Loader(ReadingOnce):
    """Compose ``train.yaml`` with overrides.

    It differs from Hydra's loader in four ways:

    - Without ``data=`` the default dataset of the chosen modality is used, and an option file of ``data`` has the
      modality of the dataset that it names.
    - ``key=value`` needs no ``+`` for a new key, since the validation after composition rejects unknown keys.
    - Errors are `AeframeError`s.
    - Hydra's process-wide state is restored after each call.

    The methods are decorated with `global_state`, which sets Hydra's process-wide state for the job ``train`` during
    the call, and restores the previous state afterwards.

    What the chosen options amount to is composed once for each set of choices, since composing them takes most of the
    time: the points of a sweep that choose the same options differ only in values. A loader thus reads each option
    file once; a file that changes during a sweep changes none of its points.

    Args:
        config_dir: The folder of the user's own option files; by default ``./configs``, if present.
        names_only: Do not import registered parts: their options are then missing from the config, which suffices for
            lists of names. Hydra's own errors are raised, since its tab completion relies on them.
        pinned: The stored config of a run that is repeated. Its parts are chosen unless an override chooses another;
            `aeframe.experiment.compose.resolve` adds its values.
    """

    def __init__(
        self, config_dir: Path | None = None, *, names_only: bool = False, pinned: Mapping[str, Any] | None = None
    ) -> None:
        super().__init__(search_path(config_dir, names_only=names_only))
        self._names_only = names_only
        self.pinned = pinned
        self._parsed_lines: dict[str, Override] = {}
        self._composed_choices: dict[tuple[str | None, tuple[str, ...], RunMode, bool], DictConfig] = {}
        self._groups: dict[str, bool] = {}
        self._implied: dict[tuple[str | None, tuple[str, ...]], list[str]] = {}

    def __getstate__(self) -> dict[str, Any]:
        """Return what a launcher sends to other processes: everything but the composed configs."""
        state = super().__getstate__()
        for name in ("_parsed_lines", "_composed_choices", "_implied"):
            state[name] = {}
        return state

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
        with self._sentences():
            parsed = self.parsed(overrides)
            completed = self.parsed(self._completed(config_name, parsed))
            if validate_sweep_overrides:
                self.validate_sweep_overrides_legal(completed, run_mode, from_shell)
            config = self._composed(config_name, completed, run_mode)
        # The sweeper composes its points from these overrides, without the default data: a point may choose its own.
        config.hydra.overrides.task = [override.input_line for override in parsed if not override.is_hydra_override()]
        return config

    @global_state(CONFIG)
    def load_sweep_config(self, master_config: DictConfig, sweep_overrides: list[str]) -> DictConfig:
        """Compose one point of a multirun, whose folder is that of `master_config`; an error names the point."""
        try:
            config: DictConfig = super().load_sweep_config(master_config, sweep_overrides)
        except AeframeError as error:
            raise AeframeError(f"{point_name(sweep_overrides)}: {error}") from error
        config.hydra.sweep.dir = master_config.hydra.sweep.dir
        return config

    @global_state(CONFIG)
    def point_settings(self, master_config: DictConfig, sweep_overrides: Sequence[str]) -> DictConfig:
        """Compose one point like `load_sweep_config`, but without the node ``hydra``, which takes most of the time."""
        with self._sentences():
            parsed = self.parsed([*map(str, master_config.hydra.overrides.hydra), *sweep_overrides])
            completed = self.parsed(self._completed(CONFIG, parsed))
            self.validate_sweep_overrides_legal(completed, RunMode.RUN, from_shell=True)
            return self._composed(CONFIG, completed, RunMode.RUN, with_hydra=False)

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

    def parsed(self, overrides: Sequence[str]) -> list[Override]:
        """Return parsed overrides; the points of a sweep share most of their lines."""
        new = [line for line in dict.fromkeys(overrides) if line not in self._parsed_lines]
        self._parsed_lines.update(zip(new, OverridesParser.create().parse_overrides(new), strict=True))
        return [self._parsed_lines[line] for line in overrides]

    def _composed(
        self, config_name: str | None, overrides: Sequence[Override], run_mode: RunMode, *, with_hydra: bool = True
    ) -> DictConfig:
        """Return the config of parsed overrides: of those that choose options, composed once, and of values."""
        choices = [override for override in overrides if self._is_choice(override) or override.is_hydra_override()]
        lines = tuple(str(override.input_line) for override in choices)
        key = (config_name, lines, run_mode, with_hydra)
        if key not in self._composed_choices:
            composed = super().load_configuration(config_name, list(lines), run_mode, validate_sweep_overrides=False)
            check_hydra_settings(composed)
            if not with_hydra:
                composed = OmegaConf.masked_copy(composed, [str(name) for name in composed if name != "hydra"])
            self._composed_choices[key] = composed
        config = copy.deepcopy(self._composed_choices[key])
        # Several values set none: those of a sweep belong to its points.
        values = [each for each in overrides if each not in choices and not each.is_sweep_override()]
        self._apply_overrides_to_config(values, config)
        if with_hydra:
            # The working folder may be another one than at the first composition.
            config.hydra.runtime.cwd = os.getcwd()
            settings = config.hydra.job.config.override_dirname
            config.hydra.job.override_dirname = get_overrides_dirname(
                overrides=[override for override in overrides if not override.is_hydra_override()],
                kv_sep=settings.kv_sep,
                item_sep=settings.item_sep,
                exclude_keys=settings.exclude_keys,
            )
        return config

    @property
    def num_composed(self) -> int:
        """The number of sets of choices that were composed, and are held in memory."""
        return len(self._composed_choices) + len(self._implied)

    @contextmanager
    def _sentences(self) -> Iterator[None]:
        """Raise an `AeframeError` for an error of Hydra, OmegaConf or YAML inside."""
        try:
            yield
        except (HydraException, OmegaConfBaseException, yaml.YAMLError, ValueError) as error:
            raise AeframeError(sentence(error, self.repository)) from error

    def _is_choice(self, override: Override) -> bool:
        """Return whether an override chooses an option of a group, by Hydra's rule."""
        return self.is_group(str(override.key_or_group)) and not isinstance(override.value(), dict)

    def is_group(self, name: str) -> bool:
        """Return whether `name` is a group of options."""
        if name not in self._groups:
            self._groups[name] = bool(self.repository.group_exists(name))
        return self._groups[name]

    def _completed(self, config_name: str | None, parsed: Sequence[Override]) -> list[str]:
        """Return overrides that need no ``+``, with the default dataset of the modality if none is chosen."""
        completed = [self._without_plus(override) for override in parsed]
        if self.pinned is not None:
            chosen = {str(override.key_or_group) for override in parsed}
            parts = {group: self.pinned[group]["name"] for group in GROUPS if group not in chosen}
            completed = [*(f"{group}={name}" for group, name in parts.items()), *completed]
        return completed + self._implied_choices(config_name, completed)

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

    def _implied_choices(self, config_name: str | None, overrides: list[str]) -> list[str]:
        """Return overrides for the modality's default dataset, or the modality of a file's dataset, and substitutes.

        A registered dataset chooses its modality itself; an option file such as ``data/mine.yaml`` only names one.
        For substitutes see `aeframe.data.modality.Modality`.
        """
        parsed = self.parsed(overrides)
        datasets = [name for each in parsed if (name := _chosen_dataset(each)) is not None]
        if datasets and not any(map(_has_substitutes, datasets)):
            # An override takes precedence over all files, and a registered dataset has its modality.
            return []
        lines = [str(each.input_line) for each in parsed if self._is_choice(each) or each.is_hydra_override()]
        key = (config_name, tuple(lines))
        if key not in self._implied:
            chosen = self.compute_defaults_list(config_name, lines, RunMode.MULTIRUN).overrides
            modality, data = chosen.known_choices.get("modality"), chosen.known_choices.get("data")
            implied: list[str] = []
            if data is None and modality is not None:
                dataset = registry().load("modality", modality).dataset
                implied = [f"data={dataset}"] if dataset is not None else []
            elif isinstance(data, str) and not any(each.key_or_group == "modality" for each in parsed):
                of_data = self._modality_of_file(data)
                if of_data not in (None, modality):
                    modality, implied = of_data, [f"modality={of_data}"]
            self._implied[key] = implied + (_substitutes(chosen, modality) if isinstance(modality, str) else [])
        return self._implied[key]

    def _modality_of_file(self, data: str) -> str | None:
        """Return the modality of the dataset that an option file of ``data`` names; None for a registered dataset."""
        if registry().has("dataset", data) or (option := self.read(f"data/{data}")) is None:
            return None
        name = option.config.get("name") if isinstance(option.config, DictConfig) else None
        if not isinstance(name, str) or not registry().has("dataset", name):
            return None
        return str(registry().load("dataset", name).modality)


def _has_substitutes(dataset: str) -> bool:
    """Return whether the modality of a registered dataset replaces parts that a recipe chooses."""
    modality = registry().load("dataset", dataset).modality
    return bool(registry().load("modality", modality).substitutes)


def _substitutes(chosen: Any, modality: str) -> list[str]:
    """Return overrides that replace parts which a recipe chooses, and which exclude the data of a modality.

    Args:
        chosen: Hydra's `Overrides` of a defaults list: the name that is chosen in each group, and by which file.
        modality: The name of the modality.
    """
    overrides = []
    for group, names in registry().load("modality", modality).substitutes.items():
        name, by = chosen.known_choices.get(group), chosen.override_metadata.get(group)
        if name in names and by is not None and str(by.containing_config_path).startswith("model/"):
            overrides.append(f"{group}={names[name]}")
    return overrides


def _chosen_dataset(override: Override) -> str | None:
    """Return the name in an override ``data=NAME`` of a registered dataset, None for any other override."""
    if override.type != OverrideType.CHANGE or override.key_or_group != "data" or override.package is not None:
        return None
    name = override.value()
    return name if isinstance(name, str) and registry().has("dataset", name) else None


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
    plain: dict[str, Any] = {}
    try:
        for key in map(str, config):
            if key != "hydra":
                value = "???" if OmegaConf.is_missing(config, key) else config[key]
                plain[key] = OmegaConf.to_container(value, resolve=True) if OmegaConf.is_config(value) else value
    except OmegaConfBaseException as error:
        raise AeframeError(sentence(error)) from error
    return plain


def sentence(error: Exception, repository: IConfigRepository | None = None) -> str:
    """Return an error of Hydra, OmegaConf or YAML as one sentence; unknown options are looked up in `repository`."""
    if isinstance(error, MissingConfigException):
        return _unknown_option(error, repository)
    if isinstance(error, OverrideParseException):
        if str(error.override).startswith("hydra.sweeper.params"):
            return (
                f"'{error.override}' cannot be read; write each parameter as an override of its own, such as "
                "'optimizer.lr=tag(log,interval(1e-4,1e-2))'"
            )
        return f"'{error.override}' cannot be read as key=value; put a value with spaces, commas or brackets in quotes"
    cause = error if isinstance(error, InterpolationResolutionError) else error.__cause__
    if isinstance(cause, InterpolationResolutionError):
        key = f"'{cause.full_key}' " if cause.full_key else ""
        return f"the value of {key}refers to a missing value: {_first_line(cause)}"
    text = " ".join(part for part in (_one_line(error), _one_line(error.__cause__) if error.__cause__ else "") if part)
    if (added := re.search(r"Could not append to config\. An item is already at '(.*?)'", text)) is not None:
        key = added.group(1)
        return f"'+{key}=...' adds a new key, but a run has '{key}' already; write {key}=..., without the +"
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
