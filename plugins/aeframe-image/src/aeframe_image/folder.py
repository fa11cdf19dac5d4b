"""The dataset ``image_folder``: a folder of image files."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from aeframe.data import Dataset
from aeframe.data.folders import folder_splits
from aeframe.data.random_split import RandomSplit
from aeframe.data.split_record import keys_of_names
from aeframe_image.decode import EXTENSIONS
from aeframe_image.listing import images_below, left_out, with_pages
from aeframe_image.pictures import Files, RawSplits
from aeframe_image.survey import describe_files


class ImageFolder(Dataset):
    """A folder of image files in the formats that Pillow reads, at any depth.

    Sub-folders ``train``, ``val`` (or ``validation``) and ``test`` are the splits if ``train`` exists. A missing split
    is a random fraction (`validation`, `test`) of the training images, drawn with `seed`. If all images are in two or
    more class folders, ``extras["label"]`` is the index of the class in alphabetical order. Images of different sizes
    need ``modality.size``; if some are grey and some have colour, all are read in colour.

    Each page of a TIFF file is an image, with the name ``a.tif#3``. A folder ``ground_truth`` of masks (as in MVTec AD)
    is left out, and so is ``masks`` if there is ``images`` in the same folder.

    If all images, converted to the model's size, fit into `max_memory_mb` MiB (with one byte for each value of 8 bits,
    and otherwise four), they are decoded once into memory. Otherwise they are decoded in each epoch by the ``workers``.
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
        """Return the shape of the first training image that can be decoded, in colour if any image has colour."""
        return describe_files(self.who, self._present, self.notes)

    def load(self) -> RawSplits:
        present = self._present
        keys = {split: keys_of_names(files.names or ()) for split, files in present.items()}
        # `split_record` is inherited; it stores the drawn split, so that a resumed run uses the same one.
        return self.splitter.complete(present, self.split_record, keys)

    @functools.cached_property
    def _present(self) -> dict[str, Files]:
        """The splits that the folder defines, at least ``train``."""
        expected = f"files that end in {', '.join(sorted(EXTENSIONS))}"
        found: dict[Path, list[Path]] = {}

        def find(folder: Path) -> list[Path]:
            if self.path not in found:
                found[self.path] = images_below(self.path)
            return [path for path in found[self.path] if path.is_relative_to(folder)]

        splits = folder_splits(self.path, who=self.who, what="images", find=find, expected=expected)
        self.label_names = splits["train"].label_names
        present = {}
        notes = left_out(self.path)
        for name, split in splits.items():
            present[name], listing = with_pages(self.path, split.paths, split.labels, self.max_memory_mb)
            notes += listing.notes
        for note in notes:
            self.notes.add(f"{self.who}: {note}")
        return present
