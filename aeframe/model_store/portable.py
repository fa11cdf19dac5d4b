"""A copy of a saved model for others, without paths of the machine it was trained on."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

from aeframe.errors import AeframeError
from aeframe.model_store.card import as_markdown, with_license
from aeframe.model_store.files import write_text, write_yaml
from aeframe.model_store.integrity import file_hashes
from aeframe.model_store.locations import MODEL_FILES
from aeframe.plain_files import read_mapping

CARD = "README.md"
"""The name of the card in a copy: the page that a hub shows."""
_LICENSE = re.compile(r"[a-z0-9][a-z0-9.+-]{0,63}")


def write_portable_copy(folder: Path, target: Path, *, license: str | None) -> list[str]:
    """Copy the files of a saved model to a new folder, and return the paths that were shortened.

    Absolute paths of data in the config, the record of the data, the state of the modality and the card are replaced
    by their last component, and hashes are computed anew. The card becomes ``README.md``.

    Args:
        folder: The folder of the saved model.
        target: The new folder.
        license: The identifier of a licence for the card; None for that of the card, or else ``unknown``.

    Raises:
        AeframeError: The licence is no identifier.
    """
    if license is not None and _LICENSE.fullmatch(license) is None:
        raise AeframeError(f"license expects an identifier such as apache-2.0 or cc-by-4.0, found '{license}'")
    config = read_mapping(folder / "config.yaml")
    plain = {name: read_mapping(folder / name) for name in ("data.json", "modality.json") if (folder / name).is_file()}
    paths = sorted({*_paths(config), *_paths(plain)}, key=len, reverse=True)
    target.mkdir()
    for name in MODEL_FILES:
        if (folder / name).is_file() and name not in ("config.yaml", "card.md"):
            shutil.copyfile(folder / name, target / name)
    for name, values in plain.items():
        shortened = _shortened(values, paths)
        if shortened != values:
            write_text(target / name, json.dumps(shortened, indent=2, ensure_ascii=False) + "\n")
    write_yaml(target / "config.yaml", {**_shortened(config, paths), "sha256": file_hashes(target)})
    card = folder / "card.md" if (folder / "card.md").is_file() else folder / CARD
    if card.is_file():
        text = _shortened(card.read_text(encoding="utf-8"), [*paths, *(as_markdown(path) for path in paths)])
        write_text(target / CARD, text if license is None else with_license(text, license))
    return paths


def _paths(value: Any) -> Iterator[str]:
    """Yield the strings in nested values that are absolute paths."""
    if isinstance(value, Mapping):
        for item in value.values():
            yield from _paths(item)
    elif isinstance(value, list):
        for item in value:
            yield from _paths(item)
    elif isinstance(value, str) and len(value) > 1 and "\n" not in value:
        is_path = value.startswith("~") or PurePosixPath(value).is_absolute() or PureWindowsPath(value).is_absolute()
        if is_path:
            yield value


def _shortened(value: Any, paths: list[str]) -> Any:
    """Return nested values in whose strings each of some paths is replaced by its last component."""
    if isinstance(value, Mapping):
        return {key: _shortened(item, paths) for key, item in value.items()}
    if isinstance(value, list):
        return [_shortened(item, paths) for item in value]
    if isinstance(value, str):
        for path in paths:
            value = value.replace(path, re.split(r"[/\\]", path.rstrip("/\\"))[-1] or "data")
    return value
