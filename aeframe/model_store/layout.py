"""The format of saved models, shared by their writer and reader: version, paths, stored modules and parts."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from torch import nn

from aeframe.kinds import SAVED
from aeframe.model.autoencoder import Autoencoder
from aeframe.parts.samplers.base import Sampler

FORMAT = 1
"""The version of the format; increased when older versions of aeframe cannot open newly saved models."""


def stored_modules(model: Autoencoder, sampler: Sampler) -> nn.ModuleDict:
    """Return the modules whose tensors a saved model stores, under their names in the file."""
    return nn.ModuleDict({"model": model, "sampler": sampler})


def saved_parts(config: Mapping[str, Any]) -> Iterator[tuple[str, str | Mapping[str, Any]]]:
    """Yield kind and config of each part of a saved model, such as ``("loss", {"name": "mse"})``.

    Penalties and critics are several parts by label; one without a name has its label as name.
    """
    for kind in SAVED:
        part = config.get(kind.key)
        if kind.labelled:
            yield from ((kind.name, {"name": label, **options}) for label, options in (part or {}).items())
        elif part is not None:
            yield kind.name, part


def sibling(folder: Path, suffix: str) -> Path:
    """Return the hidden folder next to `folder` that saving uses: ``.NAME.partial`` or ``.NAME.previous``."""
    return folder.parent / f".{folder.name}.{suffix}"


def put_in_place(partial: Path, folder: Path) -> None:
    """Rename a completely written folder to `folder`; one that is there is removed only after that.

    If it is interrupted between its two renames, the previous folder is left as ``.NAME.previous``.
    """
    previous = sibling(folder, "previous")
    if folder.exists():
        shutil.rmtree(previous, ignore_errors=True)
        folder.rename(previous)
    partial.rename(folder)
    shutil.rmtree(previous, ignore_errors=True)


def resolved(path: Path) -> Path:
    """Return the absolute path with links resolved and ``~`` expanded."""
    return Path(os.path.realpath(path.expanduser()))
