"""The template of a new plugin: files with the suffix ``.in``, in which ``@name@`` and its like are replaced."""

from __future__ import annotations

import importlib.resources
from collections.abc import Mapping
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Literal

Kind = Literal["modality", "parts"]
_SUFFIX = ".in"


def rendered(kind: Kind, words: Mapping[str, str]) -> dict[Path, str]:
    """Return the files of a new plugin by their place in its folder.

    Args:
        kind: ``modality`` also has a kind of data of its own.
        words: What stands in the place of each ``@word@``, in names of files too.
    """
    root = importlib.resources.files("aeframe.scaffold")
    files: dict[Path, str] = {}
    for folder in ("both", kind):
        _collect(root.joinpath(folder), Path(), words, files)
    return dict(sorted(files.items()))


def _collect(folder: Traversable, at: Path, words: Mapping[str, str], files: dict[Path, str]) -> None:
    for each in folder.iterdir():
        if each.is_dir():
            _collect(each, at / each.name, words, files)
        elif each.name.endswith(_SUFFIX):
            place = at / each.name.removesuffix(_SUFFIX)
            files[Path(_filled(str(place), words))] = _filled(each.read_text(encoding="utf-8"), words)


def _filled(text: str, words: Mapping[str, str]) -> str:
    for word, value in words.items():
        text = text.replace(f"@{word}@", value)
    return text
