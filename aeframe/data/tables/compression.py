"""Open text files that may be compressed: gzip, bzip2, xz, Zstandard, or a zip archive of one file."""

from __future__ import annotations

import importlib.util
import io
import lzma
import zipfile
import zlib
from pathlib import Path
from typing import IO, Any, cast

from aeframe.errors import AeframeError

SUFFIXES = (".gz", ".bz2", ".xz", ".zst", ".zip")
TEXT_SUFFIXES = (".csv", ".tsv", ".tab", ".txt", ".dat", ".data")
"""Suffixes of text tables, before that of a compression."""
READ_ERRORS = (OSError, EOFError, zlib.error, lzma.LZMAError, zipfile.BadZipFile)
"""What damaged files raise when they are read."""


def plain_suffix(path: Path) -> str:
    """Return the suffix before that of the compression, in lower case: ``.csv`` for ``rows.CSV.gz``."""
    name = Path(path.name.lower())
    return Path(name.stem).suffix if name.suffix in SUFFIXES else name.suffix


def open_binary(path: Path) -> IO[bytes]:
    """Open a file for reading its decompressed bytes.

    Raises:
        AeframeError: A zip archive holds several files, or the compression needs a library that is not installed.
    """
    suffix = path.suffix.lower()
    if suffix == ".zip":
        return _open_member(path)
    if suffix == ".zst":
        return _open_zstandard(path)
    return path.open("rb") if suffix not in SUFFIXES else cast("IO[bytes]", _opener(suffix)(path, "rb"))


def open_for_writing(path: Path) -> IO[str]:
    """Open a new text file in UTF-8, compressed as its suffix states.

    Raises:
        AeframeError: Files with this compression are read only.
    """
    suffix = path.suffix.lower()
    if suffix in (".zip", ".zst"):
        raise AeframeError(f"'{path.name}' would be compressed as {suffix}, which is read only; write .gz, .bz2 or .xz")
    opener = _opener(suffix) if suffix in SUFFIXES else open
    return cast("IO[str]", opener(path, "wt", encoding="utf-8", newline=""))


def _opener(suffix: str) -> Any:
    """Return the function that opens a compressed file; its module is imported here."""
    if suffix == ".gz":
        import gzip

        return gzip.open
    if suffix == ".bz2":
        import bz2

        return bz2.open
    return lzma.open


def _open_member(path: Path) -> IO[bytes]:
    """Open the only file in a zip archive."""
    archive = zipfile.ZipFile(path)
    # macOS adds a folder of hidden files to its archives.
    names = [name for name in archive.namelist() if not name.endswith("/") and not name.startswith("__MACOSX/")]
    if len(names) != 1:
        shown = ", ".join(names[:4]) + (", ..." if len(names) > 4 else "")
        raise AeframeError(f"'{path}' holds {len(names)} files ({shown}), expected one; unpack it and name one of them")
    return archive.open(names[0])


def _open_zstandard(path: Path) -> IO[bytes]:
    if importlib.util.find_spec("zstandard") is not None:
        return cast("IO[bytes]", importlib.import_module("zstandard").open(path, "rb"))
    try:
        import pyarrow as pa
    except ImportError:
        raise AeframeError(
            f"'{path.name}' needs zstandard or pyarrow, which are not installed; install one with pip install zstandard"
        ) from None
    return cast("IO[bytes]", io.BufferedReader(pa.CompressedInputStream(pa.OSFile(str(path)), "zstd")))
