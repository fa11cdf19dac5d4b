"""Film strips: the frames of each clip in a row.

Shapes: N clips, T frames, C channels, H x W pixels.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from matplotlib.figure import Figure
from torch import Tensor

from aeframe.tensors import evenly_spaced

_CLIPS, _SINGLE_PANEL_CLIPS, _FRAMES = 4, 12, 10
"""Maximal numbers of clips in one of several panels, of clips in a single panel, and of frames of a clip."""
_WIDTH_INCHES = 8.4
_TITLE_INCHES = 0.28
_MARGIN_INCHES = 0.08
_WHITE = 255


def plot_film_strips(panels: Mapping[str, Tensor]) -> Figure:
    """Plot uint8 frames ``(N, T, C, H, W)`` by title.

    One of several panels has at most 4 clips, a single panel at most 12, and each clip at most 10 frames. Clips and
    frames are evenly spaced and include the first and the last one.
    """
    num_clips = _SINGLE_PANEL_CLIPS if len(panels) == 1 else _CLIPS
    images = {title: film_strips(pixels[evenly_spaced(len(pixels), num_clips)]) for title, pixels in panels.items()}
    heights = {title: _WIDTH_INCHES * image.shape[0] / image.shape[1] for title, image in images.items()}
    width = _WIDTH_INCHES + 2 * _MARGIN_INCHES
    height = sum(heights.values()) + len(heights) * _TITLE_INCHES
    height += _MARGIN_INCHES
    figure = Figure(figsize=(width, height), dpi=150)
    top = height
    for title, image in images.items():
        frames = panels[title].shape[1]
        note = "" if frames <= _FRAMES else f" ({_FRAMES} of {frames} frames)"
        top -= _TITLE_INCHES
        figure.text(_MARGIN_INCHES / width, (top + 0.05) / height, f"{title}{note}", fontsize=8, va="bottom", ha="left")
        top -= heights[title]
        axes = figure.add_axes((_MARGIN_INCHES / width, top / height, _WIDTH_INCHES / width, heights[title] / height))
        axes.imshow(image.numpy(), cmap="gray", vmin=0, vmax=_WHITE, interpolation="nearest", aspect="auto")
        axes.set_axis_off()
    return figure


def film_strips(pixels: Tensor) -> Tensor:
    """Return an image ``(rows, columns)`` or ``(rows, columns, 3)`` of clips ``(N, T, C, H, W)``.

    Each clip is a row of at most 10 frames. White lines separate frames, and wider white lines separate clips.
    """
    pixels = pixels[:, evenly_spaced(pixels.shape[1], _FRAMES)]
    num, frames, channels, height, width = pixels.shape
    gap = max(1, round(max(height, width) / 32))
    image = torch.full(
        (num * (height + 2 * gap) - 2 * gap, frames * (width + gap) - gap, channels), _WHITE, dtype=torch.uint8
    )
    for row in range(num):
        for column in range(frames):
            top, left = row * (height + 2 * gap), column * (width + gap)
            image[top : top + height, left : left + width] = pixels[row, column].permute(1, 2, 0)
    return image[..., 0] if channels == 1 else image
