"""Plugins that are plain files, named on a command line with ``--plugin FILE``. Imports nothing heavy."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from aeframe import registry
from aeframe.errors import AeframeError

VARIABLE = "AEFRAME_PLUGIN_FILES"


def take_plugin_files(argv: Sequence[str]) -> list[str]:
    """Take every ``--plugin FILE`` out of `argv`, load the files as plugins, and return what is left.

    The environment carries them on, so that workers and relaunched processes find the same plugins.

    Raises:
        AeframeError: No file is given, there is no such file, or it is broken: it was asked for by name.
    """
    files: list[Path] = []
    rest: list[str] = []
    words = iter(argv)
    for word in words:
        if word == "--plugin" or word.startswith("--plugin="):
            value = word.partition("=")[2] if "=" in word else next(words, "")
            if not Path(value).is_file():
                raise AeframeError(f"--plugin expects a Python file, found {value!r}; give the path of one")
            files.append(Path(value).resolve())
        else:
            rest.append(word)
    if files:
        before = [path for path in os.environ.get(VARIABLE, "").split(os.pathsep) if path]
        named = list(dict.fromkeys([*before, *map(str, files)]))
        os.environ[VARIABLE] = os.pathsep.join(named)
        registry.reset()
        _refuse_broken(files)
    return rest


def _refuse_broken(files: Sequence[Path]) -> None:
    for plugin in registry.registry().plugins:
        if plugin.state == "failed" and Path(plugin.distribution) in files:
            raise AeframeError(f"plugin file '{plugin.distribution}' cannot be used: {plugin.reason}")
