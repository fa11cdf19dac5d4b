"""Paths of output files that keep the names of the samples."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from pathlib import Path, PurePosixPath

_FORBIDDEN = frozenset('<>:"|?*\\') | {chr(code) for code in range(32)}
"""Characters that file names of common systems do not have, besides ``/``."""


def output_paths(
    folder: Path, names: Iterable[str], *, suffix: str, written: Collection[str] = (), read: Collection[str] = ()
) -> list[Path]:
    """Return a new path below `folder` for each name: names are relative paths of files, cell names or row ids.

    Parts of a name that lead out of the folder (``..``, a root) are left out, and characters that file names cannot
    have become ``_``. A name that occurs again gets a number: ``a.wav``, ``a-2.wav``.

    Args:
        folder: The output folder.
        names: The names; a name without usable characters becomes its number.
        suffix: The suffix of the files, such as ``.wav``, in lower case.
        written: Further suffixes that can be written; names with them stay as they are.
        read: Suffixes of files that are read but cannot be written: `suffix` replaces them (``a.mp3`` becomes
            ``a.wav``). To any other name `suffix` is appended.
    """
    taken: set[str] = set()
    paths = []
    for number, name in enumerate(names):
        relative = _relative(name) or PurePosixPath(f"{number:06d}")
        if relative.suffix.lower() not in {suffix, *written}:
            relative = relative.with_name(
                (relative.stem if relative.suffix.lower() in read else relative.name) + suffix
            )
        unique, count = relative, 1
        # Names that differ in case only are the same file on some systems.
        while str(unique).lower() in taken:
            count += 1
            unique = relative.with_name(f"{relative.stem}-{count}{relative.suffix}")
        taken.add(str(unique).lower())
        paths.append(folder / unique)
    return paths


def _relative(name: str) -> PurePosixPath | None:
    """Return a name as a path that stays within a folder; None if nothing of it is left."""
    parts = ["".join("_" if char in _FORBIDDEN else char for char in part) for part in name.split("/")]
    # Leading dots would hide a file, and blanks or dots at the end are lost on some systems.
    parts = [part.strip().rstrip(".").lstrip(".") or "_" for part in parts if part.strip(". ")]
    return PurePosixPath(*parts) if parts else None
