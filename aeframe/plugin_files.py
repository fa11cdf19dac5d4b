"""Load the plugin files of ``--plugin FILE``, and warn of an untrusted one in the working folder.

A plugin file is a Python file that registers parts, such as a loss. Imports nothing heavy.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from aeframe import registry
from aeframe.errors import AeframeError
from aeframe.trust import FILE_NAME

VARIABLE = "AEFRAME_PLUGIN_FILES"
"""The environment variable with the paths of plugin files."""
_warned: set[tuple[str, str]] = set()
"""File and reason of each warning that this process has printed."""


@contextmanager
def plugin_files(argv: Sequence[str]) -> Iterator[list[str]]:
    """Register the files of ``--plugin FILE`` in `argv` as plugins inside, and yield the other arguments.

    The files are added to an environment variable, from which the other processes of a run read them. Environment and
    registry are restored afterwards.

    Raises:
        AeframeError: There is no such file, or loading it fails.
    """
    files, other_arguments = _split(argv)
    if not files:
        yield other_arguments
        return
    previous = os.environ.get(VARIABLE)
    os.environ[VARIABLE] = os.pathsep.join(dict.fromkeys([*named_files(), *map(str, files)]))
    registry.reset()
    try:
        _check_loaded(files)
        yield other_arguments
    finally:
        if previous is None:
            del os.environ[VARIABLE]
        else:
            os.environ[VARIABLE] = previous
        registry.reset()


def named_files() -> list[str]:
    """Return the absolute paths of the files that ``--plugin`` named."""
    return [path for path in os.environ.get(VARIABLE, "").split(os.pathsep) if path]


def warn_of_untrusted_file() -> None:
    """Print a line on stderr, once in a process, if the working folder has a plugin file that is not trusted.

    In a run on several devices, only the first process prints the line.
    """
    for plugin in registry.registry().plugins:
        # The distribution of a plugin file is its path.
        key = plugin.distribution, plugin.reason
        if plugin.state == "not trusted" and key not in _warned and os.environ.get("LOCAL_RANK", "0") == "0":
            _warned.add(key)
            print(f"{FILE_NAME} in this folder is not loaded; {plugin.reason}", file=sys.stderr)


def _split(argv: Sequence[str]) -> tuple[list[Path], list[str]]:
    """Return the files of ``--plugin``, and the other arguments."""
    files: list[Path] = []
    other_arguments: list[str] = []
    remaining = iter(argv)
    for argument in remaining:
        if argument == "--plugin" or argument.startswith("--plugin="):
            value = argument.partition("=")[2] if "=" in argument else next(remaining, "")
            if not Path(value).is_file():
                raise AeframeError(f"--plugin expects a Python file, found {value!r}; write the path of one")
            files.append(Path(value).resolve())
        else:
            other_arguments.append(argument)
    return files, other_arguments


def _check_loaded(files: Sequence[Path]) -> None:
    """Raise an error if one of the plugin files failed to load."""
    for plugin in registry.registry().plugins:
        if plugin.state == "failed" and Path(plugin.distribution) in files:
            raise AeframeError(f"plugin file '{plugin.distribution}' cannot be used: {plugin.reason}")
