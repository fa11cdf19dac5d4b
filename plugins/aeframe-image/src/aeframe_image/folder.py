"""The dataset ``image_folder``: a folder of image files."""

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
    """Return the image files in a folder and its sub-folders, sorted; hidden files are ignored."""
    return files_below(folder, EXTENSIONS)


class ImageFolder(Dataset):
    """A folder of PNG, JPEG, BMP, GIF, WebP, TIFF or PNM files, at any depth.

    Sub-folders ``train``, ``val`` (or ``validation``) and ``test`` are the splits if ``train`` exists. A missing split
    is a random fraction (`validation`, `test`) of the training images, drawn with `seed`. If all images are in two or
    more class folders, ``extras["label"]`` is the index of the class in alphabetical order. Images of different sizes
    need ``modality.size``, and a mix of grey and colour images needs ``modality.channels``.

    If all images, converted to uint8 of the model's size, fit into `max_memory_mb` MiB, they are decoded once into
    memory. Otherwise they are decoded in each epoch by the ``workers``.
    """

    modality = "image"

    def __init__(
        self, *, path: Path, validation: float = 0.1, test: float = 0.1, seed: int = 0, max_memory_mb: int = 2048
    ) -> None:
        self.path = Path(path).expanduser()
        self.who = f"dataset 'image_folder' at '{path}'"
        self.splitter = RandomSplit(self.who, "images", validation=validation, test=test, seed=seed)
        self.max_memory_mb = max_memory_mb

    def describe(self) -> Mapping[str, Any]:
        """Return the shape of the first training image that can be decoded."""
        return {"shape": first_shape(self.who, self._present()["train"].files)}

    def load(self) -> RawSplits:
        present = self._present()
        keys = {
            split: path_keys(self.path, (Path(str(file)) for file in files.files)) for split, files in present.items()
        }
        # `split_record` is inherited; it stores the drawn split, so that a resumed run uses the same one.
        return self.splitter.complete(present, self.split_record, keys)

    def _present(self) -> dict[str, Files]:
        """Return the splits that the folder defines, at least ``train``."""
        expected = f"files that end in {', '.join(sorted(EXTENSIONS))}"
        splits = folder_splits(self.path, who=self.who, what="images", find=images_below, expected=expected)
        self.label_names = splits["train"].label_names
        return {name: Files([*split.paths], split.labels, self.max_memory_mb) for name, split in splits.items()}
