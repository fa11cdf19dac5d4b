"""Folders with one file for each sample: find the files, their splits and their classes."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
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

_LISTED_SUFFIXES = 6
"""Suffixes that `passed_over` names."""

File = TypeVar("File")
Opened = TypeVar("Opened")


@dataclass(frozen=True, slots=True)
class FolderSplit:
    """The samples of one split."""

    paths: list[Path]
    labels: Tensor | None
    """``(N,)`` int64; None if there are no class folders."""
    label_names: tuple[str, ...] | None = None
    """The names of the class folders of all splits, sorted; None if there are none."""


def visible_files(folder: Path) -> Iterator[tuple[Path, list[str]]]:
    """Yield a folder and its sub-folders, each with the names of its files; hidden files and folders are left out.

    Symbolic links are followed; a folder that several links lead to is yielded once.
    """
    visited: set[str] = set()
    # Class folders are often links, and links may form cycles.
    for root, folders, files in os.walk(folder, followlinks=True):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        if (real := os.path.realpath(root)) in visited:
            folders.clear()
            continue
        visited.add(real)
        yield Path(root), [name for name in files if not name.startswith(".")]


def files_below(folder: Path, endings: Collection[str]) -> list[Path]:
    """Return the files below a folder whose suffix is one of `endings` (``.png``, in any case), sorted."""
    return sorted(
        root / name for root, names in visible_files(folder) for name in names if Path(name).suffix.lower() in endings
    )


def passed_over(folder: Path, endings: Collection[str], what: str) -> str | None:
    """Return a sentence that counts the visible files below a folder that are not read; None if there are none.

    Args:
        folder: The folder.
        endings: The suffixes that are read, in lower case.
        what: The word for a sample: ``sound``.
    """
    counts: dict[str, int] = {}
    for _, names in visible_files(folder):
        for name in names:
            suffix = Path(name).suffix.lower()
            if suffix not in endings:
                counts[suffix or "no suffix"] = counts.get(suffix or "no suffix", 0) + 1
    if not counts:
        return None
    by_count = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    kinds = ", ".join(f"{count} x {suffix}" for suffix, count in by_count[:_LISTED_SUFFIXES])
    more = "" if len(by_count) <= _LISTED_SUFFIXES else f" and {len(by_count) - _LISTED_SUFFIXES} other suffixes"
    total = sum(counts.values())
    files = "1 file is" if total == 1 else f"{total} files are"
    return f"'{folder}': {files} passed over, since the suffix is that of no {what} ({kinds}{more})"


def path_keys(folder: Path, paths: Iterable[Path]) -> Tensor:
    """Return the keys ``(N,)`` that identify samples in a `SplitRecord`.

    They are computed from the paths relative to `folder`, so the folder may be moved.
    """
    return keys_of_names(path.relative_to(folder).as_posix() for path in paths)


def folder_splits(
    folder: Path, *, who: str, what: str, find: Callable[[Path], list[Path]], expected: str
) -> dict[str, FolderSplit]:
    """Return the splits of a folder of samples: at least ``train``.

    Sub-folders ``train`` (or ``training``), ``val`` (``valid``, ``validation``) and ``test`` are splits. Without such
    sub-folders all samples are ``train``; the caller then draws the other splits with `RandomSplit`. If all samples lie
    in class folders, of which there must be at least two, the label is the index of the class in the sorted names of
    all splits.

    Args:
        folder: The folder.
        who: The dataset, for error messages.
        what: Plural of the word for a sample, for error messages: ``images``.
        find: Returns the samples below a folder: files, or folders of one sample each.
        expected: What `find` looks for, for error messages: ``files that end in .png``.

    Raises:
        AeframeError: The folder does not exist, it or a split has no samples, two folders name the same split, there
            are held-out splits without ``train``, or samples outside the splits.
    """
    if not folder.is_dir():
        problem = "found a file" if folder.is_file() else "which does not exist"
        raise AeframeError(f"{who} expects a folder, {problem}; set data.path to a folder of {what}")
    roots = _split_folders(folder, who)
    paths = {split: find(root) for split, root in roots.items()}
    empty = next((split for split, samples in paths.items() if not samples), None)
    if empty is not None:
        raise AeframeError(f"{who} has no {what} in '{roots[empty]}'; expected {expected}")
    has_split_folders = roots["train"] != folder
    if has_split_folders:
        known = {path for samples in paths.values() for path in samples}
        outside = next((path for path in find(folder) if path not in known), None)
        if outside is not None:
            raise AeframeError(
                f"{who} has split folders, but also {what} outside them, such as '{outside}'; "
                "move them into a split, or out of the folder"
            )
    classes = {split: class_folders(roots[split], paths[split]) for split in paths}
    names = _label_names(classes.values())
    return {
        split: FolderSplit(paths[split], None if names is None else encode_names(classes[split] or [], names), names)
        for split in paths
    }


def class_folders(folder: Path, paths: Iterable[Path]) -> list[str] | None:
    """Return the name of the sub-folder of `folder` that each sample lies in; None if one lies in `folder` itself."""
    parts = [path.relative_to(folder).parts for path in paths]
    return None if any(len(each) < 2 for each in parts) else [each[0] for each in parts]


def encode_names(names: Iterable[str], label_names: Sequence[str]) -> Tensor:
    """Return the labels ``(N,)`` of samples: indices in `label_names`, -1 for a name that is not there."""
    label_of = {name: label for label, name in enumerate(label_names)}
    return torch.tensor([label_of.get(name, -1) for name in names], dtype=torch.int64)


def read_labels(folder: Path, paths: Iterable[Path], label_names: Sequence[str] | None) -> Tensor | None:
    """Return the labels ``(N,)`` of samples in class folders, for `Modality.read`; -1 for a class not in training.

    None if training had no class folders, a sample lies outside of such folders, or no folder is a class of training:
    other folders, such as dates, are no classes.
    """
    names = class_folders(folder, paths)
    if label_names is None or names is None:
        return None
    labels = encode_names(names, label_names)
    return None if bool((labels < 0).all()) else labels


def first_opened(files: Iterable[File], open_file: Callable[[File], Opened], *, sentence: str) -> Opened:
    """Return ``open_file(file)`` of the first file for which it raises no error, for `Dataset.describe`.

    Raises:
        AeframeError: No file can be opened; the message is `sentence` and the error of the first file.
    """
    first_error: AeframeError | None = None
    for file in files:
        try:
            return open_file(file)
        except AeframeError as error:
            first_error = first_error or error
    raise AeframeError(f"{sentence}; the first: {first_error}") from first_error


def _split_folders(folder: Path, who: str) -> dict[str, Path]:
    """Return the folder of each split; `folder` itself as ``train`` if it has no split folders."""
    roots: dict[str, Path] = {}
    for subfolder in sorted(path for path in folder.iterdir() if path.is_dir() and path.name.lower() in _SPLIT_NAMES):
        split = _SPLIT_NAMES[subfolder.name.lower()]
        if split in roots:
            raise AeframeError(
                f"{who} has two folders for the {split} split, '{roots[split].name}' and '{subfolder.name}'; "
                "rename or merge one"
            )
        roots[split] = subfolder
    if roots and "train" not in roots:
        name = next(iter(roots.values())).name
        raise AeframeError(f"{who} has a split folder '{name}' but no 'train'; add it, or rename '{name}'")
    return roots or {"train": folder}


def _label_names(classes: Iterable[Sequence[str] | None]) -> tuple[str, ...] | None:
    """Return the sorted names of the classes of all splits; None if there are fewer than two.

    Args:
        classes: The class of each sample of each split; None for a split with a sample outside the class folders.
    """
    names: set[str] = set()
    for of_split in classes:
        if of_split is None:
            return None
        names.update(of_split)
    return tuple(sorted(names)) if len(names) > 1 else None
