"""Figures of images, compared pixel by pixel."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image

from aeframe_image.modality import Image as ImageModality


def arrays(figure: Figure) -> list[NDArray[Any]]:
    """Return the array of each panel."""
    return [np.asarray(axes.images[0].get_array()) for axes in figure.axes]


def painted_pixels(figure: Figure) -> NDArray[np.uint8]:
    file = io.BytesIO()
    figure.savefig(file, format="png")
    return np.asarray(Image.open(file).convert("RGB"))


def titles(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.texts]


def test_each_panel_is_a_titled_row_of_at_most_twelve() -> None:
    x = torch.arange(20).div(20).view(20, 1, 1, 1).expand(20, 1, 8, 8)
    figure = ImageModality().render({"originals": x, "reconstructions": 1 - x})
    assert titles(figure) == ["originals", "reconstructions"]
    top, bottom = arrays(figure)
    assert top.shape == bottom.shape == (8, 12 * 9 - 1)
    assert top[0, ::9].tolist() == [round(255 * n / 20) for n in range(12)]
    # A white line between images.
    assert (top[:, 8::9] == 255).all()
    assert bottom[0, 9] == round(255 * 0.95)


def test_rows_of_different_length_share_their_columns() -> None:
    figure = ImageModality().render({"a": torch.zeros(5, 1, 8, 8), "b": torch.zeros(2, 1, 8, 8)})
    long, short = arrays(figure)
    assert long.shape == short.shape
    assert (short[:, :8] == 0).all()
    assert (short[:, 18:] == 255).all()


@pytest.mark.parametrize(("num", "rows", "columns"), [(1, 1, 1), (10, 3, 4), (16, 4, 4), (400, 12, 12)])
def test_a_single_panel_is_a_grid(num: int, rows: int, columns: int) -> None:
    (grid,) = arrays(ImageModality().render({"samples": torch.zeros(num, 1, 8, 8)}))
    assert grid.shape == (9 * rows - 1, 9 * columns - 1)


def test_colours_keep_their_channels_and_values_are_clipped() -> None:
    x = torch.tensor([3.0, 0.0, -3.0]).view(1, 3, 1, 1).expand(2, 3, 4, 4)
    signed, _ = arrays(ImageModality(domain="signed").render({"a": x, "b": x}))
    assert signed[0, 0].tolist() == [255, 128, 0]
    unit, _ = arrays(ImageModality().render({"a": x, "b": x}))
    assert unit[0, 0].tolist() == [255, 0, 0]


def test_pixels_are_rendered_square_and_without_smoothing() -> None:
    x = torch.zeros(12, 1, 8, 8)
    x[:, :, ::2, ::2] = 1
    figure = ImageModality().render({"a": x, "b": x})
    painted = painted_pixels(figure)
    axes = figure.axes[0]
    box = axes.get_window_extent()
    # Image pixels are square.
    array = arrays(figure)[0]
    assert box.width / array.shape[1] == pytest.approx(box.height / array.shape[0])
    top = painted.shape[0] - round(box.y1)
    inside = painted[top + 2 : top + round(box.height) - 2, round(box.x0) + 2 : round(box.x1) - 2, 0]
    # Smoothing would produce grey values.
    assert set(np.unique(inside).tolist()) == {0, 255}


def test_a_narrow_figure_is_as_wide_as_its_title() -> None:
    figure = ImageModality().render({"a title of many words": torch.zeros(1, 1, 8, 8)})
    painted_pixels(figure)
    assert figure.texts[0].get_window_extent().x1 <= figure.bbox.x1
