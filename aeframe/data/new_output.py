"""Write new files and folders completely or not at all."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

from aeframe.errors import AeframeError


def check_new(path: Path) -> None:
    """Raise AeframeError if something has the path already."""
    if path.exists():
        raise AeframeError(f"'{path}' exists and is not overwritten; remove it, or choose another path")


@contextlib.contextmanager
def removed_after_error(path: Path) -> Iterator[None]:
    """Remove a file if the block fails: a part of the rows could be taken for all."""
    try:
        yield
    except BaseException:
        path.unlink()
        raise


def write_new(path: Path, write: Callable[[Path], list[Path]]) -> list[Path]:
    """Write a new file or folder, and return the files; after an error or an interrupt nothing is left.

    Args:
        path: The file or folder.
        write: Writes it under the path that it receives, of the same name in a temporary folder, and returns the files.
            They may also have another suffix than the path.

    Raises:
        AeframeError: Something has the path already.
    """
    check_new(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix=".partial-", dir=path.parent) as folder:
        files = [path.parent / file.relative_to(folder) for file in write(Path(folder, path.name))]
        written = sorted(Path(folder).iterdir())
        for each in written:
            check_new(path.with_name(each.name))
        for each in written:
            each.rename(path.with_name(each.name))
    return files
