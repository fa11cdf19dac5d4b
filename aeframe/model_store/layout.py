"""What the writer and the reader of saved models share: format, paths, and the stored modules."""

from __future__ import annotations

import os
from pathlib import Path

from torch import nn

from aeframe.model.autoencoder import Autoencoder
from aeframe.parts.samplers.base import Sampler

FORMAT = 1
"""The version of the format: increased when an older aeframe cannot open what this one writes."""


def stored_modules(model: Autoencoder, sampler: Sampler) -> nn.ModuleDict:
    """Return the modules whose tensors a saved model stores, under their names in the file."""
    return nn.ModuleDict({"model": model, "sampler": sampler})


def sibling(folder: Path, suffix: str) -> Path:
    """Return the hidden folder next to `folder` that a save uses: ``.NAME.partial`` or ``.NAME.previous``."""
    return folder.parent / f".{folder.name}.{suffix}"


def resolved(path: Path) -> Path:
    """Return the absolute path with links resolved and ``~`` expanded."""
    return Path(os.path.realpath(path.expanduser()))
