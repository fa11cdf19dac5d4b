"""The undocumented names of Hydra and OmegaConf that aeframe uses. Written for Hydra 1.3.

No other file imports from ``hydra._internal``, so a new version of Hydra is checked in this file only.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from hydra import version
from hydra._internal import defaults_list as hydra_defaults_list
from hydra._internal import hydra as hydra_application
from hydra._internal.callbacks import Callbacks
from hydra._internal.config_loader_impl import ConfigLoaderImpl, get_overrides_dirname
from hydra._internal.config_repository import CachingConfigRepository, IConfigRepository
from hydra._internal.config_search_path_impl import ConfigSearchPathImpl
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra._internal.utils import get_args_parser
from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.core.plugins import Plugins
from hydra.core.utils import JobReturn, JobRuntime, setup_globals
from hydra.types import HydraContext, RunMode
from hydra.version import VersionBase
from omegaconf import DictConfig, OmegaConf
from omegaconf.basecontainer import BaseContainer

from aeframe.errors import AeframeError

__all__ = [
    "BasicSweeper",
    "ConfigSearchPathImpl",
    "Hydra",
    "IConfigRepository",
    "ReadingOnce",
    "get_args_parser",
    "get_overrides_dirname",
    "global_state",
    "is_basic",
    "sweep",
]

VERSION_BASE = "1.3"
"""The version of Hydra with which composition stays compatible (``version_base``)."""
_RESOLVERS = ("now", "hydra", "python_version")
"""The resolvers that Hydra registers with OmegaConf, process-wide."""
_interpolation_map = hydra_defaults_list._create_interpolation_map


def _map_if_used(overrides: Any, defaults_list: Sequence[Any], self_added: bool) -> DictConfig:
    """Return the choices that interpolations in a defaults list refer to; an empty config if it has none.

    Hydra builds this map for each option file, also where no name is an interpolation, and then does not read it. That
    took a third of the time of a composition.
    """
    names = (str(getattr(each, key, "")) for each in defaults_list for key in ("group", "path", "value"))
    if any("${" in name for name in names):
        return _interpolation_map(overrides, list(defaults_list), self_added)
    return OmegaConf.create()


@contextmanager
def global_state(name: str) -> Iterator[None]:
    """Set Hydra's process-wide state for a job called `name` inside, and restore the previous state afterwards.

    Hydra's globals are the job's name, the version base, the running application, its config and three resolvers of
    OmegaConf. A calling program that is a Hydra application itself thus keeps its own state. Usable as a decorator.
    Inside, Hydra composes with `_map_if_used`.
    """
    runtime, version_base = JobRuntime.instance(), VersionBase.instance()
    application, config = GlobalHydra.instance(), HydraConfig.instance()
    previous = (copy.deepcopy(runtime.conf), version_base.version_base, application.hydra, config.cfg)
    resolvers = {resolver_name: BaseContainer._resolvers.get(resolver_name) for resolver_name in _RESOLVERS}
    map_of_choices = hydra_defaults_list._create_interpolation_map
    try:
        hydra_defaults_list._create_interpolation_map = _map_if_used
        version.setbase(VERSION_BASE)
        setup_globals()
        runtime.set("name", name)
        yield
    finally:
        hydra_defaults_list._create_interpolation_map = map_of_choices
        runtime.conf, version_base.version_base, application.hydra, config.cfg = previous
        for resolver_name, resolver in resolvers.items():
            if resolver is None:
                BaseContainer._resolvers.pop(resolver_name, None)
            else:
                BaseContainer._resolvers[resolver_name] = resolver


_Opened = tuple[tuple[str | None, tuple[str, ...]], CachingConfigRepository]
"""A primary config with folders of further options, and a repository with the option files that were read for them."""


class ReadingOnce(ConfigLoaderImpl):
    """Hydra's config loader, which reads an option file once for a defaults list and the config that follows.

    Hydra reads all files for each of them. A repository is passed on once, from a defaults list to one config: a config
    shares its values with the repository that it was composed from.
    """

    def __init__(self, config_search_path: ConfigSearchPath) -> None:
        super().__init__(config_search_path)
        self._opened: _Opened | None = None
        self._reusable: _Opened | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_opened": None, "_reusable": None}

    def parsed(self, overrides: Sequence[str]) -> list[Override]:
        """Return overrides as Hydra's parser returns them."""
        return OverridesParser.create().parse_overrides(list(overrides))

    def compute_defaults_list(self, config_name: str | None, overrides: list[str], run_mode: RunMode) -> Any:
        defaults_list = super().compute_defaults_list(config_name, overrides, run_mode)
        self._reusable = self._opened
        return defaults_list

    def _parse_overrides_and_create_caching_repo(
        self, config_name: str | None, overrides: list[str]
    ) -> tuple[list[Override], CachingConfigRepository]:
        key = (config_name, tuple(line for line in overrides if "hydra.searchpath" in line))
        opened, self._reusable = self._reusable, None
        if opened is not None and opened[0] == key:
            parsed, repository = self.parsed(overrides), opened[1]
        else:
            parsed, repository = super()._parse_overrides_and_create_caching_repo(config_name, overrides)
        self._opened = key, repository
        return parsed, repository


class Hydra(hydra_application.Hydra):
    """Hydra's application, which composes the config of a run once.

    Hydra's own composes it twice: for a sweep, to read ``hydra.mode``, and then for the run.
    """

    _composed: tuple[list[str], DictConfig] | None = None

    def get_mode(self, config_name: str | None, overrides: list[str]) -> Any:
        """Return the ``hydra.mode`` of a config, None if it has none or cannot be composed."""
        try:
            config = self.compose_config(config_name, overrides, RunMode.RUN)
        except AeframeError:
            # A sweep may leave open what its points choose.
            return super().get_mode(config_name, overrides)
        self._composed = (overrides, config)
        return config.hydra.mode

    def compose_config(
        self, config_name: str | None, overrides: list[str], run_mode: RunMode, *settings: Any, **named: Any
    ) -> DictConfig:
        """Compose a config; one that `get_mode` composed from the same list of overrides for a run is returned."""
        if run_mode == RunMode.RUN and self._composed is not None and self._composed[0] is overrides:
            return self._composed[1]
        return super().compose_config(config_name, overrides, run_mode, *settings, **named)


def is_basic(part: Any) -> bool:
    """Return whether the config of a launcher or sweeper is that of Hydra's basic one.

    The basic sweeper knows its points before it begins; the basic launcher runs them in this process.
    """
    return str(part.get("_target_", "")).endswith(("BasicSweeper", "BasicLauncher"))


def sweep(
    hydra: Hydra,
    config: DictConfig,
    points: Sequence[Sequence[str]] | None,
    function: Callable[[DictConfig], Any],
    after_launch: Callable[[Sequence[JobReturn]], None],
) -> Any:
    """Run a sweep like `Hydra.multirun`, and return what its jobs returned.

    Args:
        hydra: The application.
        config: The config that all points have in common.
        points: The overrides of each point, which were checked, for Hydra's basic sweeper; None for another sweeper,
            which chooses them.
        function: The function that is called for each point.
        after_launch: Called with what the jobs of the launcher returned, at most ``hydra.sweeper.max_batch_size`` at a
            time, for Hydra's basic sweeper.
    """
    callbacks = Callbacks(config)
    callbacks.on_multirun_start(config=config, config_name=config.hydra.job.config_name)
    context = HydraContext(config_loader=hydra.config_loader, callbacks=callbacks)
    sweeper: Any = Plugins.instance().instantiate_sweeper(hydra_context=context, task_function=function, config=config)
    if points is not None:
        # Not a subclass: Hydra's plugin manager executes the module of its basic sweeper again, so its class changes.
        sweeper.split_arguments = lambda _, size: list(
            sweeper.split_overrides_to_chunks([list(point) for point in points], size)
        )
        # Composing all points once more would take as long as the first time.
        sweeper.validate_batch_is_legal = lambda _: None
        launch = sweeper.launcher.launch

        def launch_and_go_on(*args: Any, **named: Any) -> Any:
            returned = launch(*args, **named)
            after_launch(returned)
            return returned

        sweeper.launcher.launch = launch_and_go_on
    returned = sweeper.sweep(OmegaConf.to_container(config.hydra.overrides.task))
    callbacks.on_multirun_end(config=config, config_name=config.hydra.job.config_name)
    return returned
