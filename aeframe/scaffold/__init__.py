"""The template of a new plugin: files with the suffix ``.in`` and placeholders such as ``@name@``."""

from __future__ import annotations

import importlib.resources
from collections.abc import Mapping
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Literal

Kind = Literal["modality", "parts"]
_SUFFIX = ".in"


def rendered(kind: Kind, values: Mapping[str, str]) -> dict[Path, str]:
    """Return the contents of the files of a new plugin, by path relative to its folder.

    Args:
        kind: ``parts`` has a loss and an activation, ``modality`` also a modality and a dataset.
        values: The values of the placeholders, in file names too: ``{"name": ...}`` replaces ``@name@``.
    """
    root = importlib.resources.files("aeframe.scaffold")
    files: dict[Path, str] = {}
    for folder in ("both", kind):
        _collect(root.joinpath(folder), Path(), values, files)
    return dict(sorted(files.items()))


def _collect(folder: Traversable, target: Path, values: Mapping[str, str], files: dict[Path, str]) -> None:
    """Add the rendered templates of a folder, at any depth, to `files`."""
    for entry in folder.iterdir():
        if entry.is_dir():
            _collect(entry, target / entry.name, values, files)
        elif entry.name.endswith(_SUFFIX):
            path = target / entry.name.removesuffix(_SUFFIX)
            files[Path(_replace(str(path), values))] = _replace(entry.read_text(encoding="utf-8"), values)


def _replace(text: str, values: Mapping[str, str]) -> str:
    for placeholder, value in values.items():
        text = text.replace(f"@{placeholder}@", value)
    return text
