"""Folders of files, one for each sample: which are there, which split each is of, and which class."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor

from aeframe.data.split_record import keys_of_names
from aeframe.errors import AeframeError

_SPLIT_NAMES = {
    "train": "train",
    "training": "train",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "test": "test",
}

File = TypeVar("File")
Opened = TypeVar("Opened")


@dataclass(frozen=True, slots=True)
class Found:
    """The samples of one split."""

    paths: list[Path]
    labels: Tensor | None
    """``(N,)`` int64; None where the folder has no classes."""


def visible_files(folder: Path) -> Iterator[tuple[Path, list[str]]]:
    """Go through a folder and those in it, and yield each with the names of its files; what is hidden is passed over.

    Links are followed, and a folder that they lead to twice comes once.
    """
    seen: set[str] = set()
    # Class folders are often links, which may also run in circles.
    for root, folders, files in os.walk(folder, followlinks=True):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        if (real := os.path.realpath(root)) in seen:
            folders.clear()
            continue
        seen.add(real)
        yield Path(root), [name for name in files if not name.startswith(".")]


def files_below(folder: Path, endings: Collection[str]) -> list[Path]:
    """Return the files of a folder, at any depth, that end in one of `endings` (``.png``, in any case), sorted."""
    return sorted(
        root / name for root, names in visible_files(folder) for name in names if Path(name).suffix.lower() in endings
    )


def path_keys(folder: Path, paths: Iterable[Path]) -> Tensor:
    """Return a key ``(N,)`` of each file for `SplitRecord`: of its path below `folder`, so that it may be moved."""
    return keys_of_names(path.relative_to(folder).as_posix() for path in paths)


def folder_splits(
    folder: Path, *, who: str, what: str, find: Callable[[Path], list[Path]], expected: str
) -> dict[str, Found]:
    """Return the splits that a folder of samples has: at least ``train``.

    Its sub-folders ``train`` (or ``training``), ``val`` (``valid``, ``validation``) and ``test`` are the splits where
    ``train`` is there, and all of it is ``train`` otherwise; `RandomSplit` makes the others. Where all
    samples lie in class folders, two or more, a label is the class's place in their sorted names, of all splits.

    Args:
        folder: Where to look.
        who: The dataset, for messages.
        what: What its samples are, for messages: ``images``.
        find: Returns the samples of a folder, at any depth: files, or folders that are one sample each.
        expected: What they are, for messages: ``files that end in .png``.

    Raises:
        AeframeError: No folder, no samples in it or in a split of it, two folders for one split, held-out splits
            without ``train``, or samples beside the splits.
    """
    if not folder.is_dir():
        found = "found a file" if folder.is_file() else "which does not exist"
        raise AeframeError(f"{who} expects a folder, {found}; set data.path to a folder of {what}")
    roots = _split_folders(folder, who)
    paths = {split: find(root) for split, root in roots.items()}
    empty = next((split for split, inside in paths.items() if not inside), None)
    if empty is not None:
        raise AeframeError(f"{who} has no {what} in '{roots[empty]}'; expected {expected}")
    if roots["train"] != folder:
        known = {path for inside in paths.values() for path in inside}
        stray = next((path for path in find(folder) if path not in known), None)
        if stray is not None:
            raise AeframeError(
                f"{who} has split folders, but also {what} outside them, such as '{stray}'; "
                "move them into a split, or out of the folder"
            )
    labels = _labels({split: [path.relative_to(roots[split]).parts for path in paths[split]] for split in paths})
    return {split: Found(paths[split], labels.get(split)) for split in paths}


def first_opened(files: Iterable[File], opened: Callable[[File], Opened], *, sentence: str) -> Opened:
    """Return what is `opened` of the first file that can be: what a dataset's `describe` needs.

    Raises:
        AeframeError: None can; what is said of the first comes after `sentence`.
    """
    first: AeframeError | None = None
    for file in files:
        try:
            return opened(file)
        except AeframeError as error:
            first = first or error
    raise AeframeError(f"{sentence}; the first: {first}") from first


def _split_folders(folder: Path, who: str) -> dict[str, Path]:
    roots: dict[str, Path] = {}
    for inside in sorted(path for path in folder.iterdir() if path.is_dir() and path.name.lower() in _SPLIT_NAMES):
        split = _SPLIT_NAMES[inside.name.lower()]
        if split in roots:
            raise AeframeError(
                f"{who} has two folders for the {split} split, '{roots[split].name}' and '{inside.name}'; "
                "rename or merge one"
            )
        roots[split] = inside
    if roots and "train" not in roots:
        name = next(iter(roots.values())).name
        raise AeframeError(f"{who} has a split folder '{name}' but no 'train'; add it, or rename '{name}'")
    return roots or {"train": folder}


def _labels(parts: Mapping[str, list[tuple[str, ...]]]) -> dict[str, Tensor]:
    """Return the labels of each split, of the parts of each sample's path in it; none where there are no classes."""
    everywhere = [part for own in parts.values() for part in own]
    if any(len(part) < 2 for part in everywhere):
        return {}
    names = sorted({part[0] for part in everywhere})
    if len(names) < 2:
        return {}
    number = {name: place for place, name in enumerate(names)}
    return {split: torch.tensor([number[part[0]] for part in own]) for split, own in parts.items()}
