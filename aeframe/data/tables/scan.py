"""`scan_text`: one pass over the bytes of a text file, for its encoding and the number of its lines."""

from __future__ import annotations

import codecs
import functools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from aeframe.data.limits import check_memory
from aeframe.data.tables.compression import READ_ERRORS, SUFFIXES, open_binary
from aeframe.errors import AeframeError

_BLOCK = 1 << 20
MAX_LINE_BYTES = 1 << 26
"""Bytes of one line; a longer one is no line of a table, but would be read into memory at once."""
_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
"""Byte order marks and their encodings; the mark of UTF-32 begins with that of UTF-16."""


@dataclass(frozen=True, slots=True)
class Scan:
    """What one pass over a text file finds."""

    encoding: str
    """The name by which Python opens the file."""
    num_lines: int
    """Lines that end in a line feed, and the last one if it does not."""
    is_simple: bool
    """Whether all lines end in a line feed, and no byte is zero."""
    has_underscores: bool
    """Whether there is an underscore, which Python accepts between the digits of a number."""
    note: str | None = None
    """A sentence about an encoding that was guessed."""


def scan_text(path: Path, encoding: str | None) -> Scan:
    """Read a text file once; `encoding` is that of the user, None to find it out.

    UTF-8 is recognised by its content, UTF-16 and UTF-32 by their byte order marks or their zero bytes. Another file is
    taken for Windows-1252, a superset of Latin-1, with a note.

    Raises:
        AeframeError: The file cannot be read, is no text, has a line that is too long, or expands to more than fits
            into memory.
    """
    status = path.stat()
    return _scan(path, encoding, status.st_size, status.st_mtime_ns)


@functools.lru_cache(maxsize=16)
def _scan(path: Path, encoding: str | None, size: int, modified: int) -> Scan:
    """As `scan_text`; a file is scanned again when its size or time of modification changes."""
    try:
        found = encoding or _encoding_of_head(path)
        if found is None or _is_superset_of_ascii(found):
            return _scan_bytes(path, found)
        return _count(path, found, _transcoded(path, found))
    except READ_ERRORS as error:
        raise unreadable(path, error) from None


def unreadable(path: Path, error: Exception) -> AeframeError:
    """Return the error for a file that is damaged, or no text of its encoding."""
    if isinstance(error, UnicodeDecodeError):
        return AeframeError(
            f"'{path}' cannot be read as {error.encoding} (byte {error.start} is {error.object[error.start]:#04x}); "
            "set data.encoding to its encoding, such as cp1252, or save it as UTF-8"
        )
    return AeframeError(
        f"'{path}' cannot be read as {path.suffix} ({str(error) or type(error).__name__}); copy it again"
    )


def _encoding_of_head(path: Path) -> str | None:
    """Return the encoding that a byte order mark or zero bytes show; None if all bytes have to decide."""
    with open_binary(path) as file:
        head = file.read(1 << 16)
    for mark, name in _MARKS:
        if head.startswith(mark):
            return name
    if b"\0" not in head:
        return None
    # Text in UTF-16 has a zero byte beside each Latin letter, digit and comma.
    half = max(1, len(head) // 2)
    for first, name in ((0, "utf-16-be"), (1, "utf-16-le")):
        if head[first::2].count(0) > 0.4 * half and head[1 - first :: 2].count(0) == 0:
            return name
    raise AeframeError(f"'{path}' cannot be read as text (it has zero bytes); expected rows of numbers with delimiters")


def _is_superset_of_ascii(encoding: str) -> bool:
    try:
        return "a,1\n".encode(encoding) in (b"a,1\n", codecs.BOM_UTF8 + b"a,1\n")
    except LookupError:
        raise AeframeError(
            f"data.encoding is '{encoding}', which Python does not know; set utf-8, utf-16 or cp1252"
        ) from None


def _scan_bytes(path: Path, encoding: str | None) -> Scan:
    """Scan a file whose line feeds and underscores are those of ASCII."""
    decoder = codecs.getincrementaldecoder(encoding or "utf-8")()
    is_valid = [True]

    def blocks() -> Iterator[bytes]:
        for block in _blocks(path):
            if is_valid[0]:
                try:
                    decoder.decode(block)
                except UnicodeDecodeError as error:
                    if encoding is not None:
                        raise unreadable(path, error) from None
                    is_valid[0] = False
            yield block
        if is_valid[0]:
            try:
                decoder.decode(b"", final=True)
            except UnicodeDecodeError as error:
                if encoding is not None:
                    raise unreadable(path, error) from None
                is_valid[0] = False

    scan = _count(path, encoding or "utf-8", blocks())
    if is_valid[0]:
        return scan
    return Scan(
        # The five bytes that Windows-1252 leaves undefined are control characters in Latin-1.
        "cp1252" if _decodes(path, "cp1252") else "latin-1",
        scan.num_lines,
        scan.is_simple,
        scan.has_underscores,
        f"'{path.name}' is not UTF-8, and was read as Windows-1252 (Western European)",
    )


def _count(path: Path, encoding: str, blocks: Iterator[bytes]) -> Scan:
    """Count the lines in blocks of bytes, whose line feeds are those of ASCII."""
    num_feeds = num_returns = num_pairs = num_bytes = length = 0
    has_zeros = has_underscores = False
    last = b""
    for block in blocks:
        num_bytes += len(block)
        if path.suffix.lower() in SUFFIXES:
            check_memory(f"'{path.name}'", num_bytes)
        num_feeds += block.count(b"\n")
        num_returns += block.count(b"\r")
        num_pairs += block.count(b"\r\n") + (last == b"\r" and block.startswith(b"\n"))
        has_zeros = has_zeros or b"\0" in block
        has_underscores = has_underscores or b"_" in block
        end = max(block.rfind(b"\n"), block.rfind(b"\r"))
        length = length + len(block) if end < 0 else len(block) - end
        if length > MAX_LINE_BYTES:
            raise AeframeError(
                f"'{path.name}' has a line of more than {MAX_LINE_BYTES >> 20} MiB, expected rows of a table; write "
                "wide tables as NPY or Parquet"
            )
        last = block[-1:]
    num_lines = num_feeds + (num_bytes > 0 and last != b"\n")
    return Scan(encoding, num_lines, num_returns == num_pairs and not has_zeros, has_underscores)


def _blocks(path: Path) -> Iterator[bytes]:
    with open_binary(path) as file:
        while block := file.read(_BLOCK):
            yield block


def _transcoded(path: Path, encoding: str) -> Iterator[bytes]:
    """Yield the text of a file in UTF-8, by block."""
    decoder = codecs.getincrementaldecoder(encoding)()
    try:
        for block in _blocks(path):
            yield decoder.decode(block).encode("utf-8", "surrogatepass")
        yield decoder.decode(b"", final=True).encode("utf-8", "surrogatepass")
    except UnicodeDecodeError as error:
        raise unreadable(path, error) from None


def _decodes(path: Path, encoding: str) -> bool:
    """Return whether a file is text in an encoding of one byte for each character."""
    try:
        return all(block.decode(encoding) is not None for block in _blocks(path))
    except UnicodeDecodeError:
        return False
