"""Options without YAML: a Hydra config source that turns every registered name into a config option.

``registry://`` reads the chosen parts' signatures, so it imports them. ``registry://names`` lists names only and
imports nothing, which is what completion and help need.
"""

from __future__ import annotations

import dataclasses
from typing import Any

from hydra.core.object_type import ObjectType
from hydra.plugins.config_source import ConfigResult, ConfigSource
from omegaconf import OmegaConf

from aeframe.experiment.schema import GROUPS, LOGGER, RunSettings
from aeframe.factory import defaults
from aeframe.registry import registry

SETTINGS = "settings"
"""The config that holds every setting of `RunSettings` with its default."""
NAMES_ONLY = "names"
_OFFERED = (*GROUPS, LOGGER)


def kind_of(group: str) -> str:
    """Return the kind of part that a config group holds: the group ``data`` holds a dataset."""
    return "dataset" if group == "data" else group


class RegistrySource(ConfigSource):
    """The last place in the search path: ``loss=NAME`` is ``{name: NAME, <its options and their defaults>}``.

    A modality also chooses the parts that are its defaults, and a dataset its modality; whatever stands later in the
    order of precedence chooses over them. ``logger=NAME`` is ``{NAME: {name: NAME}}``, so that a list of names gives
    several.
    """

    @staticmethod
    def scheme() -> str:
        return "registry"

    def available(self) -> bool:
        return True

    def is_group(self, config_path: str) -> bool:
        return config_path in ("", *_OFFERED)

    def is_config(self, config_path: str) -> bool:
        group, name = _split(config_path)
        return (group in _OFFERED and registry().has(kind_of(group), name)) or (group, name) == ("", SETTINGS)

    def list(self, config_path: str, results_filter: ObjectType | None) -> list[str]:
        if config_path in _OFFERED:
            return [] if results_filter == ObjectType.GROUP else registry().names(kind_of(config_path))
        return sorted(_OFFERED) if config_path == "" and results_filter != ObjectType.CONFIG else []

    def load_config(self, config_path: str) -> ConfigResult:
        group, name = _split(config_path)
        if group == "":
            body: dict[str, Any] = dataclasses.asdict(RunSettings())
        elif group == LOGGER:
            # Its options get their defaults when the run is validated, where one that YAML cannot hold is left out.
            body = {LOGGER: {name: {"name": name}}}
        elif self.path == NAMES_ONLY:
            body = {group: {"name": name}}
        else:
            chosen = {f"override /{key}": value for key, value in _implied(group, name).items()}
            body = {"defaults": [{key: value} for key, value in chosen.items()]} if chosen else {}
            body[group] = defaults(kind_of(group), name)
        return ConfigResult(
            config=OmegaConf.create(body),
            path=f"{self.scheme()}://{config_path}",
            provider=self.provider,
            # An override from inside a package would look for `encoder@modality.encoder`.
            header={"package": "_global_"},
        )


def _implied(group: str, name: str) -> dict[str, str]:
    """Return the choices that go with a choice: a modality's default parts, a dataset's modality."""
    if group == "modality":
        return dict(registry().load("modality", name).defaults)
    if group == "data":
        return {"modality": registry().load("dataset", name).modality}
    return {}


def _split(config_path: str) -> tuple[str, str]:
    group, _, name = config_path.removesuffix(".yaml").rpartition("/")
    return group, name
