"""Draw images in rows or in a grid."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping

import torch
from matplotlib.figure import Figure
from PIL import Image
from torch import Tensor

from aeframe.types import Shape

_COLUMNS = 12
_GRID_ROWS = 12
_TILE_INCHES = 0.7
_TITLE_INCHES = 0.28
_LETTER_INCHES = 0.07
_MARGIN_INCHES = 0.08
_WHITE = 255


def draw(panels: Mapping[str, Tensor]) -> Figure:
    """Return a figure of panels of uint8 images ``(N, C, H, W)``, by title.

    Of more than three channels the first three are drawn as red, green and blue, and of two the first as grey; the
    title names them.

    Several panels are drawn as rows of at most 12 images below each other, so that columns can be compared. A single
    panel is drawn as a grid of at most 12 x 12 images.
    """
    panels = dict(_drawable(title, pixels) for title, pixels in panels.items())
    if len(panels) == 1:
        ((title, pixels),) = panels.items()
        columns = min(_COLUMNS, max(1, math.ceil(math.sqrt(len(pixels)))))
        canvases = {title: _canvas(pixels[: columns * _GRID_ROWS], columns)}
    else:
        columns = min(_COLUMNS, max(1, *(len(pixels) for pixels in panels.values())))
        canvases = {title: _canvas(pixels[:columns], columns) for title, pixels in panels.items()}
    width = columns * _TILE_INCHES
    heights = {title: width * canvas.shape[0] / canvas.shape[1] for title, canvas in canvases.items()}
    figure_height = sum(heights.values()) + len(heights) * _TITLE_INCHES + _MARGIN_INCHES
    # A narrow figure is widened to its longest title.
    figure_width = max(width, _LETTER_INCHES * max(len(title) for title in panels)) + 2 * _MARGIN_INCHES
    figure = Figure(figsize=(figure_width, figure_height), dpi=150)
    top = figure_height
    for title, canvas in canvases.items():
        top -= _TITLE_INCHES
        left = _MARGIN_INCHES / figure_width
        figure.text(left, (top + 0.05) / figure_height, title, fontsize=8, va="bottom", ha="left")
        top -= heights[title]
        axes = figure.add_axes((left, top / figure_height, width / figure_width, heights[title] / figure_height))
        axes.imshow(canvas.numpy(), cmap="gray", vmin=0, vmax=_WHITE, interpolation="nearest", aspect="auto")
        axes.set_axis_off()
    return figure


def png(pixels: Tensor) -> bytes:
    """Return an image ``(C, H, W)`` uint8 as the content of a PNG file, with the channels that `draw` draws."""
    _, drawn = _drawable("", pixels.unsqueeze(0))
    canvas = _canvas(drawn, columns=1).numpy()
    buffer = io.BytesIO()
    Image.fromarray(canvas).save(buffer, format="PNG")
    return buffer.getvalue()


def heat_maps(errors: Tensor) -> Tensor:
    """Return heat maps ``(N, 3, H, W)`` uint8 of errors ``(N, C, H, W)``: dark for 0, bright for the largest of all."""
    from matplotlib import colormaps

    values = errors.cpu().float().mean(1)
    coloured = colormaps["inferno"]((values / values.max().clamp(min=1e-12)).numpy(), bytes=True)
    return torch.from_numpy(coloured)[..., :3].permute(0, 3, 1, 2)


def _drawable(title: str, pixels: Tensor) -> tuple[str, Tensor]:
    """Return images with one or three channels, and the title with the channels that are drawn."""
    channels = pixels.shape[1]
    if channels in (1, 3):
        return title, pixels
    num = 1 if channels == 2 else 3
    drawn = "1" if num == 1 else "1-3"
    return f"{title} (channel{'s' * (num > 1)} {drawn} of {channels})", pixels[:, :num]


def _canvas(pixels: Tensor, columns: int) -> Tensor:
    """Return images in a grid with white lines between them, uint8 ``(height, width)`` or ``(height, width, 3)``."""
    num, channels, height, width = pixels.shape
    gap = _gap((channels, height, width))
    rows = max(1, math.ceil(num / columns))
    canvas = torch.full(
        (rows * (height + gap) - gap, columns * (width + gap) - gap, channels), _WHITE, dtype=torch.uint8
    )
    for number, image in enumerate(pixels):
        top, left = (number // columns) * (height + gap), (number % columns) * (width + gap)
        canvas[top : top + height, left : left + width] = image.permute(1, 2, 0)
    return canvas[..., 0] if channels == 1 else canvas


def _gap(shape: Shape) -> int:
    """Return the width of the line between images ``(C, H, W)``, in image pixels."""
    return max(1, round(max(shape[1:]) / 16))
