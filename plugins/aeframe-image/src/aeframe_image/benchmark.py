"""What the public sets of images have in common."""

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
from aeframe_image.pictures import RawSplits, Stack, shown
from aeframe_image.split import last


class Benchmark(Dataset):
    """A public set of images with an official test split, whose last training images are for validation.

    Where `path` is null, the folder that ``AEFRAME_DATA`` names and ``~/.cache/aeframe`` are searched, then the data
    are downloaded there. A given `path` is a NPZ (``x_train``, ``y_train``, ``x_test``, ``y_test``), or the original.
    """

    modality = "image"
    name: ClassVar[str]
    shape: ClassVar[Shape]
    validation: ClassVar[int]
    """One in this many training images is for validation: 10,000 in all."""
    wanted: ClassVar[str]
    """What `path` may be, for messages."""

    def __init__(self, *, path: Path | None = None) -> None:
        self.path = None if path is None else Path(path).expanduser()
        self.who = f"dataset '{self.name}'"

    def describe(self) -> Mapping[str, Any]:
        return {"shape": self.shape}

    def load(self) -> RawSplits:
        if self.path is not None and not self.path.exists():
            raise AeframeError(
                f"{self.who}: there is no '{self.path}'; set data.path to {self.wanted}, or leave it out"
            )
        named = (f"{self.name}.npz", f"image/{self.name}.npz", f"{self.name}/{self.name}.npz")
        path = self.path or local(*named) or self.download(local(self.name) or data_folders()[0] / self.name)
        npz = path / f"{self.name}.npz"
        if path.is_file() and path.suffix == ".npz":
            stacks = ArrayFile(path, who=self.who).stacks()
        elif npz.is_file():
            stacks = ArrayFile(npz, who=self.who).stacks()
        else:
            stacks = self.original(path)
        for split in ("train", "test"):
            found = tuple(stacks[split].pixels.shape[1:]) if split in stacks else None
            if found != self.shape:
                told = "none" if found is None else shown(found)
                raise AeframeError(
                    f"{self.who}: '{path}' has {split} images of {told}, expected {shown(self.shape)}; "
                    f"give {self.wanted}"
                )
        train, validation = last(stacks["train"], len(stacks["train"]) // self.validation)
        return {"train": train, "validation": stacks.get("validation", validation), "test": stacks["test"]}

    @abstractmethod
    def download(self, folder: Path) -> Path:
        """Return where the original files are, downloaded into `folder` where they are not there; see `fetch`."""

    @abstractmethod
    def original(self, path: Path) -> dict[str, Stack]:
        """Read the original files at `path`: ``train`` and ``test``."""
