"""Checks of a plugin as a whole."""

from __future__ import annotations

import importlib
import importlib.metadata
import json
import os
import subprocess
import sys
from types import ModuleType

from aeframe.errors import did_you_mean
from aeframe.hooks import HOOKS, PROJECT
from aeframe.registry import CORE, Plugin, registry
from aeframe.testing.check import check
from aeframe.testing.expectations import expect
from aeframe.testing.part_under_test import PLUGIN, PartUnderTest

# Packages that take long to import.
_HEAVY = ("torch", "lightning", "hydra", "numpy", "pydantic")
_PRINT_IMPORTED = f"""
import json, sys
from aeframe.registry import registry
registry()
print(json.dumps([name for name in {_HEAVY!r} if name in sys.modules]))
"""


@check("loads", "a plugin that cannot be loaded adds nothing", kinds=[PLUGIN])
def loads(part: PartUnderTest) -> None:
    """Expect the state ``ok`` in ``aeframe plugins``, and at least one registered name."""
    plugin = part.plugin
    expect(
        plugin.state == "ok",
        f"plugin '{plugin.name}' of {plugin.distribution} has the state '{plugin.state}': {plugin.reason}",
    )
    expect(bool(plugin.entries), f"plugin '{plugin.name}' of {plugin.distribution} registers nothing")


@check("light entry point", "listings and tab completion must be fast", kinds=[PLUGIN], depends_on=("loads",))
def light_entry_point(part: PartUnderTest) -> None:
    """Load the plugin in a new process, and expect that torch, Lightning, Hydra, numpy and pydantic are not imported.

    Register parts as ``"module:Class"``; the module is imported at the first use of the part.
    """
    others = [plugin.name for plugin in registry().plugins if plugin.name not in (part.plugin.name, "core")]
    environment = {
        **os.environ,
        "AEFRAME_DISABLE": ",".join(others),
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
    }
    done = subprocess.run(
        [sys.executable, "-c", _PRINT_IMPORTED], capture_output=True, text=True, env=environment, check=True
    )
    imported = json.loads(done.stdout.splitlines()[-1])
    expect(
        not imported,
        f"loading plugin '{part.plugin.name}' imports {', '.join(imported)}; import them in the modules of the parts, "
        "and register the parts as 'module:Object'",
    )


@check("hook names", "a misspelt hook is ignored without an error", kinds=[PLUGIN], depends_on=("loads",))
def hook_names(part: PartUnderTest) -> None:
    """Expect that each function called ``register_...`` is a hook, and has the marker ``@hookimpl``."""
    for name, value in vars(_module(part.plugin)).items():
        if not name.startswith("register_"):
            continue
        expect(name in HOOKS, f"there is no hook '{name}'{did_you_mean(name, HOOKS)}")
        expect(hasattr(value, f"{PROJECT}_impl"), f"hook '{name}' has no marker; decorate it with @hookimpl")


def _module(plugin: Plugin) -> ModuleType:
    """Return the module that implements the plugin's hooks."""
    if plugin.distribution == CORE:
        return importlib.import_module("aeframe.builtin")
    # A plugin that is a single file is imported under its own name; other plugins are entry points of distributions.
    if plugin.version == "file":
        return sys.modules[plugin.name]
    (point,) = importlib.metadata.entry_points(group=PROJECT, name=plugin.name)
    module: ModuleType = point.load()
    return module


CHECKS = (loads, light_entry_point, hook_names)
