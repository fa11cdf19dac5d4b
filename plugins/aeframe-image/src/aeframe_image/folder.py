"""Folders of image files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from aeframe.data import Dataset
from aeframe.data.folders import files_below, folder_splits, path_keys
from aeframe.data.random_split import RandomSplit
from aeframe_image.decode import EXTENSIONS, first_shape
from aeframe_image.pictures import Files, RawSplits


def images_below(folder: Path) -> list[Path]:
    """Return the image files in a folder and its sub-folders, sorted; hidden ones and other files are passed over."""
    return files_below(folder, EXTENSIONS)


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
        self, *, path: Path, validation: float = 0.1, test: float = 0.1, seed: int = 0, max_memory_mb: int = 2048
    ) -> None:
        self.path = Path(path).expanduser()
        self.who = f"dataset 'image_folder' at '{path}'"
        self.shares = RandomSplit(self.who, "images", validation=validation, test=test, seed=seed)
        self.max_memory_mb = max_memory_mb

    def describe(self) -> Mapping[str, Any]:
        """Return the shape of the first training image that can be decoded."""
        return {"shape": first_shape(self.who, self._present()["train"].places)}

    def load(self) -> RawSplits:
        present = self._present()
        keys = {
            split: path_keys(self.path, (Path(str(place)) for place in files.places))
            for split, files in present.items()
        }
        return self.shares.complete(present, self.split_record, keys)

    def _present(self) -> dict[str, Files]:
        """Return the splits that the folder has: at least ``train``."""
        expected = f"files that end in {', '.join(sorted(EXTENSIONS))}"
        found = folder_splits(self.path, who=self.who, what="images", find=images_below, expected=expected)
        return {split: Files([*each.paths], each.labels, self.max_memory_mb) for split, each in found.items()}
