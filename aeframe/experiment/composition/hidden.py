"""Find the option files of the user that a run uses, such as ``configs/model/vae.yaml``."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from aeframe.experiment.composition.loader import Loader
from aeframe.experiment.composition.sources import USER
from aeframe.plugin_files import named_files


def hidden_options(loader: Loader, overrides: Sequence[str]) -> list[str]:
    """Return the files of the user's folder that a run uses instead of packaged options of the same name.

    ``configs/model/vae.yaml`` hides the recipe ``vae``, ``configs/loss/mse.yaml`` the registered loss ``mse``, and
    ``configs/train.yaml`` the choices of a run without overrides.

    Args:
        loader: The loader that composed the config of the run.
        overrides: The overrides that the config was composed from.
    """
    sources = loader.sources()
    user = next((source for source in sources if source.provider == USER), None)
    if user is None:
        return []
    packaged = [source for source in sources if source.provider != USER]
    folder = Path(user.path.removeprefix("file://"))
    hiding = {option for option in _options(folder) if any(source.is_config(option) for source in packaged)}
    if not hiding:
        # The options that a run uses take longer to find than all files of the folder.
        return []
    return [_shown(folder / f"{option}.yaml") for option in loader.used_options(overrides) if option in hiding]


def command_flags(loader: Loader, overrides: Sequence[str]) -> list[str]:
    """Return the flags that a command needs beside its overrides to compose the same config in another folder.

    ``--plugin=FILE`` for each plugin file, and ``--config-dir=FOLDER`` if an option file of the user is used.
    """
    flags = [f"--plugin={path}" for path in named_files()]
    user = next((source for source in loader.sources() if source.provider == USER), None)
    if user is not None and any(user.is_config(option) for option in loader.used_options(overrides)):
        flags.append(f"--config-dir={user.path.removeprefix('file://')}")
    return flags


def _options(folder: Path) -> Iterator[str]:
    """Yield the paths of the option files in a folder, such as ``model/vae``; each folder is visited once."""
    visited = {os.path.realpath(folder)}
    for parent, subfolders, files in os.walk(folder, followlinks=True):
        real = {name: os.path.realpath(os.path.join(parent, name)) for name in subfolders}
        subfolders[:] = [name for name in subfolders if real[name] not in visited]
        visited.update(real.values())
        for name in files:
            if name.endswith(".yaml"):
                yield (Path(parent) / name.removesuffix(".yaml")).relative_to(folder).as_posix()


def _shown(file: Path) -> str:
    """Return a path relative to the working folder, if it is below that."""
    folder = Path.cwd()
    return str(file.relative_to(folder) if file.is_relative_to(folder) else file)
