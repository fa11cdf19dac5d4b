"""Film strips: clips laid out for the eye, time from left to right."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from matplotlib.figure import Figure
from torch import Tensor

_CLIPS, _SINGLE_CLIPS, _FRAMES = 4, 12, 10
_WIDTH_INCHES = 8.4
_TITLE_INCHES = 0.28
_MARGIN_INCHES = 0.08
_WHITE = 255


def draw(panels: Mapping[str, Tensor]) -> Figure:
    """Return a figure of uint8 frames ``(N, T, C, H, W)`` by title.

    Each panel has a strip for each of at most 4 clips (12, of a single panel), and a strip at most 10 frames. Both are
    spread evenly, the first and the last among them, and are the same ones in all panels of one size.
    """
    rows = _SINGLE_CLIPS if len(panels) == 1 else _CLIPS
    canvases = {title: strips(pixels[_spread(len(pixels), rows)]) for title, pixels in panels.items()}
    heights = {title: _WIDTH_INCHES * canvas.shape[0] / canvas.shape[1] for title, canvas in canvases.items()}
    full, total = _WIDTH_INCHES + 2 * _MARGIN_INCHES, sum(heights.values()) + len(heights) * _TITLE_INCHES
    total += _MARGIN_INCHES
    figure = Figure(figsize=(full, total), dpi=150)
    top = total
    for title, canvas in canvases.items():
        frames = panels[title].shape[1]
        shown = "" if frames <= _FRAMES else f" ({_FRAMES} of {frames} frames)"
        top -= _TITLE_INCHES
        figure.text(_MARGIN_INCHES / full, (top + 0.05) / total, f"{title}{shown}", fontsize=8, va="bottom", ha="left")
        top -= heights[title]
        place = (_MARGIN_INCHES / full, top / total, _WIDTH_INCHES / full, heights[title] / total)
        axes = figure.add_axes(place)
        axes.imshow(canvas.numpy(), cmap="gray", vmin=0, vmax=_WHITE, interpolation="nearest", aspect="auto")
        axes.set_axis_off()
    return figure


def strips(pixels: Tensor) -> Tensor:
    """Lay clips ``(N, T, C, H, W)`` below one another as strips of at most 10 frames.

    Frames are parted by a thin white line and clips by a wider one: ``(rows, columns)`` or ``(rows, columns, 3)``.
    """
    pixels = pixels[:, _spread(pixels.shape[1], _FRAMES)]
    num, frames, channels, height, width = pixels.shape
    gap = max(1, round(max(height, width) / 32))
    canvas = torch.full(
        (num * (height + 2 * gap) - 2 * gap, frames * (width + gap) - gap, channels), _WHITE, dtype=torch.uint8
    )
    for row in range(num):
        for column in range(frames):
            top, left = row * (height + 2 * gap), column * (width + gap)
            canvas[top : top + height, left : left + width] = pixels[row, column].permute(1, 2, 0)
    return canvas[..., 0] if channels == 1 else canvas


def _spread(num: int, most: int) -> Tensor:
    """Return at most `most` places of `num`, evenly spread."""
    return torch.linspace(0, num - 1, min(num, most)).round().long()
