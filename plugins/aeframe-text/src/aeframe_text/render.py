"""Draw sentences as lines of text in a figure."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence

from matplotlib import font_manager, ft2font
from matplotlib.figure import Figure

from aeframe.tensors import evenly_spaced

_CHARACTERS_PER_LINE, _MAX_SENTENCES = 110, 24
_LINE_INCHES = 0.19


def draw(panels: Mapping[str, Sequence[str]]) -> Figure:
    """Return a figure with at most 24 sentences of each panel below its title, numbered; long ones are wrapped.

    They are evenly spaced, since the first sentences may be of one class.
    """
    lines: list[tuple[str, bool]] = []
    for title, texts in panels.items():
        lines.append((title, True))
        for row in evenly_spaced(len(texts), _MAX_SENTENCES).tolist():
            text, number = texts[row], row + 1
            wrapped = textwrap.wrap(_printable(text), _CHARACTERS_PER_LINE) or ["(empty)"]
            lines.append((f"{number:>3}  {wrapped[0]}", False))
            lines += [(f"     {continuation}", False) for continuation in wrapped[1:]]
        lines.append(("", False))
    figure = Figure(figsize=(8, max(1.0, _LINE_INCHES * (len(lines) + 1))), layout=None)
    for number, (text, bold) in enumerate(lines, start=1):
        figure.text(
            0.01,
            1 - number / (len(lines) + 1),
            text,
            family="monospace",
            size=8,
            weight="bold" if bold else "normal",
            va="center",
            # Otherwise dollar signs would delimit formulas.
            parse_math=False,
        )
    return figure


def _printable(text: str) -> str:
    """Return a text with single spaces, and a white square for each character that the font lacks."""
    glyphs = ft2font.FT2Font(font_manager.findfont("monospace")).get_charmap()
    return "".join(c if ord(c) in glyphs else "\N{WHITE SQUARE}" for c in " ".join(text.split()))
