"""Compare the size of the sound data in the header of a file with the bytes that are there.

libsndfile reads a truncated file without an error. What counts is the data chunk: the size of the whole file in a
header is often some bytes too large, and players ignore it.
"""

from __future__ import annotations

from typing import BinaryIO, Literal

_STREAMED = 0x7FFF0000
"""From this size on, the header was written before the length was known: programs that write to a pipe state the
largest size that they can, rounded in different ways."""


def missing_bytes(file: BinaryIO, size: int) -> int:
    """Return how many bytes of the sound data that the header states are not in the file; 0 for other formats.

    Args:
        file: A file of `size` bytes, at its beginning.
        size: Its bytes.
    """
    head = file.read(12)
    if head[:4] in (b"RIFF", b"RIFX", b"RF64") and head[8:12] == b"WAVE":
        return _missing_in_chunks(file, size, b"data", "big" if head[:4] == b"RIFX" else "little")
    if head[:4] == b"FORM" and head[8:12] in (b"AIFF", b"AIFC"):
        return _missing_in_chunks(file, size, b"SSND", "big")
    if head[:4] == b".snd":
        return _missing(int.from_bytes(head[4:8], "big"), int.from_bytes(head[8:12], "big"), size)
    if head[:4] == b"caff":
        file.seek(8)
        return _missing_in_chunks(file, size, b"data", "big", size_bytes=8, even=False)
    return 0


def _missing_in_chunks(
    file: BinaryIO, size: int, wanted: bytes, order: Literal["little", "big"], *, size_bytes: int = 4, even: bool = True
) -> int:
    """Return the missing bytes of the chunk `wanted`; chunks have a name, a size and their content."""
    long_size = None
    position = file.tell()
    while True:
        file.seek(position)
        header = file.read(4 + size_bytes)
        if len(header) < 4 + size_bytes:
            return 0
        position += 4 + size_bytes
        stated = int.from_bytes(header[4:], order)
        if header[:4] == wanted:
            # A size of all ones refers to that in the chunk ds64 of a file beyond 4 GB.
            if long_size is not None and stated == 0xFFFFFFFF:
                return max(0, position + long_size - size)
            return _missing(position, stated, size)
        if header[:4] == b"ds64":
            content = file.read(16)
            long_size = int.from_bytes(content[8:16], "little")
        position += stated + (stated % 2 if even else 0)


def _missing(start: int, stated: int, size: int) -> int:
    """Return the missing bytes of data that start at `start`; 0 if their size was unknown when it was written."""
    return 0 if stated == 0 or stated >= _STREAMED else max(0, start + stated - size)
