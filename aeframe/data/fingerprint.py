"""Fingerprints of data: a run saves one, so that later commands can detect changed data."""

from __future__ import annotations

import hashlib
import json
import types
import typing
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from aeframe.data.conditions import ConditionCoding
from aeframe.data.folders import visible_files
from aeframe.data.modality import Dataset, Source, Splits
from aeframe.errors import AeframeError
from aeframe.factory import path_options, signature
from aeframe.registry import registry
from aeframe.types import DataSpec

MAX_HASHED_BYTES = 1 << 26
"""Files up to 64 MiB are hashed completely. Of larger files the size and `NUM_BLOCKS` equidistant blocks are hashed."""
NUM_OBSERVED = 1024
"""Training samples whose lowest and highest value are stored."""
MEMORY = "memory"
"""The ``path`` of samples that were in the memory of a program."""
NUM_BLOCKS, BLOCK_BYTES = 64, 1 << 18


@dataclass(frozen=True, slots=True)
class DataRecord:
    """What a run saves about its data: a fingerprint, the split and the names of the labels."""

    fingerprint: dict[str, Any] = field(default_factory=dict)
    """See `fingerprint`; empty for a model that was saved without one."""
    split: dict[str, Tensor] = field(default_factory=dict)
    """Keys ``(n,)`` of the samples of each split (see `SplitRecord`); empty for datasets with fixed splits."""
    condition: ConditionCoding | None = None
    """How the conditions of samples in memory become numbers; None for any other data."""
    value_range: tuple[float, float] | None = None
    """The lowest and highest value of training samples after preparation, see `observed_range`."""
    label_names: tuple[str, ...] | None = None
    """The names of the integer labels 0, 1, ...; None for data whose labels have no names."""
    spec: DataSpec | None = None
    """The spec of the model's data, which those of a resumed run must fit; None for a record without one."""
    notes: tuple[str, ...] = ()
    """What was changed, left out or guessed while the data were read, see `aeframe.data.notes`."""
    num_skipped: int = 0
    """Number of bad files and rows that were left out, with ``on_error=skip``."""

    @classmethod
    def of(cls, config: Mapping[str, Any], dataset: Dataset, splits: Splits, spec: DataSpec) -> DataRecord:
        """Return the record of a prepared dataset.

        Args:
            config: The ``data`` section of the run's config, with absolute paths.
            dataset: The dataset built from `config`, after `Modality.prepare`.
            splits: What `Modality.prepare` returned.
            spec: The spec of the data.
        """
        return cls(
            fingerprint(config, dataset, splits, spec),
            dict(dataset.split_record.keys),
            dataset.condition,
            observed_range(splits.train, spec),
            splits.label_names,
            spec,
            tuple(splits.notes),
            len(splits.skipped),
        )

    def use_split(self, dataset: Dataset) -> None:
        """Make a dataset use the split and the coding of conditions of this record, if it has them."""
        dataset.split_record.saved = self.split or None
        if self.condition is not None:
            dataset.condition = self.condition


def observed_range(train: Source, spec: DataSpec) -> tuple[float, float] | None:
    """Return the lowest and the highest value of some prepared training samples, for numbers or counts in memory.

    Other domains have bounds, which are checked anyway.
    """
    if spec.domain.kind not in ("real", "count") or not train.in_memory:
        return None
    rows = torch.linspace(0, len(train) - 1, min(len(train), NUM_OBSERVED)).round().long().unique()
    with torch.random.fork_rng(devices=[]):
        batch = train.batch(rows)
    x = batch.masked_x()
    return float(x.min()), float(x.max())


def fingerprint(config: Mapping[str, Any], dataset: Dataset, splits: Splits, spec: DataSpec) -> dict[str, Any]:
    """Return values that identify the data, which JSON can represent.

    Args:
        config: The ``data`` section of a run's config.
        dataset: The dataset built from `config`, loaded.
        splits: Its splits.
        spec: Its spec.

    Returns:
        ``name`` of the dataset, ``rows`` (number in each split), ``samples`` (number in the dataset, in a split or
        not), ``shape`` of a sample, and ``files``: for each option that is a path, the ``path``, size in ``bytes`` and
        ``sha256``, and for a folder also the ``count`` of its files. The SHA-256 of a large file is computed from
        sampled blocks (see `MAX_HASHED_BYTES`), that of a folder from the names and sizes of its files.
    """
    rows = {"train": len(splits.train), "validation": len(splits.validation), "test": len(splits.test)}
    dataset_files = dataset.files()
    return {
        "name": config["name"],
        "shape": list(spec.shape),
        "rows": rows,
        "samples": dataset.split_record.num_samples or sum(rows.values()),
        "files": {
            option: _of_files(str(path), [(file.name, file) for file in dataset_files])
            if dataset_files and option == "path"
            else _of_path(path)
            for option, path in paths_of(config).items()
        }
        | dict(dataset.content()),
    }


def compare(saved: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Return a sentence for each difference between two fingerprints. Paths are not compared: data may be moved."""
    if not saved:
        return []
    name = f"data '{now['name']}'"
    if saved["name"] != now["name"]:
        return [f"{name} are not those of training, which were '{saved['name']}'"]
    differences = []
    counts = f"{saved['samples']} rows then, {now['samples']} now"
    for option, files_then in saved["files"].items():
        files_now = now["files"].get(option)
        if files_now is None or files_now["sha256"] == files_then["sha256"]:
            continue
        if files_now["path"] == MEMORY:
            detail = counts
            if saved["samples"] == now["samples"]:
                detail = f"other values in as many rows ({now['samples']})"
            differences.append(f"the samples of the {option} split are not those of training: {detail}")
            continue
        what = name if option == "path" else f"{name}, data.{option},"
        if saved["samples"] != now["samples"]:
            detail = counts
        elif files_now.get("count") != files_then.get("count"):
            detail = f"{files_then.get('count', 1)} files then, {files_now.get('count', 1)} now"
        else:
            detail = f"other bytes in as many rows ({now['samples']})"
        differences.append(f"{what} at '{files_now['path']}' changed since training: {detail}")
    if not differences and saved["samples"] != now["samples"]:
        differences.append(f"{name} changed since training: {counts}")
    if saved["shape"] != now["shape"]:
        shape_now, shape_then = tuple(now["shape"]), tuple(saved["shape"])
        differences.append(f"{name} have samples of shape {shape_now}, and {shape_then} in training")
    return differences


def paths_of(config: Mapping[str, Any]) -> dict[str, Path]:
    """Return the paths in the ``data`` section of a config by option name, absolute and with ``~`` expanded.

    URLs are left out. An option annotated ``Path | str`` may also be a name: it is left out if no such path exists.
    """
    options = signature(registry().load("dataset", config["name"])).options
    paths = {}
    for name in path_options("dataset", config["name"]):
        value = config.get(name)
        if value is None or "://" in str(value):
            continue
        path = _absolute(Path(value))
        if path.exists() or str not in _union_members(options[name].annotation):
            paths[name] = path
    return paths


def resolved_paths(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return a run's config with the paths in its ``data`` section made absolute (see `paths_of`)."""
    data = config["data"]
    return {**config, "data": {**data, **{name: str(path) for name, path in paths_of(data).items()}}}


def replace_paths(config: Mapping[str, Any], replacements: Iterable[str]) -> dict[str, Any]:
    """Return the ``data`` section of a config with other paths (command-line option ``--data``).

    Args:
        config: The section.
        replacements: ``PATH`` for the option ``path`` (or the only one that is a path), or ``OPTION=PATH``.

    Raises:
        AeframeError: The dataset has no such option.
    """
    options, name = path_options("dataset", config["name"]), config["name"]
    changed = dict(config)
    for replacement in replacements:
        option, equals, path = replacement.partition("=")
        if not equals or option not in options:
            # A path may contain an equals sign.
            option, path = ("path" if "path" in options or not options else options[0]), replacement
        if option not in options:
            raise AeframeError(f"data '{name}' have no path, found --data {replacement}; leave --data out")
        changed[option] = str(_absolute(Path(path)))
    return changed


def describe_fingerprint(record: Mapping[str, Any]) -> str:
    """Return how messages name the data of a fingerprint: ``data 'numbers' at '/x/d.npy'``."""
    paths = [files["path"] for files in record["files"].values()]
    return f"data '{record['name']}'" + (" at " + " and ".join(f"'{path}'" for path in paths) if paths else "")


def _absolute(path: Path) -> Path:
    absolute = path.expanduser().absolute()
    # Keep symbolic links, unless '..' follows one: it means the parent of the link's target.
    return absolute.resolve() if ".." in absolute.parts else absolute


def _union_members(annotation: Any) -> tuple[Any, ...]:
    """Return the members of a union, or the annotation itself."""
    union = typing.get_origin(annotation) in (typing.Union, types.UnionType)
    return typing.get_args(annotation) if union else (annotation,)


def _of_path(path: Path) -> dict[str, Any]:
    """Return the entry of one path under ``files``, see `fingerprint`."""
    if path.is_dir():
        return _of_files(str(path), [(file.relative_to(path).as_posix(), file) for file in _visible(path)])
    if not path.is_file():
        return {"path": str(path), "bytes": 0, "sha256": ""}
    return {"path": str(path), "bytes": path.stat().st_size, "sha256": _hash(path)}


def _of_files(path: str, files: Iterable[tuple[str, Path]]) -> dict[str, Any]:
    """Return the entry of a path that holds several files, given with the names to hash."""
    sizes = [(name, file.stat().st_size) for name, file in files]
    return {
        "path": path,
        "bytes": sum(size for _, size in sizes),
        "count": len(sizes),
        "sha256": hashlib.sha256(json.dumps(sizes).encode()).hexdigest(),
    }


def _visible(folder: Path) -> Iterator[Path]:
    """Yield the files of a folder at any depth, sorted; hidden files are left out."""
    yield from sorted(root / name for root, names in visible_files(folder) for name in names)


def _hash(path: Path) -> str:
    """Return the SHA-256 of a file, of sampled blocks if it is large."""
    size = path.stat().st_size
    with path.open("rb") as file:
        if size <= MAX_HASHED_BYTES:
            return hashlib.file_digest(file, "sha256").hexdigest()
        digest = hashlib.sha256(str(size).encode())
        for number in range(NUM_BLOCKS):
            file.seek((size - BLOCK_BYTES) * number // (NUM_BLOCKS - 1))
            digest.update(file.read(BLOCK_BYTES))
        return digest.hexdigest()
