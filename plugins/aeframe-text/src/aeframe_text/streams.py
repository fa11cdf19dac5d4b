"""Open text files: compressed ones, those of other encodings, and none that would exhaust the memory."""

from __future__ import annotations

import bz2
import codecs
import gzip
import io
import lzma
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, TextIO

from aeframe.data.limits import check_memory
from aeframe.data.tables.parquet import import_pyarrow
from aeframe.errors import AeframeError
from aeframe_text.reading import ReadOptions

COMPRESSIONS = (".gz", ".bz2", ".xz", ".zst")
MAX_CHARACTERS = 100_000_000
"""Characters of one line, or of a file that is one text. A compressed file of 100 kB can have a line of 100 MB."""
_HEAD = 4096
# The order matters: the mark of UTF-32 begins with that of UTF-16.
_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig", "UTF-8"),
    (codecs.BOM_UTF32_LE, "utf-32", "UTF-32"),
    (codecs.BOM_UTF32_BE, "utf-32", "UTF-32"),
    (codecs.BOM_UTF16_LE, "utf-16", "UTF-16"),
    (codecs.BOM_UTF16_BE, "utf-16", "UTF-16"),
)
_SIGNATURES = (
    (b"\x1f\x8b", "a gzip file", ".gz"),
    (b"BZh", "a bzip2 file", ".bz2"),
    (b"\xfd7zXZ\0", "an xz file", ".xz"),
    (b"\x28\xb5\x2f\xfd", "a Zstandard file", ".zst"),
    (b"PAR1", "a Parquet file", ".parquet"),
    (b"PK\3\4", "a zip archive", None),
    (b"%PDF", "a PDF", None),
)


def format_of(path: Path) -> str:
    """Return the suffix that names the format, in lower case and without that of a compression: ``.txt``."""
    path = Path(path.name.lower())
    return Path(path.stem).suffix if path.suffix in COMPRESSIONS else path.suffix


@contextmanager
def open_text(path: Path, reading: ReadOptions, *, newline: str | None = None) -> Iterator[TextIO]:
    """Open a text file, decompressed and decoded.

    Args:
        path: The file.
        reading: Its encoding, if it is set.
        newline: As for `open`.

    Raises:
        AeframeError: In the block too: the bytes cannot be decompressed or decoded, or are more than fit into memory.
    """
    who = f"'{path.name}'"
    with _decompression_errors(path):
        encoding = _encoding(path, reading)
        with _open_bytes(path) as file:
            bounded = io.BufferedReader(_Bounded(file, who), 1 << 16)
            try:
                yield io.TextIOWrapper(bounded, encoding=encoding, newline=newline)
            except UnicodeDecodeError as error:
                raise _not_decodable(path, encoding, reading) from error


def bounded_lines(file: TextIO, path: Path) -> Iterator[str]:
    """Yield the lines of a file, line breaks included.

    Raises:
        AeframeError: A line is longer than `MAX_CHARACTERS`.
    """
    number = 1
    while line := file.readline(MAX_CHARACTERS + 1):
        if len(line) > MAX_CHARACTERS:
            raise AeframeError(
                f"'{path.name}', line {number} has more than {MAX_CHARACTERS:,} characters; check that the file is "
                "text, or divide the line"
            )
        yield line
        number += 1


def bounded_text(file: TextIO, path: Path, remedy: str) -> str:
    """Return the whole text of a file; `remedy` is the advice for a longer one.

    Raises:
        AeframeError: The text is longer than `MAX_CHARACTERS`.
    """
    text = file.read(MAX_CHARACTERS + 1)
    if len(text) > MAX_CHARACTERS:
        raise AeframeError(f"'{path.name}' has more than {MAX_CHARACTERS:,} characters; {remedy}")
    return text


def create_text(path: Path) -> TextIO:
    """Open a new UTF-8 file for writing, compressed if its suffix is that of a compression.

    Raises:
        FileExistsError: The file exists.
    """
    suffix = path.suffix.lower()
    if suffix == ".zst":
        binary: Any = import_pyarrow(path).CompressedOutputStream(path.open("xb"), "zstd")
        return io.TextIOWrapper(binary, encoding="utf-8", newline="")
    opened: Any = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}.get(suffix, open)
    file: TextIO = opened(path, "xt", encoding="utf-8", newline="")
    return file


def encoding_note(path: Path, reading: ReadOptions) -> str | None:
    """Return the note that the byte order mark of a file decides its encoding; None for UTF-8 and for no mark."""
    with _decompression_errors(path), _open_bytes(path) as file:
        found = _mark(file.read(_HEAD))
    expected = codecs.lookup(reading.encoding or "utf-8").name
    if found is None or found[0].startswith(expected):
        return None
    return f"'{path.name}' is read as {found[1]}, as its byte order mark states"


class _Bounded(io.RawIOBase):
    """A stream that raises an error before what was read from it exceeds the memory."""

    def __init__(self, file: IO[bytes], who: str) -> None:
        self._file, self._who, self._count = file, who, 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        content = self._file.read(len(buffer))
        self._count += len(content)
        check_memory(self._who, self._count, "its text")
        buffer[: len(content)] = content
        return len(content)


def _open_bytes(path: Path) -> IO[bytes]:
    suffix = path.suffix.lower()
    if suffix == ".zst":
        stream: IO[bytes] = import_pyarrow(path).CompressedInputStream(str(path), "zstd")
        return stream
    opened: Any = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}.get(suffix, open)
    file: IO[bytes] = opened(path, "rb")
    return file


@contextmanager
def _decompression_errors(path: Path) -> Iterator[None]:
    if path.suffix.lower() not in COMPRESSIONS:
        yield
        return
    try:
        yield
    # pyarrow raises OSError and ValueError; UnicodeDecodeError, a ValueError, is handled within.
    except (EOFError, OSError, ValueError, zlib.error, lzma.LZMAError) as error:
        raise AeframeError(
            f"'{path.name}' cannot be decompressed as {path.suffix} ({error}); copy the whole file again"
        ) from error


def _mark(head: bytes) -> tuple[str, str] | None:
    """Return the encoding of the byte order mark, for Python and for messages; None without a mark."""
    return next(((encoding, name) for mark, encoding, name in _MARKS if head.startswith(mark)), None)


def _encoding(path: Path, reading: ReadOptions) -> str:
    """Return the encoding to decode a file with.

    Raises:
        AeframeError: The file is not text, or seems to be UTF-16 without a byte order mark.
    """
    with _open_bytes(path) as file:
        head = file.read(_HEAD)
    found = _mark(head)
    if found is not None:
        return found[0]
    if reading.encoding is not None and not reading.is_trained:
        return reading.encoding
    signature = next((each for each in _SIGNATURES if head.startswith(each[0])), None)
    if signature is not None:
        remedy = "convert it to text" if signature[2] is None else f"name it '{path.name}{signature[2]}'"
        raise AeframeError(f"'{path.name}' is {signature[1]}, not text; {remedy}")
    for name, zeros in (("utf-16-le", head[1::2]), ("utf-16-be", head[::2])):
        if len(head) > 3 and zeros.count(0) > 0.4 * len(zeros):
            raise AeframeError(
                f"'{path.name}' has a zero in every second byte, and seems to be UTF-16 without a byte order mark; "
                + ("save it as UTF-8" if reading.is_trained else f"set data.encoding={name}, or save it as UTF-8")
            )
    if reading.encoding is not None and not _is_utf8(path):
        return reading.encoding
    return "utf-8"


def _is_utf8(path: Path) -> bool:
    decoder = codecs.getincrementaldecoder("utf-8")()
    with _open_bytes(path) as file:
        try:
            while content := file.read(1 << 20):
                decoder.decode(content)
            decoder.decode(b"", final=True)
        except UnicodeDecodeError:
            return False
    return True


def _not_decodable(path: Path, encoding: str, reading: ReadOptions) -> AeframeError:
    """Return the error for a file with bytes that are not of its encoding, with the first such line."""
    if encoding not in ("utf-8", "utf-8-sig"):
        remedy = "save it as UTF-8" if reading.is_trained else "set data.encoding to the right one"
        return AeframeError(f"'{path.name}' cannot be decoded as {encoding}; {remedy}")
    where = f"'{path.name}'"
    with _open_bytes(path) as file:
        # A line break is one byte, and no part of the bytes of another character.
        bounded = io.BufferedReader(_Bounded(file, where))
        for number, line in enumerate(iter(lambda: bounded.readline(MAX_CHARACTERS), b""), start=1):
            try:
                line.decode("utf-8")
            except UnicodeDecodeError as error:
                place, byte = error.start, line[error.start]
                where = f"{where}, line {number} is not UTF-8 (byte {place + 1} of the line is {byte:#04x})"
                if reading.is_trained:
                    break
                shown = " ".join(line[max(0, place - 20) : place + 20].decode("cp1252", "replace").split())
                return AeframeError(
                    f"{where}; set data.encoding, for example to cp1252, which reads '{shown}' there, or save the file "
                    "as UTF-8"
                )
    return AeframeError(f"{where}; save the file as UTF-8")
