"""A picture of sentences: a table of lines."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence

from matplotlib import font_manager, ft2font
from matplotlib.figure import Figure

_WIDTH, _MOST = 110, 24
_LINE = 0.19
"""Inches of one line."""


def draw(panels: Mapping[str, Sequence[str]]) -> Figure:
    """Draw the first sentences of each panel below its title, numbered, and broken where they are long."""
    lines: list[tuple[str, bool]] = []
    for title, texts in panels.items():
        lines.append((title, True))
        for row, text in enumerate(texts[:_MOST], start=1):
            broken = textwrap.wrap(_shown(text), _WIDTH) or ["(nothing)"]
            lines.append((f"{row:>3}  {broken[0]}", False))
            lines += [(f"     {more}", False) for more in broken[1:]]
        lines.append(("", False))
    figure = Figure(figsize=(8, max(1.0, _LINE * (len(lines) + 1))), layout=None)
    for number, (text, bold) in enumerate(lines, start=1):
        figure.text(
            0.01,
            1 - number / (len(lines) + 1),
            text,
            family="monospace",
            size=8,
            weight="bold" if bold else "normal",
            va="center",
            # A dollar is a dollar.
            parse_math=False,
        )
    return figure


def _shown(text: str) -> str:
    """Return a text in the characters that the font has."""
    known = ft2font.FT2Font(font_manager.findfont("monospace")).get_charmap()
    return "".join(c if ord(c) in known else "\N{WHITE SQUARE}" for c in " ".join(text.split()))
