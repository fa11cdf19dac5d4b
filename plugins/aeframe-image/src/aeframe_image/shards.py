"""The dataset ``image_shards``: images in tar archives in the format of WebDataset."""

from __future__ import annotations

import glob
import itertools
import re
import tarfile
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from aeframe.data import Dataset
from aeframe.data.random_split import RandomSplit
from aeframe.data.split_record import keys_of_names
from aeframe.errors import AeframeError
from aeframe_image.decode import EXTENSIONS
from aeframe_image.listing import passed_over
from aeframe_image.pictures import Files, ImageFile, RawSplits
from aeframe_image.split import split_by_name
from aeframe_image.survey import describe_files

_NEXT_STEP = "create it again, or leave it out with on_error=skip"
_MAX_LABEL_BYTES = 64
"""Size of a label file; larger ones are no whole numbers of 64 bits."""
_MAX_LABEL = 2**63 - 1


@dataclass(frozen=True, slots=True)
class Member:
    """A file in an uncompressed tar archive, read by its position."""

    shard: Path
    name: str
    start: int
    """Offset of the content in bytes."""
    size: int
    """Length of the content in bytes."""

    def __str__(self) -> str:
        return f"{self.shard}/{self.name}"

    def read(self) -> bytes:
        with self.shard.open("rb") as file:
            file.seek(self.start)
            return file.read(self.size)


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A placeholder for the unreadable rest of a damaged archive; `read` raises the error."""

    shard: Path
    reason: str

    def __str__(self) -> str:
        return str(self.shard)

    def read(self) -> bytes:
        raise AeframeError(f"{self.reason}; {_NEXT_STEP}")


class ImageShards(Dataset):
    """Tar archives ("shards") of images and labels, in the format of WebDataset.

    Files with the same name but for the extension belong together: ``0001.jpg`` and ``0001.cls``, which contains the
    class of the image as a whole number (``extras["label"]``). `path` is an archive, a folder of archives, or a pattern
    such as ``shards/train-{0000..0146}.tar`` or ``shards/*.tar``. Archives whose names begin with ``train``, ``val``
    and ``test`` are the splits. A missing split is a random fraction (`validation`, `test`) of the training images,
    drawn with `seed`.

    Members are read by random access, so archives must not be compressed. If all images, converted to uint8 of the
    model's size, fit into `max_memory_mb` MiB, they are decoded once into memory. Otherwise they are decoded in each
    epoch by the ``workers``.
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
        self.splitter = RandomSplit(self.who, "images", validation=validation, test=test, seed=seed)
        self.max_memory_mb = max_memory_mb

    def describe(self) -> Mapping[str, Any]:
        """Return the shape of the first training image that can be decoded, in colour if any image has colour."""
        return describe_files(self.who, self._present(), self.notes)

    def load(self) -> RawSplits:
        present = self._present()
        keys = {split: keys_of_names(files.names or ()) for split, files in present.items()}
        # `split_record` is inherited; it stores the drawn split, so that a resumed run uses the same one.
        return self.splitter.complete(present, self.split_record, keys)

    def files(self) -> list[Path]:
        return shards_of(self.who, self.path)

    def _name(self, file: ImageFile) -> str:
        """Return a name that identifies an image and does not depend on the location of the archives."""
        assert isinstance(file, (Member, Unreadable))
        shard = file.shard.relative_to(self.path).as_posix() if self.path.is_dir() else file.shard.name
        return f"{shard}/{file.name if isinstance(file, Member) else ''}"

    def _present(self) -> dict[str, Files]:
        shards = shards_of(self.who, self.path)
        splits = split_by_name(self.who, {shard: shard.name for shard in shards})
        return {split: self._files(split, archives) for split, archives in splits.items()}

    def _files(self, split: str, shards: list[Path]) -> Files:
        images: list[ImageFile] = []
        labels: list[int | None] = []
        others = Counter[str]()
        for shard in shards:
            for image, label in members(shard, self.label, others):
                images.append(image)
                labels.append(label)
        if others:
            self.notes.add(f"{self.who}: {passed_over(others, f'member of the {split} archives')}")
        if not images:
            raise AeframeError(
                f"{self.who} has no images for the {split} split; expected members that end in "
                f"{', '.join(sorted(EXTENSIONS))}"
            )
        has_labels = any(label is not None for label in labels)
        if has_labels:
            without_label = [image for image, label in zip(images, labels, strict=True) if label is None]
            unlabelled = next((image for image in without_label if isinstance(image, Member)), None)
            if unlabelled is not None:
                raise AeframeError(
                    f"{self.who}: '{unlabelled}' has no '.{self.label}' file, but other images have one; add it, or "
                    "set data.label to another extension"
                )
        # An unreadable rest of an archive needs some label; it is never returned, since reading it raises.
        numbers = torch.tensor([0 if label is None else label for label in labels]) if has_labels else None
        return Files(images, numbers, self.max_memory_mb, [self._name(image) for image in images])


def shards_of(who: str, path: Path) -> list[Path]:
    """Return the archives of a path, sorted: an archive itself, those in a folder, or those that match a pattern.

    Raises:
        AeframeError: There are none.
    """
    if path.is_dir():
        archives = sorted(path.rglob("*.tar"))
    elif path.is_file():
        archives = [path]
    else:
        archives = sorted({Path(name) for pattern in _expand_braces(str(path)) for name in glob.glob(pattern)})
    if not archives:
        raise AeframeError(
            f"{who} has no archives; set data.path to a folder with .tar files, or to a pattern such as "
            "train-{0000..0146}.tar"
        )
    return archives


def _expand_braces(pattern: str) -> Iterator[str]:
    """Yield the brace expansion of a pattern, as in shells: ``{000..146}`` and ``{a,b}``."""
    pieces = re.split(r"\{([^{}]*)\}", pattern)
    # Even pieces are the text between braces, odd ones the content of a pair of braces.
    for chosen in itertools.product(*(_alternatives(piece) for piece in pieces[1::2])):
        yield "".join(itertools.chain.from_iterable(itertools.zip_longest(pieces[::2], chosen, fillvalue="")))


def _alternatives(braces: str) -> list[str]:
    """Return the alternatives of the content of a pair of braces."""
    number_range = re.fullmatch(r"(\d+)\.\.(\d+)", braces)
    if number_range is None:
        return braces.split(",")
    first, last = number_range.groups()
    return [f"{number:0{len(first)}d}" for number in range(int(first), int(last) + 1)]


def members(shard: Path, label: str, others: Counter[str]) -> Iterator[tuple[ImageFile, int | None]]:
    """Yield the images of an archive with their labels (None without one); no image content is read.

    The last item of a damaged archive is an `Unreadable`.

    Args:
        shard: The archive.
        label: The extension of the label files.
        others: Receives the number of members that are neither images nor labels, by suffix.
    """
    images: list[Member] = []
    classes: dict[str, int] = {}
    size, unreadable = shard.stat().st_size, None
    try:
        with tarfile.open(shard, "r:") as archive:
            for info in archive:
                member = Member(shard, info.name, info.offset_data, info.size)
                if not info.isfile() or member.start + member.size > size:
                    continue
                stem, extension = _split_extension(info.name)
                if f".{extension}" in EXTENSIONS:
                    images.append(member)
                elif extension == label:
                    classes[stem] = _read_class(member)
                else:
                    others[f".{extension}"] += 1
    except (tarfile.TarError, OSError, EOFError) as error:
        problem = f"is truncated or damaged after {len(images)} images ({error})"
        if not images:
            problem = "is not an uncompressed tar archive"
        unreadable = Unreadable(shard, f"archive '{shard}' {problem}")
    yield from ((image, classes.get(_split_extension(image.name)[0])) for image in images)
    if unreadable is not None:
        yield unreadable, None


def _split_extension(name: str) -> tuple[str, str]:
    """Return a member's path up to the first dot of the file name, and its extension in lower case, without dot."""
    folder, slash, file_name = name.rpartition("/")
    return folder + slash + file_name.partition(".")[0], file_name.rpartition(".")[2].lower()


def _read_class(member: Member) -> int:
    text = member.read().decode("utf-8", "replace").strip() if member.size <= _MAX_LABEL_BYTES else ""
    # A label that is too long is not converted, which takes time that grows with the square of its length.
    label = int(text) if text.isdecimal() else -1
    if not 0 <= label <= _MAX_LABEL:
        found = repr(text[:20]) if text else f"{member.size} bytes"
        raise AeframeError(
            f"'{member}' contains {found}, expected the class as a whole number up to {_MAX_LABEL}; correct it"
        )
    return label
