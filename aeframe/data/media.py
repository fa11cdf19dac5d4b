"""`Medium`: what a browser shows or plays of one sample, such as a picture, a sound or a text."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True, slots=True)
class Medium:
    """A part of how a sample is shown, see `Modality.show`.

    Pages show the types ``image/...`` as pictures, and ``audio/...`` and ``video/...`` with a player.
    """

    mime: str
    """The MIME type of the content, such as ``image/png``, ``audio/wav`` or ``text/plain``."""
    content: bytes | str
    """A string for ``text/plain``, otherwise the bytes of a file of the type."""


def figure_medium(figure: Figure, dpi: int = 100) -> Medium:
    """Return a figure as a PNG picture."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=dpi)
    return Medium("image/png", buffer.getvalue())
