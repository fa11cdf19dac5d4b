"""The zoo: a folder of small trained models with an index of their hashes, opened as ``zoo:NAME``.

``index.json`` has by name what each model is and the SHA-256 of its files: ``{"models": {NAME: {"summary", "data",
"metrics", "sha256": {FILE: HASH}}}}``.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from aeframe.errors import AeframeError, did_you_mean
from aeframe.model_store.files import write_text
from aeframe.model_store.integrity import sha256_of
from aeframe.plain_files import read_mapping

PLACE = "AEFRAME_ZOO"
"""The environment variable with the folder of the zoo, or its ``file://`` URL."""
_INDEX = "index.json"


def zoo_model(place: Path, name: str) -> Path:
    """Return the folder of a model of the zoo, after comparing its files with the index.

    Args:
        place: The folder of the zoo.
        name: The name of the model.

    Raises:
        AeframeError: There is no index, no such model, or a file is missing, added or changed.
    """
    models = _models(place)
    if name not in models:
        raise AeframeError(
            f"the zoo '{place}' has no model '{name}'{did_you_mean(name, models)}; it has {', '.join(sorted(models))}"
        )
    folder, entry = place / name, models[name]
    hashes = entry.get("sha256") if isinstance(entry, Mapping) else None
    if not isinstance(hashes, Mapping) or not hashes:
        raise AeframeError(f"'{place / _INDEX}' has no hashes of the model '{name}'; copy the zoo again")
    found = {path.name for path in folder.iterdir()} if folder.is_dir() else set[str]()
    for file in sorted(found | set(hashes)):
        if file not in found:
            raise AeframeError(f"there is no file '{folder / file}', which the zoo's index lists; copy the zoo again")
        if file not in hashes:
            raise AeframeError(f"'{folder / file}' is not in the index of the zoo; remove it, or copy the zoo again")
        sha256 = sha256_of(folder / file)
        if sha256 != hashes[file]:
            raise AeframeError(
                f"'{folder / file}' is damaged: its SHA-256 is {sha256[:12]}..., and {str(hashes[file])[:12]}... in "
                "the index of the zoo; copy the zoo again"
            )
    return folder


def add_to_index(place: Path, name: str, *, summary: str, data: str, metrics: Mapping[str, float]) -> None:
    """Write the hashes of a model that was saved in the zoo to its index.

    Args:
        place: The folder of the zoo.
        name: The model, a folder in it.
        summary: What the model is, in one line.
        data: Its training data, and their licence.
        metrics: Test metrics by name.
    """
    models = _models(place) if (place / _INDEX).exists() else {}
    hashes = {path.name: sha256_of(path) for path in sorted((place / name).iterdir())}
    models[name] = {"summary": summary, "data": data, "metrics": dict(metrics), "sha256": hashes}
    write_text(place / _INDEX, json.dumps({"models": dict(sorted(models.items()))}, indent=1) + "\n")


def configured_place(name: str) -> str:
    """Return the address in the environment variable of the zoo; `name` is the model, for the error message.

    Raises:
        AeframeError: The variable is not set.
    """
    place = os.environ.get(PLACE, "")
    if not place:
        raise AeframeError(
            f"'zoo:{name}' needs the folder of the zoo, and {PLACE} is not set; set it to a folder that zoo/build.py "
            "has written, or to its file:// URL"
        )
    return place


def _models(place: Path) -> dict[str, Any]:
    index = place / _INDEX
    if not index.is_file():
        raise AeframeError(
            f"'{place}' is no zoo: there is no {_INDEX} in it; set {PLACE} to a folder that zoo/build.py has written"
        )
    models = read_mapping(index).get("models")
    if not isinstance(models, dict):
        raise AeframeError(f"'{index}' has no models by name; copy the zoo again")
    return models
