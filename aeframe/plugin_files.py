"""Plugins that are plain files, of ``--plugin FILE`` and of the working folder. Imports nothing heavy."""

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
_warned: set[tuple[str, str]] = set()
"""Files that were reported in this process, with the reason."""


@contextmanager
def plugin_files(argv: Sequence[str]) -> Iterator[list[str]]:
    """Load the file of every ``--plugin FILE`` of `argv` as a plugin inside, and yield the other arguments.

    The environment passes the files to workers and relaunched processes. Environment and registry are restored at the
    end.

    Raises:
        AeframeError: No file is given, there is no such file, or it is broken.
    """
    files, rest = _split(argv)
    if not files:
        yield rest
        return
    before = os.environ.get(VARIABLE)
    named = [path for path in (before or "").split(os.pathsep) if path]
    os.environ[VARIABLE] = os.pathsep.join(dict.fromkeys([*named, *map(str, files)]))
    registry.reset()
    try:
        _refuse_broken(files)
        yield rest
    finally:
        if before is None:
            del os.environ[VARIABLE]
        else:
            os.environ[VARIABLE] = before
        registry.reset()


def warn_of_untrusted_file() -> None:
    """Print a line on stderr, once in a process, where the working folder has a plugin file that is not trusted.

    The relaunched processes of a run on several devices print nothing.
    """
    for plugin in registry.registry().plugins:
        key = plugin.distribution, plugin.reason
        if plugin.state == "not trusted" and key not in _warned and os.environ.get("LOCAL_RANK", "0") == "0":
            _warned.add(key)
            print(f"{FILE_NAME} in this folder is not loaded; {plugin.reason}", file=sys.stderr)


def _split(argv: Sequence[str]) -> tuple[list[Path], list[str]]:
    """Return the files of ``--plugin``, and the other arguments."""
    files: list[Path] = []
    rest: list[str] = []
    remaining = iter(argv)
    for argument in remaining:
        if argument == "--plugin" or argument.startswith("--plugin="):
            value = argument.partition("=")[2] if "=" in argument else next(remaining, "")
            if not Path(value).is_file():
                raise AeframeError(f"--plugin expects a Python file, found {value!r}; write the path of one")
            files.append(Path(value).resolve())
        else:
            rest.append(argument)
    return files, rest


def _refuse_broken(files: Sequence[Path]) -> None:
    for plugin in registry.registry().plugins:
        if plugin.state == "failed" and Path(plugin.distribution) in files:
            raise AeframeError(f"plugin file '{plugin.distribution}' cannot be used: {plugin.reason}")
