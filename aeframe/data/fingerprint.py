"""Fingerprints of data: what a run stores of the data it was trained on, to detect that they changed."""

from __future__ import annotations

import hashlib
import json
import types
import typing
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor

from aeframe.data.folders import visible_files
from aeframe.data.modality import Dataset, Splits
from aeframe.errors import AeframeError
from aeframe.factory import path_options, signature
from aeframe.registry import registry
from aeframe.types import DataSpec

WHOLE = 1 << 26
"""Bytes of a file that are hashed whole: 64 MiB. Of a larger file, `BLOCKS` blocks and the size are hashed."""
BLOCKS, BLOCK = 64, 1 << 18


@dataclass(frozen=True, slots=True)
class DataRecord:
    """What a run stores of its data."""

    fingerprint: dict[str, Any] = field(default_factory=dict)
    """See `fingerprint`; empty for a model that was saved without."""
    split: dict[str, Tensor] = field(default_factory=dict)
    """The keys ``(n,)`` of the samples of each split (see `SplitRecord`); empty where the dataset records none."""

    @classmethod
    def of(cls, config: Mapping[str, Any], dataset: Dataset, splits: Splits, spec: DataSpec) -> DataRecord:
        """Return the record of data that were prepared.

        Args:
            config: The ``data`` section of a run's config, with absolute paths.
            dataset: Built from `config`, after `Modality.prepare`.
            splits: As `Modality.prepare` returned them.
            spec: Of the data.
        """
        return cls(fingerprint(config, dataset, splits, spec), dict(dataset.split_record.drawn))

    def use_split(self, dataset: Dataset) -> None:
        """Let a dataset return the split of this record when it is loaded, where the record has one."""
        dataset.split_record.saved = self.split or None


def fingerprint(config: Mapping[str, Any], dataset: Dataset, splits: Splits, spec: DataSpec) -> dict[str, Any]:
    """Return what identifies data, in plain values.

    Args:
        config: The ``data`` section of a run's config.
        dataset: Built from `config`, and loaded.
        splits: What was made of it.
        spec: Of the data.

    Returns:
        ``name`` of the dataset, ``rows`` of each split, ``samples`` that the data have in all, ``shape`` of one, and
        for each option that is a path ``files``: the ``path``, its size in ``bytes``, for a folder the ``count`` of its
        files, and the ``sha256`` of the bytes (of a file larger than `WHOLE`: of sampled blocks; of a folder: of the
        names and sizes of its files).
    """
    rows = {"train": len(splits.train), "validation": len(splits.validation), "test": len(splits.test)}
    listed = dataset.files()
    return {
        "name": config["name"],
        "shape": list(spec.shape),
        "rows": rows,
        "samples": dataset.split_record.num_samples or sum(rows.values()),
        "files": {
            option: _many(str(path), [(file.name, file) for file in listed])
            if listed and option == "path"
            else _place(path)
            for option, path in paths_of(config).items()
        },
    }


def compare(saved: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Return a sentence for each difference of two fingerprints; data at another place are no difference."""
    if not saved:
        return []
    name, found = f"data '{now['name']}'", []
    if saved["name"] != now["name"]:
        return [f"{name} are not those of training, which were '{saved['name']}'"]
    counts = f"{saved['samples']} rows then, {now['samples']} now"
    for option, then in saved["files"].items():
        here = now["files"].get(option)
        if here is None or here["sha256"] == then["sha256"]:
            continue
        what = name if option == "path" else f"{name}, data.{option},"
        if saved["samples"] != now["samples"]:
            detail = counts
        elif here.get("count") != then.get("count"):
            detail = f"{then.get('count', 1)} files then, {here.get('count', 1)} now"
        else:
            detail = f"other bytes in as many rows ({now['samples']})"
        found.append(f"{what} at '{here['path']}' changed since training: {detail}")
    if not found and saved["samples"] != now["samples"]:
        found.append(f"{name} changed since training: {counts}")
    if saved["shape"] != now["shape"]:
        found.append(f"{name} have samples of shape {tuple(now['shape'])}, and {tuple(saved['shape'])} in training")
    return found


def paths_of(config: Mapping[str, Any]) -> dict[str, Path]:
    """Return the paths that the ``data`` section of a config names, absolute and with ``~`` expanded, by option.

    A value that is a URL is left out; so is one that does not exist, for an option that may also be a name (annotated
    ``Path | str``).
    """
    options = signature(registry().load("dataset", config["name"])).options
    found = {}
    for name in path_options("dataset", config["name"]):
        value = config.get(name)
        if value is None or "://" in str(value):
            continue
        path = _absolute(Path(value))
        if path.exists() or str not in _members(options[name].annotation):
            found[name] = path
    return found


def resolved_paths(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return a run's config with absolute paths in its ``data`` section (see `paths_of`)."""
    data = config["data"]
    return {**config, "data": {**data, **{name: str(path) for name, path in paths_of(data).items()}}}


def other_place(config: Mapping[str, Any], places: Iterable[str]) -> dict[str, Any]:
    """Return the ``data`` section of a config with other paths.

    Args:
        config: The section.
        places: ``PATH`` for the option ``path`` (or the only one that is a path), or ``OPTION=PATH``.

    Raises:
        AeframeError: A dataset without such an option.
    """
    options, name = path_options("dataset", config["name"]), config["name"]
    changed = dict(config)
    for place in places:
        option, equals, path = place.partition("=")
        if not equals or option not in options:
            # A path may have an equals sign in it.
            option, path = ("path" if "path" in options or not options else options[0]), place
        if option not in options:
            raise AeframeError(f"data '{name}' are read from no path, found --data {place}; leave --data out")
        changed[option] = str(_absolute(Path(path)))
    return changed


def described(record: Mapping[str, Any]) -> str:
    """Return how a sentence names the data of a fingerprint: ``data 'table' at '/x/d.npy'``."""
    paths = [each["path"] for each in record["files"].values()]
    return f"data '{record['name']}'" + (" at " + " and ".join(f"'{path}'" for path in paths) if paths else "")


def _absolute(path: Path) -> Path:
    absolute = path.expanduser().absolute()
    # Links stay as they are named, except below '..', which means the folder above where a link leads to.
    return absolute.resolve() if ".." in absolute.parts else absolute


def _members(annotation: Any) -> tuple[Any, ...]:
    """Return the members of a union, or the annotation itself."""
    union = typing.get_origin(annotation) in (typing.Union, types.UnionType)
    return typing.get_args(annotation) if union else (annotation,)


def _place(path: Path) -> dict[str, Any]:
    if path.is_dir():
        return _many(str(path), [(file.relative_to(path).as_posix(), file) for file in _visible(path)])
    if not path.is_file():
        return {"path": str(path), "bytes": 0, "sha256": ""}
    return {"path": str(path), "bytes": path.stat().st_size, "sha256": _hash(path)}


def _many(path: str, files: Iterable[tuple[str, Path]]) -> dict[str, Any]:
    sizes = [(name, file.stat().st_size) for name, file in files]
    return {
        "path": path,
        "bytes": sum(size for _, size in sizes),
        "count": len(sizes),
        "sha256": hashlib.sha256(json.dumps(sizes).encode()).hexdigest(),
    }


def _visible(folder: Path) -> Iterator[Path]:
    """Yield the files of a folder at any depth, sorted; hidden ones are left out."""
    yield from sorted(root / name for root, names in visible_files(folder) for name in names)


def _hash(path: Path) -> str:
    size = path.stat().st_size
    with path.open("rb") as file:
        if size <= WHOLE:
            return hashlib.file_digest(file, "sha256").hexdigest()
        digest = hashlib.sha256(str(size).encode())
        for number in range(BLOCKS):
            file.seek((size - BLOCK) * number // (BLOCKS - 1))
            digest.update(file.read(BLOCK))
        return digest.hexdigest()
