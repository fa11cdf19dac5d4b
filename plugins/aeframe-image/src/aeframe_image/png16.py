"""Colour PNG files of 16 bits, of which Pillow reads 8 and writes none."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from aeframe.data.limits import check_memory, check_pixels

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
GREY_ALPHA = 4
"""The PNG colour type of grey with alpha."""
_CHANNELS = {2: 3, GREY_ALPHA: 2, 6: 4}
"""Number of channels by PNG colour type; the others are RGB, and RGB with alpha."""
_ADAM7 = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
"""First column and row of each pass of an interlaced file, and the steps between its columns and rows."""

Bytes = NDArray[np.uint8]


def is_wide_colour(head: bytes) -> bool:
    """Return whether a file is a PNG of 16 bits with more than one channel, from its first 26 bytes."""
    return head[:8] == _SIGNATURE and head[24:25] == b"\x10" and head[25:26] in (b"\x02", b"\x04", b"\x06")


def read(who: str, stream: BinaryIO) -> NDArray[np.uint16]:
    """Return the values ``(H, W, C)`` of a file for which `is_wide_colour` is true (PNG, ISO/IEC 15948).

    Raises:
        AeframeError: The image is larger than the limits.
        ValueError, zlib.error, struct.error: A damaged file.
    """
    stream.seek(8)
    header, compressed = b"", []
    while True:
        length, kind = struct.unpack(">I4s", stream.read(8))
        if kind == b"IDAT":
            compressed.append(stream.read(length))
        elif kind == b"IHDR":
            header = stream.read(length)
        else:
            stream.seek(length, 1)
        stream.seek(4, 1)
        if kind == b"IEND":
            break
    width, height, _, colour, _, _, interlaced = struct.unpack(">IIBBBBB", header)
    check_pixels(who, width, height)
    num_bytes = 2 * _CHANNELS[colour]
    check_memory(who, width * height * num_bytes)
    values = np.empty((height, width, num_bytes), np.uint8)
    passes: list[tuple[Bytes, int, int]] = []
    for column, row, column_step, row_step in _ADAM7 if interlaced else ((0, 0, 1, 1),):
        target = values[row::row_step, column::column_step]
        if target.size:
            passes.append((target, *target.shape[:2]))
    expected = sum(rows * (1 + columns * num_bytes) for _, rows, columns in passes)
    # A damaged or hostile file may inflate to any size.
    data = zlib.decompressobj().decompress(b"".join(compressed), expected + 1)
    if len(data) != expected:
        raise ValueError("the pixels are incomplete")
    start = 0
    for target, rows, columns in passes:
        size = rows * (1 + columns * num_bytes)
        lines = np.frombuffer(data, np.uint8, size, start).reshape(rows, -1)
        target[:] = _unfiltered(lines[:, 0], lines[:, 1:].reshape(rows, columns, num_bytes))
        start += size
    return values.view(">u2").astype(np.uint16)


def write(values: NDArray[Any], path: Path) -> None:
    """Write an image ``(H, W, 3)`` of uint16 as a new file."""
    height, width = values.shape[:2]
    lines = np.ascontiguousarray(values, ">u2").view(np.uint8).reshape(height, -1)
    # Each byte minus the one above it, which is filter 2, compresses better than the byte.
    differences = np.diff(lines, axis=0, prepend=np.zeros_like(lines[:1]))
    data = np.concatenate([np.full((height, 1), 2, np.uint8), differences], 1).tobytes()
    header = struct.pack(">IIBBBBB", width, height, 16, 2, 0, 0, 0)
    with path.open("xb") as file:
        file.write(_SIGNATURE)
        for kind, content in ((b"IHDR", header), (b"IDAT", zlib.compress(data)), (b"IEND", b"")):
            checksum = zlib.crc32(kind + content)
            file.write(struct.pack(">I", len(content)) + kind + content + struct.pack(">I", checksum))


def _unfiltered(filters: Bytes, lines: Bytes) -> Bytes:
    """Return the bytes ``(rows, columns, B)`` of an image from those of its filtered lines.

    A byte depends on its neighbours to the left, above, and above left, so all bytes of an anti-diagonal are computed
    at once.

    Args:
        filters: The filter ``(rows,)`` of each line, 0 to 4.
        lines: The filtered bytes ``(rows, columns, B)``.
    """
    if filters.max() > 4:
        raise ValueError("unknown filter of a line")
    rows, columns, num_bytes = lines.shape
    # A row of zeros above the image, and a column of zeros to its left.
    known = np.zeros((rows + 1, columns + 1, num_bytes), np.int16)
    for diagonal in range(rows + columns - 1):
        row = np.arange(max(0, diagonal - columns + 1), min(rows, diagonal + 1))
        column = diagonal - row
        left, above, corner = known[row + 1, column], known[row, column + 1], known[row, column]
        to_left, to_above, to_corner = abs(above - corner), abs(left - corner), abs(left + above - 2 * corner)
        nearest = np.where(to_above <= to_corner, above, corner)
        nearest = np.where((to_left <= to_above) & (to_left <= to_corner), left, nearest)
        predictions = (np.zeros_like(left), left, above, (left + above) >> 1, nearest)
        predicted = np.choose(filters[row][:, None], predictions)
        known[row + 1, column + 1] = (lines[row, column] + predicted) & 255
    return known[1:, 1:].astype(np.uint8)
