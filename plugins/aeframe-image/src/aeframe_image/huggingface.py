"""Images in datasets of the Hugging Face library, from its hub or from a folder."""

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
from aeframe_image.decode import first_shape
from aeframe_image.pictures import Files, RawSplits

# What the library raises for a name that is not there, a file that is damaged, or a network that is down.
_UNREADABLE = (OSError, ValueError, RuntimeError, KeyError)


@dataclass(frozen=True, slots=True)
class Cell:
    """One row of a column of images, kept as the bytes of their files."""

    table: Any
    column: str
    row: int
    origin: str

    def __str__(self) -> str:
        return f"{self.origin}, row {self.row}"

    def read(self) -> bytes:
        try:
            found = self.table[self.row][self.column]
            content = None if found is None else found["bytes"]
            if content is None and found is not None and found["path"]:
                content = Path(found["path"]).read_bytes()
        except _UNREADABLE as error:
            raise AeframeError(f"image '{self}' cannot be read ({error}); mend the dataset") from error
        if content is None:
            raise AeframeError(f"image '{self}' is missing; drop the row, or set modality.on_error=skip")
        return bytes(content)


class HuggingFaceImages(Dataset):
    """A dataset of images of the Hugging Face library, with the extra ``aeframe-image[huggingface]``.

    Its splits are those that are called ``train``, ``validation`` and ``test``; what is missing of the others is drawn
    from the training images, by the shares `validation` and `test` and by `seed`. Images stay as the bytes of their
    files until they are decoded: once, up to `max_memory_mb` (as uint8, after fitting), in each epoch beyond it.

    Args:
        path: A name on the hub (``ylecun/mnist``), downloaded by the library into its own cache, or a folder that
            ``save_to_disk`` wrote or that holds Parquet files.
        config: Which of the configurations of a dataset, where it has several.
        column: The images; null takes the first column that is of images.
        label: Whole numbers for ``extras["label"]``; null leaves them out.
        validation: Share of the training images.
        test: Share of the training images.
        seed: Of the draw.
        max_memory_mb: See above.
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
        self.shares = RandomSplit(self.who, "images", validation=validation, test=test, seed=seed)
        self.max_memory_mb = max_memory_mb
        self._found: dict[str, Files] | None = None

    def describe(self) -> Mapping[str, Any]:
        """Return the shape of the first training image that can be decoded."""
        return {"shape": first_shape(self.who, self._present()["train"].places)}

    def load(self) -> RawSplits:
        return self.shares.complete(self._present(), self.split_record)

    def _present(self) -> dict[str, Files]:
        if self._found is None:
            tables = self._tables()
            # One table alone is all there is, whatever it is called.
            names = {"train": next(iter(tables))} if len(tables) == 1 else _splits(tables)
            if "train" not in names:
                raise AeframeError(
                    f"{self.who} has the splits {', '.join(tables)} and none that is called 'train'; rename one"
                )
            self._found = {split: self._files(name, tables[name]) for split, name in names.items()}
        return self._found

    def _tables(self) -> dict[str, Any]:
        library = _library(self.who)
        folder = Path(self.path).expanduser()
        saved = any((folder / name).is_file() for name in ("dataset_dict.json", "state.json"))
        try:
            opened = library.load_from_disk(str(folder)) if saved else library.load_dataset(self.path, self.config)
        except _UNREADABLE as error:
            raise AeframeError(
                f"{self.who} cannot be opened ({' '.join(str(error).split()) or type(error).__name__}); give a folder "
                "that save_to_disk wrote, one with Parquet files, or a name on the hub"
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
            raise AeframeError(f"{self.who} has an empty split '{split}'; give one with images")
        stored = table.select_columns([column]).cast_column(column, library.Image(decode=False))
        origin = f"{self.path}/{split}"
        places = [Cell(stored, column, row, origin) for row in range(len(table))]
        return Files([*places], self._labels(split, table), self.max_memory_mb)

    def _labels(self, split: str, table: Any) -> torch.Tensor | None:
        if self.label is None:
            return None
        if self.label not in table.features:
            raise AeframeError(
                f"{self.who} has no column '{self.label}'{did_you_mean(self.label, table.features)}; the columns of "
                f"split '{split}' are {', '.join(table.features)}"
            )
        values = table[self.label]
        row = next((row for row, value in enumerate(values) if not isinstance(value, int)), None)
        if row is not None:
            raise AeframeError(
                f"{self.who}: row {row} of split '{split}' has the label {values[row]!r} in '{self.label}', expected a "
                "whole number; give another column, or leave data.label out"
            )
        return torch.tensor(list(values))


def _splits(tables: Mapping[str, Any]) -> dict[str, str]:
    """Return the names of the splits of a run among those of a dataset; others are passed over."""
    known = {"train": ("train",), "validation": ("validation", "valid", "val", "dev"), "test": ("test",)}
    found = {split: [word for word in words if word in tables] for split, words in known.items()}
    return {split: words[0] for split, words in found.items() if words}


def _library(who: str) -> Any:
    try:
        return importlib.import_module("datasets")
    except ImportError as error:
        raise AeframeError(
            f"{who} is read by the library 'datasets', which is not installed ({error}); "
            "pip install 'aeframe-image[huggingface]'"
        ) from error
