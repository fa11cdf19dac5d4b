"""Images in tar archives, as WebDataset writes them."""

from __future__ import annotations

import glob
import itertools
import re
import tarfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from aeframe.data import Dataset
from aeframe.data.random_split import RandomSplit
from aeframe.data.split_record import keys_of_names
from aeframe.errors import AeframeError
from aeframe_image.decode import EXTENSIONS, first_shape
from aeframe_image.pictures import Files, Place, RawSplits
from aeframe_image.split import split_by_name

_WAY_OUT = "make it again, or leave it out of training with modality.on_error=skip"


@dataclass(frozen=True, slots=True)
class Member:
    """A file in a tar archive that is not compressed, so that it can be read without the others."""

    shard: Path
    name: str
    start: int
    size: int

    def __str__(self) -> str:
        return f"{self.shard}/{self.name}"

    def read(self) -> bytes:
        with self.shard.open("rb") as file:
            file.seek(self.start)
            return file.read(self.size)


@dataclass(frozen=True, slots=True)
class Unreadable:
    """What stands for the images of an archive that cannot be read on: it is met where they would have been."""

    shard: Path
    why: str

    def __str__(self) -> str:
        return str(self.shard)

    def read(self) -> bytes:
        raise AeframeError(f"{self.why}; {_WAY_OUT}")


class ImageShards(Dataset):
    """Tar archives ("shards") of images with their labels beside them, as WebDataset writes them.

    Files of an archive that differ in their endings only belong together: ``0001.jpg`` and ``0001.cls``, which holds
    the class of the image as a whole number, for ``extras["label"]``. `path` is an archive, a folder of them, or a
    pattern such as ``shards/train-{0000..0146}.tar`` or ``shards/*.tar``. Archives whose names begin with ``train``,
    ``val`` and ``test`` are the splits; what is missing of the others is drawn from the training images, by the shares
    `validation` and `test` and by `seed`.

    Archives are read where they stand, in any order, so they must not be compressed: images are so already. Up to
    `max_memory_mb` (as uint8, after fitting) the images are decoded once, into memory; beyond it in each epoch, by
    ``workers``.
    """

    modality = "image"

    def __init__(
        self,
        *,
        path: Path,
        label: str = "cls",
        validation: float = 0.1,
        test: float = 0.1,
        seed: int = 0,
        max_memory_mb: int = 2048,
    ) -> None:
        self.path, self.label = Path(path).expanduser(), label
        self.who = f"dataset 'image_shards' at '{path}'"
        self.shares = RandomSplit(self.who, "images", validation=validation, test=test, seed=seed)
        self.max_memory_mb = max_memory_mb

    def describe(self) -> Mapping[str, Any]:
        """Return the shape of the first training image that can be decoded."""
        return {"shape": first_shape(self.who, self._present()["train"].places)}

    def load(self) -> RawSplits:
        present = self._present()
        keys = {split: keys_of_names(map(self._name, files.places)) for split, files in present.items()}
        return self.shares.complete(present, self.split_record, keys)

    def files(self) -> list[Path]:
        return shards_of(self.who, self.path)

    def _name(self, place: Place) -> str:
        """Return the name of an image, which stays the same where its archives are moved."""
        assert isinstance(place, (Member, Unreadable))
        shard = place.shard.relative_to(self.path).as_posix() if self.path.is_dir() else place.shard.name
        return f"{shard}/{place.name if isinstance(place, Member) else ''}"

    def _present(self) -> dict[str, Files]:
        shards = shards_of(self.who, self.path)
        splits = split_by_name(self.who, {shard: shard.name for shard in shards})
        return {split: self._files(split, found) for split, found in splits.items()}

    def _files(self, split: str, shards: list[Path]) -> Files:
        places: list[Place] = []
        labels: list[int | None] = []
        for shard in shards:
            for place, label in members(shard, self.label):
                places.append(place)
                labels.append(label)
        if not places:
            raise AeframeError(
                f"{self.who} has no images for the {split} split; expected members that end in "
                f"{', '.join(sorted(EXTENSIONS))}"
            )
        known = [label for label in labels if label is not None]
        if known:
            bare = [place for place, label in zip(places, labels, strict=True) if label is None]
            alone = next((place for place in bare if isinstance(place, Member)), None)
            if alone is not None:
                raise AeframeError(
                    f"{self.who}: '{alone}' has no '.{self.label}' beside it, which other images have; add it, or name "
                    "another ending with data.label=..."
                )
        # What cannot be read has a label too, so that there is one for each place; it is left out with its place.
        numbers = torch.tensor([0 if label is None else label for label in labels]) if known else None
        return Files(places, numbers, self.max_memory_mb)


def shards_of(who: str, path: Path) -> list[Path]:
    """Return the archives that a path names: itself, those in a folder, or those that fit a pattern; sorted.

    Raises:
        AeframeError: There are none.
    """
    if path.is_dir():
        found = sorted(path.rglob("*.tar"))
    elif path.is_file():
        found = [path]
    else:
        found = sorted({Path(each) for pattern in _spelled_out(str(path)) for each in glob.glob(pattern)})
    if not found:
        raise AeframeError(
            f"{who} finds no archive there; set data.path to a folder with .tar files, or to a pattern such as "
            "train-{0000..0146}.tar"
        )
    return found


def _spelled_out(pattern: str) -> Iterator[str]:
    """Yield what braces stand for, as shells have it: ``{000..146}`` and ``{a,b}``."""
    pieces = re.split(r"\{([^{}]*)\}", pattern)
    for chosen in itertools.product(*(_choices(piece) for piece in pieces[1::2])):
        yield "".join(itertools.chain.from_iterable(itertools.zip_longest(pieces[::2], chosen, fillvalue="")))


def _choices(piece: str) -> list[str]:
    span = re.fullmatch(r"(\d+)\.\.(\d+)", piece)
    if span is None:
        return piece.split(",")
    first, last = span.groups()
    return [f"{number:0{len(first)}d}" for number in range(int(first), int(last) + 1)]


def members(shard: Path, label: str) -> Iterator[tuple[Place, int | None]]:
    """Yield the images of an archive with their labels (None where there is none), from its headers alone.

    An archive that is damaged ends with an `Unreadable`.
    """
    images: list[Member] = []
    classes: dict[str, int] = {}
    size, broken = shard.stat().st_size, None
    try:
        with tarfile.open(shard, "r:") as archive:
            for info in archive:
                member = Member(shard, info.name, info.offset_data, info.size)
                if not info.isfile() or member.start + member.size > size:
                    continue
                stem, ending = _parted(info.name)
                if f".{ending}" in EXTENSIONS:
                    images.append(member)
                elif ending == label:
                    classes[stem] = _number(member)
    except (tarfile.TarError, OSError, EOFError) as error:
        kind = "is no tar archive, or a compressed one" if not images else f"is cut off or damaged ({error})"
        broken = Unreadable(shard, f"archive '{shard}' {kind}, after {len(images)} images")
    yield from ((image, classes.get(_parted(image.name)[0])) for image in images)
    if broken is not None:
        yield broken, None


def _parted(name: str) -> tuple[str, str]:
    """Return a member's name up to the first dot of its last part, and the ending behind the last dot."""
    folder, slash, last = name.rpartition("/")
    return folder + slash + last.partition(".")[0], last.rpartition(".")[2].lower()


def _number(member: Member) -> int:
    text = member.read().decode("utf-8", "replace").strip()
    if not text.isdecimal():
        raise AeframeError(f"'{member}' holds {text[:20]!r}, expected the class as a whole number; correct it")
    return int(text)
