"""Folders of image files."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from aeframe.data import Dataset
from aeframe.errors import AeframeError
from aeframe_image.decode import EXTENSIONS, first_shape
from aeframe_image.pictures import Files, RawSplits
from aeframe_image.split import Shares

_SPLIT_FOLDERS = {
    "train": "train",
    "training": "train",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "test": "test",
}


def images_below(folder: Path) -> list[Path]:
    """Return the image files in a folder and its sub-folders, sorted; hidden ones and other files are passed over."""
    found: list[Path] = []
    seen: set[str] = set()
    # Class folders are often links, which may also run in circles.
    for root, folders, files in os.walk(folder, followlinks=True):
        folders[:] = [name for name in folders if not name.startswith(".")]
        if (real := os.path.realpath(root)) in seen:
            folders.clear()
            continue
        seen.add(real)
        names = (name for name in files if not name.startswith(".") and Path(name).suffix.lower() in EXTENSIONS)
        found.extend(Path(root, name) for name in names)
    return sorted(found)


class ImageFolder(Dataset):
    """A folder of PNG, JPEG, BMP, GIF, WebP, TIFF or PNM files, at any depth.

    Sub-folders ``train``, ``val`` (or ``validation``) and ``test`` are the splits where ``train`` is there; what is
    missing of the others is drawn from the training images, by the shares `validation` and `test` and by `seed`.
    Where all images lie in class folders (two or more), ``extras["label"]`` is the class's place in their sorted
    names. Images of different sizes need ``modality.size``, of different colours ``modality.channels``.

    Up to `max_memory_mb` (as uint8, after fitting) the images are decoded once, into memory; beyond it in each epoch,
    by ``workers``.
    """

    modality = "image"

    def __init__(
        self, *, path: str, validation: float = 0.1, test: float = 0.1, seed: int = 0, max_memory_mb: int = 2048
    ) -> None:
        self.path = Path(path).expanduser()
        self.who = f"dataset 'image_folder' at '{path}'"
        self.shares = Shares(self.who, validation=validation, test=test, seed=seed)
        self.max_memory_mb = max_memory_mb

    def describe(self) -> Mapping[str, Any]:
        """Return the shape of the first training image that can be decoded."""
        return {"shape": first_shape(self.who, self._present()["train"].places)}

    def load(self) -> RawSplits:
        return self.shares.complete(self._present())

    def _present(self) -> dict[str, Files]:
        """Return the splits that the folder has: at least ``train``."""
        if not self.path.is_dir():
            found = "found a file" if self.path.is_file() else "which does not exist"
            raise AeframeError(f"{self.who} expects a folder, {found}; set data.path to a folder of images")
        roots = self._split_folders()
        paths = {split: images_below(root) for split, root in roots.items()}
        empty = next((split for split, found_paths in paths.items() if not found_paths), None)
        if empty is not None:
            raise AeframeError(
                f"{self.who} has no images in '{roots[empty]}'; expected files that end in "
                f"{', '.join(sorted(EXTENSIONS))}"
            )
        if len(roots) > 1 or roots["train"] != self.path:
            inside = {path for found_paths in paths.values() for path in found_paths}
            stray = next((path for path in images_below(self.path) if path not in inside), None)
            if stray is not None:
                raise AeframeError(
                    f"{self.who} has split folders, but also images outside them, such as '{stray}'; "
                    "move them into a split, or out of the folder"
                )
        classes = self._classes(roots, paths)
        return {
            split: Files(list(found), _labels(roots[split], found, classes), self.max_memory_mb)
            for split, found in paths.items()
        }

    def _split_folders(self) -> dict[str, Path]:
        roots: dict[str, Path] = {}
        for folder in sorted(p for p in self.path.iterdir() if p.is_dir() and p.name.lower() in _SPLIT_FOLDERS):
            split = _SPLIT_FOLDERS[folder.name.lower()]
            if split in roots:
                raise AeframeError(
                    f"{self.who} has two folders for the {split} split, '{roots[split].name}' and '{folder.name}'; "
                    "rename or merge one"
                )
            roots[split] = folder
        if roots and "train" not in roots:
            name = next(iter(roots.values())).name
            raise AeframeError(f"{self.who} has a split folder '{name}' but no 'train'; add it, or rename '{name}'")
        return roots or {"train": self.path}

    def _classes(self, roots: Mapping[str, Path], paths: Mapping[str, list[Path]]) -> dict[str, int] | None:
        parts = [path.relative_to(roots[split]).parts for split, found in paths.items() for path in found]
        names = sorted({part[0] for part in parts})
        if len(names) < 2 or any(len(part) == 1 for part in parts):
            return None
        return {name: number for number, name in enumerate(names)}


def _labels(root: Path, paths: list[Path], classes: Mapping[str, int] | None) -> torch.Tensor | None:
    if classes is None:
        return None
    return torch.tensor([classes[path.relative_to(root).parts[0]] for path in paths])
