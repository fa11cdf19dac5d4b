"""Everything that is used of Hydra and OmegaConf without being documented. Written for Hydra 1.3.

No other file imports from ``hydra._internal``, so that a new version of Hydra is checked in one place.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager

from hydra import version
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.config_repository import IConfigRepository
from hydra._internal.config_search_path_impl import ConfigSearchPathImpl
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra._internal.hydra import Hydra
from hydra._internal.utils import get_args_parser
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.utils import JobRuntime, setup_globals
from hydra.version import VersionBase
from omegaconf.basecontainer import BaseContainer

__all__ = [
    "BasicSweeper",
    "ConfigLoaderImpl",
    "ConfigSearchPathImpl",
    "Hydra",
    "IConfigRepository",
    "get_args_parser",
    "global_state",
]

VERSION_BASE = "1.3"
"""The behaviour of Hydra that options are composed with."""


_RESOLVERS = ("now", "hydra", "python_version")
"""What Hydra registers with OmegaConf, for the whole process."""


@contextmanager
def global_state(name: str) -> Iterator[None]:
    """Set Hydra's process-wide state for a job called `name`, and restore what was there before.

    Hydra keeps the job's name, the version base, the running application, its config and three of OmegaConf's
    resolvers as globals. A program that is a Hydra application itself finds them unchanged.
    """
    runtime, base = JobRuntime.instance(), VersionBase.instance()
    application, config = GlobalHydra.instance(), HydraConfig.instance()
    before = (copy.deepcopy(runtime.conf), base.version_base, application.hydra, config.cfg)
    resolvers = {each: BaseContainer._resolvers.get(each) for each in _RESOLVERS}
    try:
        version.setbase(VERSION_BASE)
        setup_globals()
        runtime.set("name", name)
        yield
    finally:
        runtime.conf, base.version_base, application.hydra, config.cfg = before
        for each, resolver in resolvers.items():
            if resolver is None:
                BaseContainer._resolvers.pop(each, None)
            else:
                BaseContainer._resolvers[each] = resolver
