from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from matplotlib.image import imread

from aeframe.data.heatmap import heatmap


def test_panels_stand_below_one_another_in_one_scale() -> None:
    x = torch.linspace(-3, 3, 40).reshape(8, 5)
    figure = heatmap({"original": x, "reconstruction": 0.5 * x}, list("abcde"), diverging=True, unit="sd")
    first, second, bar = figure.axes
    assert [axes.get_title(loc="left") for axes in (first, second)] == ["original", "reconstruction"]
    assert first.images[0].get_clim() == second.images[0].get_clim()
    low, high = first.images[0].get_clim()
    assert low == -high
    np.testing.assert_array_equal(first.images[0].get_array(), x.numpy())
    assert [label.get_text() for label in second.get_xticklabels()] == list("abcde")
    assert bar.get_ylabel() == "sd"


def test_one_outlier_does_not_hide_the_rest() -> None:
    x = torch.rand(100, 10)
    x[3, 3] = 1e6
    figure = heatmap({"x": x}, None, diverging=False, unit="value")
    assert figure.axes[0].images[0].get_clim()[1] < 2


@pytest.mark.parametrize(
    "x",
    [torch.zeros(1, 1), torch.full((2, 3), torch.nan), torch.randn(3, 2, 4), torch.randn(4, 300)],
    ids=["one zero", "all missing", "more dimensions", "many columns"],
)
@pytest.mark.parametrize("diverging", [True, False])
def test_anything_can_be_drawn(x: torch.Tensor, diverging: bool) -> None:
    buffer = io.BytesIO()
    names = [f"column {i}" for i in range(x[0].numel())]
    heatmap({"x": x}, names, diverging=diverging, unit="value").savefig(buffer, format="png", dpi=40)
    buffer.seek(0)
    assert imread(buffer).std() > 0.01
