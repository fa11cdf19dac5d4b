"""List the image files of a folder: the pages of TIFF files, and what is left out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from torch import Tensor

from aeframe.data.folders import visible_files
from aeframe.errors import AeframeError
from aeframe_image.decode import EXTENSIONS, TIFF_EXTENSIONS, full_size_pages
from aeframe_image.pictures import Files, ImageFile, Page

_TRUTH_FOLDERS = frozenset({"ground_truth", "groundtruth"})
"""Folders of masks, such as those of MVTec AD."""
_MASK_FOLDERS = frozenset({"mask", "masks", "annotation", "annotations", "segmentation", "segmentations", "labels"})
"""Folders of masks if one of `_IMAGE_FOLDERS` lies in the same folder."""
_IMAGE_FOLDERS = frozenset({"image", "images", "img", "imgs"})
_LISTED = 5


@dataclass(slots=True)
class Listing:
    """The images of a folder or file."""

    files: list[ImageFile] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    """The path of each image relative to the folder, with the number of the page of a TIFF file that has several."""
    notes: list[str] = field(default_factory=list)
    """What was left out or divided."""

    def paths(self) -> list[Path]:
        """Return the path of the file of each image."""
        return [_path(file) for file in self.files]


def images_below(folder: Path) -> list[Path]:
    """Return the image files in a folder and its sub-folders, sorted; hidden files and folders of masks are left out.

    A folder ``ground_truth`` has masks, and so has ``masks`` if there is ``images`` in the same folder.
    """
    return _found(folder)[0]


def list_images(folder: Path) -> Listing:
    """Return the images in a folder and its sub-folders, with notes about what was left out."""
    paths, masks, others = _found(folder)
    listing = _with_pages(folder, paths)
    return Listing(listing.files, listing.names, [*_left_out(folder, masks, others), *listing.notes])


def list_pages(path: Path) -> Listing:
    """Return the pages of a TIFF file, or the only image of another file."""
    return _with_pages(path.parent, [path])


def with_pages(folder: Path, paths: Iterable[Path], labels: Tensor | None, max_memory_mb: int) -> tuple[Files, Listing]:
    """Return the images of files below a folder; each page of a TIFF file is one and has the label of its file.

    Args:
        folder: The folder.
        paths: The files.
        labels: The label of each file ``(N,)``; None without labels.
        max_memory_mb: As in `Files`.
    """
    listed = list(paths)
    listing = _with_pages(folder, listed)
    if labels is not None and len(listing.files) != len(listed):
        label_of = dict(zip(listed, labels.tolist(), strict=True))
        labels = labels.new_tensor([label_of[path] for path in listing.paths()])
    return Files(listing.files, labels, max_memory_mb, listing.names), listing


def left_out(folder: Path) -> list[str]:
    """Return notes about the files below a folder that are no images, and about folders of masks."""
    _, masks, others = _found(folder)
    return [*_left_out(folder, masks, others)]


def passed_over(others: Counter[str], what: str) -> str:
    """Return a note about files that are no images.

    Args:
        others: The number of files of each suffix.
        what: What they are: ``file``.
    """
    kinds = sorted(others, key=lambda suffix: (-others[suffix], suffix))
    listed = [f"{others[kind]} {kind}" for kind in kinds[:_LISTED]]
    num_more = sum(others[kind] for kind in kinds[_LISTED:])
    listed += [f"{num_more} others"] if num_more else []
    num = others.total()
    noun, _, rest = what.partition(" ")
    return f"{num} {noun}{'s' * (num > 1)}{rest and ' '}{rest} passed over for another format: {', '.join(listed)}"


def _found(folder: Path) -> tuple[list[Path], Counter[str], Counter[str]]:
    """Return the images below a folder, and counts: of masks by folder, and of other files by suffix."""
    paths: list[Path] = []
    masks, others = Counter[str](), Counter[str]()
    for root, names in visible_files(folder):
        mask_folder = _mask_folder(folder, root)
        for name in names:
            suffix = Path(name).suffix.lower()
            if suffix not in EXTENSIONS:
                others[suffix or "without suffix"] += 1
            elif mask_folder is not None:
                masks[mask_folder] += 1
            else:
                paths.append(root / name)
    return sorted(paths), masks, others


def _mask_folder(folder: Path, root: Path) -> str | None:
    """Return the folder of masks, relative to `folder`, that `root` lies in; None if it lies in none."""
    parts = root.relative_to(folder).parts
    for depth, part in enumerate(parts):
        parent = folder.joinpath(*parts[:depth])
        is_mask = part.lower() in _TRUTH_FOLDERS or (
            part.lower() in _MASK_FOLDERS and any((parent / name).is_dir() for name in _IMAGE_FOLDERS)
        )
        if is_mask:
            return "/".join(parts[: depth + 1])
    return None


def _left_out(folder: Path, masks: Counter[str], others: Counter[str]) -> Iterator[str]:
    if others:
        yield passed_over(others, "file")
    for name, num in sorted(masks.items()):
        yield (
            f"{num} image{'s' * (num > 1)} in the folder '{name}' {'are' if num > 1 else 'is'} passed over as masks; "
            "the path of that folder reads them"
        )


def _with_pages(folder: Path, paths: list[Path]) -> Listing:
    listing, num_stacks, num_pages, example = Listing(), 0, 0, ""
    for path in paths:
        name = path.relative_to(folder).as_posix()
        pages = _pages(path)
        if len(pages) == 1:
            listing.files.append(path)
            listing.names.append(name)
            continue
        num_stacks, num_pages, example = num_stacks + 1, num_pages + len(pages), example or f"{name}#{pages[0]}"
        listing.files += [Page(path, page) for page in pages]
        listing.names += [f"{name}#{page}" for page in pages]
    if num_stacks:
        listing.notes.append(
            f"{num_stacks} TIFF file{'s have' if num_stacks > 1 else ' has'} several pages: each of the {num_pages} "
            f"pages is an image, such as '{example}'"
        )
    return listing


def _pages(path: Path) -> list[int]:
    """Return the numbers of the pages of a file that are images."""
    if path.suffix.lower() not in TIFF_EXTENSIONS:
        return [0]
    try:
        return full_size_pages(path)
    except AeframeError:
        # Decoding the file raises the error again, or skips the file.
        return [0]


def _path(file: ImageFile) -> Path:
    assert isinstance(file, (Path, Page))
    return file.path if isinstance(file, Page) else file
