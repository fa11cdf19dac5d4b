"""The base class of public image datasets: where files are searched, downloads, and splits."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from aeframe.data import Dataset
from aeframe.data.downloads import data_folders, local
from aeframe.errors import AeframeError
from aeframe.types import Shape
from aeframe_image.arrays import ArrayFile
from aeframe_image.pictures import RawSplits, Stack, format_shape
from aeframe_image.split import split_off_last


class Benchmark(Dataset):
    """A public image dataset with an official test split; its last training images are the validation split.

    Args:
        path: A NPZ (``x_train``, ``y_train``, ``x_test``, ``y_test``), or the original files. None searches the folder
            that the environment variable ``AEFRAME_DATA`` names and ``~/.cache/aeframe``, then downloads the original
            files there.
    """

    modality = "image"
    name: ClassVar[str]
    shape: ClassVar[Shape]
    validation: ClassVar[int]
    """One in this many training images is in the validation split."""
    expected_path: ClassVar[str]
    """What `path` may be, for messages."""

    def __init__(self, *, path: Path | None = None) -> None:
        self.path = None if path is None else Path(path).expanduser()
        self.who = f"dataset '{self.name}'"

    def describe(self) -> Mapping[str, Any]:
        return {"shape": self.shape}

    def load(self) -> RawSplits:
        if self.path is not None and not self.path.exists():
            raise AeframeError(
                f"{self.who}: there is no '{self.path}'; set data.path to {self.expected_path}, or leave it out"
            )
        npz_names = (f"{self.name}.npz", f"image/{self.name}.npz", f"{self.name}/{self.name}.npz")
        path = self.path or local(*npz_names) or self.download(local(self.name) or data_folders()[0] / self.name)
        npz = path / f"{self.name}.npz"
        if path.is_file() and path.suffix == ".npz":
            stacks = ArrayFile(path, who=self.who).stacks()
        elif npz.is_file():
            stacks = ArrayFile(npz, who=self.who).stacks()
        else:
            stacks = self.original(path)
        for split in ("train", "test"):
            shape = tuple(stacks[split].pixels.shape[1:]) if split in stacks else None
            if shape != self.shape:
                found = f"no {split} images" if shape is None else f"{split} images of {format_shape(shape)}"
                raise AeframeError(
                    f"{self.who}: '{path}' has {found}, expected images of {format_shape(self.shape)}; set data.path "
                    f"to {self.expected_path}"
                )
        train, validation = split_off_last(stacks["train"], len(stacks["train"]) // self.validation)
        return {"train": train, "validation": stacks.get("validation", validation), "test": stacks["test"]}

    @abstractmethod
    def download(self, folder: Path) -> Path:
        """Return the path of the original files, after downloading missing ones into `folder` (see `fetch`)."""

    @abstractmethod
    def original(self, path: Path) -> dict[str, Stack]:
        """Return the splits ``train`` and ``test`` of the original files at `path`."""
