"""The dataset ``image_huggingface``: images of the library ``datasets``, from the Hugging Face Hub or a folder."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from aeframe.data import Dataset
from aeframe.data.random_split import RandomSplit
from aeframe.errors import AeframeError, did_you_mean
from aeframe_image.pictures import Files, RawSplits
from aeframe_image.survey import describe_files

# Exceptions of the library for unknown names, damaged files and network failures.
_UNREADABLE = (OSError, ValueError, RuntimeError, KeyError)


@dataclass(frozen=True, slots=True)
class Cell:
    """An image file in one row of a table."""

    table: Any
    """A split of the dataset, with undecoded images."""
    column: str
    row: int
    origin: str
    """Dataset and split, for error messages."""

    def __str__(self) -> str:
        return f"{self.origin}, row {self.row}"

    def read(self) -> bytes:
        try:
            image = self.table[self.row][self.column]
            content = None if image is None else image["bytes"]
            if content is None and image is not None and image["path"]:
                content = Path(image["path"]).read_bytes()
        except _UNREADABLE as error:
            raise AeframeError(f"image '{self}' cannot be read ({error}); repair the dataset") from error
        if content is None:
            raise AeframeError(f"image '{self}' is missing; remove the row, or leave such rows out with on_error=skip")
        return bytes(content)


class HuggingFaceImages(Dataset):
    """An image dataset of the library ``datasets``; requires the extra ``aeframe-image[huggingface]``.

    The splits ``train``, ``validation`` and ``test`` of the dataset are used. A missing split is a random fraction of
    the training images.

    Args:
        path: A name on the Hugging Face Hub (``ylecun/mnist``), which the library downloads into its cache, or a folder
            written by ``save_to_disk`` or with Parquet files.
        config: The configuration of the dataset, if it has several.
        column: The column of images; null takes the first.
        label: A column of classes (``ClassLabel``) or whole numbers for ``extras["label"]``; null has no labels.
        validation: Fraction of the training images for validation, if the dataset has no such split.
        test: Fraction of the training images for testing, if the dataset has no such split.
        seed: Seed of the random split.
        max_memory_mb: If all images, converted to uint8 of the model's size, fit into this many MiB, they are decoded
            once into memory. Otherwise they are decoded in each epoch.
    """

    modality = "image"

    def __init__(
        self,
        *,
        path: Path | str,
        config: str | None = None,
        column: str | None = None,
        label: str | None = None,
        validation: float = 0.1,
        test: float = 0.1,
        seed: int = 0,
        max_memory_mb: int = 2048,
    ) -> None:
        self.path, self.config, self.column, self.label = str(path), config, column, label
        self.who = f"dataset 'image_huggingface' at '{path}'"
        self.splitter = RandomSplit(self.who, "images", validation=validation, test=test, seed=seed)
        self.max_memory_mb = max_memory_mb
        self._splits: dict[str, Files] | None = None

    def describe(self) -> Mapping[str, Any]:
        """Return the shape of the first training image that can be decoded, in colour if any image has colour."""
        return describe_files(self.who, self._present(), self.notes)

    def load(self) -> RawSplits:
        # `split_record` is inherited; it stores the drawn split, so that a resumed run uses the same one.
        return self.splitter.complete(self._present(), self.split_record)

    def _present(self) -> dict[str, Files]:
        """Return the splits that the dataset defines, at least ``train``."""
        if self._splits is None:
            tables = self._tables()
            # A single split is the training split, whatever its name.
            names = {"train": next(iter(tables))} if len(tables) == 1 else _split_names(tables)
            if "train" not in names:
                raise AeframeError(f"{self.who} has the splits {', '.join(tables)}, but no 'train'; rename one")
            self._splits = {split: self._files(name, tables[name]) for split, name in names.items()}
        return self._splits

    def _tables(self) -> dict[str, Any]:
        library = _library(self.who)
        folder = Path(self.path).expanduser()
        saved = any((folder / name).is_file() for name in ("dataset_dict.json", "state.json"))
        try:
            opened = library.load_from_disk(str(folder)) if saved else library.load_dataset(self.path, self.config)
        except _UNREADABLE as error:
            raise AeframeError(
                f"{self.who} cannot be opened ({' '.join(str(error).split()) or type(error).__name__}); set "
                "data.path to a folder written by save_to_disk, a folder with Parquet files, or a name on the hub"
            ) from error
        return dict(opened) if isinstance(opened, dict) else {"train": opened}

    def _files(self, split: str, table: Any) -> Files:
        library, columns = _library(self.who), table.features
        images = [name for name, kind in columns.items() if isinstance(kind, library.Image)]
        column: str = self.column or (images[0] if images else "image")
        if column not in images:
            raise AeframeError(
                f"{self.who} has no column of images '{column}'{did_you_mean(column, images)}; the columns of split "
                f"'{split}' are {', '.join(columns)}; set data.column, or cast one to datasets.Image"
            )
        if not len(table):
            raise AeframeError(f"{self.who} has an empty split '{split}'; add images to it")
        undecoded = table.select_columns([column]).cast_column(column, library.Image(decode=False))
        origin = f"{self.path}/{split}"
        cells = [Cell(undecoded, column, row, origin) for row in range(len(table))]
        names = [f"{split}/{row}" for row in range(len(table))]
        return Files([*cells], self._labels(split, table), self.max_memory_mb, names)

    def _labels(self, split: str, table: Any) -> torch.Tensor | None:
        if self.label is None:
            return None
        if self.label not in table.features:
            raise AeframeError(
                f"{self.who} has no column '{self.label}'{did_you_mean(self.label, table.features)}; the columns of "
                f"split '{split}' are {', '.join(table.features)}"
            )
        values = table[self.label]
        names = getattr(table.features[self.label], "names", None)
        self.label_names = None if names is None else tuple(names)
        row = next((row for row, value in enumerate(values) if not _is_label(value)), None)
        if row is not None:
            raise AeframeError(
                f"{self.who}: row {row} of split '{split}' has the label {values[row]!r} in '{self.label}', expected a "
                "whole number of 64 bits; choose another column, or leave data.label out"
            )
        return torch.tensor(list(values))


def _is_label(value: Any) -> bool:
    return isinstance(value, int) and -(2**63) <= value < 2**63


def _split_names(tables: Mapping[str, Any]) -> dict[str, str]:
    """Return the name in `tables` of each split that is there; other tables are ignored."""
    aliases = {"train": ("train",), "validation": ("validation", "valid", "val", "dev"), "test": ("test",)}
    present = {split: [name for name in names if name in tables] for split, names in aliases.items()}
    return {split: names[0] for split, names in present.items() if names}


def _library(who: str) -> Any:
    try:
        return importlib.import_module("datasets")
    except ImportError as error:
        raise AeframeError(
            f"{who} requires the library 'datasets', which is not installed ({error}); install it with pip install "
            "'aeframe-image[huggingface]'"
        ) from error
