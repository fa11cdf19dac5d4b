"""One loader for the compositions of a process, as long as no option file and no registered part changes."""

from __future__ import annotations

import importlib.resources
from pathlib import Path
from typing import Any

from aeframe.experiment.composition.loader import Loader
from aeframe.registry import registry

_MAX_CHOICES = 64
"""The number of composed choices in a loader after which it is replaced, since each holds a whole config."""
_UNSEEN = (b"searchpath", b"oc.env")
"""Strings of option files that read more than those files: other folders, or the environment."""
_shared: tuple[tuple[Any, ...], Loader] | None = None


def shared_loader(config_dir: Path | None, overrides: tuple[str, ...]) -> Loader:
    """Return the loader of the last call if it still composes what a new one would; otherwise a new one.

    A loader composes each set of choices once, so that runs which differ only in values are composed in half the time.

    Args:
        config_dir: The folder of the user's own option files; by default ``./configs``, if present.
        overrides: The overrides that it will compose; those that add a folder of options need a new loader.

    Raises:
        AeframeError: See `aeframe.experiment.composition.sources.search_path`.
    """
    global _shared
    state = None if any("searchpath" in line for line in overrides) else _state(config_dir)
    if state is None:
        return Loader(config_dir)
    if _shared is None or _shared[0] != state or _shared[1].num_composed >= _MAX_CHOICES:
        _shared = None
        _shared = state, Loader(config_dir)
    return _shared[1]


def _state(config_dir: Path | None) -> tuple[Any, ...] | None:
    """Return what a composition depends on besides its overrides; None if that cannot be listed.

    The user's files are compared by their content, since an editor may write a file twice within the resolution of its
    time stamp. Those of packages are compared by time and size.
    """
    if config_dir is not None and not config_dir.is_dir():
        # The loader raises an error that names the folder.
        return None
    user_folder = (config_dir or Path("configs")).resolve()
    user_files = [(path, path.read_bytes()) for path in _yaml_files(user_folder)]
    if any(unseen in content for _, content in user_files for unseen in _UNSEEN):
        return None
    package_files: list[tuple[Path, int, int]] = []
    for entry in registry().entries("config"):
        try:
            folder = importlib.resources.files(entry.target)
        except ImportError:
            # The loader raises an error that names the plugin.
            return None
        if not isinstance(folder, Path):
            return None
        for path in _yaml_files(folder):
            status = path.stat()
            package_files.append((path, status.st_mtime_ns, status.st_size))
    return (
        user_folder if user_folder.is_dir() else None,
        registry(),
        tuple(registry().entries()),
        user_files,
        package_files,
    )


def _yaml_files(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.yaml"))
