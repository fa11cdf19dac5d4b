"""Turn and mirror frames as the display matrix of their stream states: cameras store frames as the sensor has them."""

from __future__ import annotations

import struct
from typing import Any

import av
from av.sidedata.sidedata import Type
from numpy.typing import NDArray

from aeframe.errors import AeframeError

_MATRIX_BYTES = 36
_SLANT = 0.01
"""Up to this ratio of the smaller to the larger entries, a matrix turns by a multiple of 90 degrees."""


def oriented(who: str, pixels: NDArray[Any], frame: av.VideoFrame) -> NDArray[Any]:
    """Return pixels ``(H, W, ...)`` as they are shown: turned by a multiple of 90 degrees, and mirrored.

    Args:
        who: The video, for error messages.
        pixels: The pixels as they are stored.
        frame: The frame.

    Raises:
        AeframeError: A rotation by another angle.
    """
    # PyAV annotates the items as text.
    side_data: Any = frame.side_data
    matrix = next((bytes(data) for data in side_data if data.type == Type.DISPLAYMATRIX), b"")
    if len(matrix) != _MATRIX_BYTES:
        return pixels
    # The pixel in column p and row q is shown in column a p + c q and row b p + d q, up to a shift.
    a, b, _, c, d, *_ = struct.unpack("<9i", matrix)
    straight, crossed = abs(a) + abs(d), abs(b) + abs(c)
    if min(straight, crossed) > _SLANT * max(straight, crossed):
        raise AeframeError(
            f"{who} has a display matrix that turns frames by {frame.rotation:g} degrees, expected a multiple of 90; "
            "write it again with turned frames"
        )
    if straight >= crossed:
        rows_reversed, columns_reversed = d < 0, a < 0
    else:
        pixels = pixels.swapaxes(0, 1)
        rows_reversed, columns_reversed = b < 0, c < 0
    return pixels[:: -1 if rows_reversed else 1, :: -1 if columns_reversed else 1]
