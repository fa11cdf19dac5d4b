"""Scatter plot of codes in two dimensions."""

from __future__ import annotations

from matplotlib.figure import Figure
from torch import Tensor

from aeframe.evaluation.principal_directions import principal_directions

_MAX_CLASSES = 20
"""Labels with more values have a colour bar instead of a legend: the palette tab20 has 20 colours."""


def draw_latent_map(codes: Tensor, label: Tensor | None) -> Figure:
    """Return a scatter plot of the codes ``(N, D)``, coloured by `label` ``(N,)`` if there is one.

    Codes of one dimension are drawn as a histogram. Codes of more than two are projected on their first two principal
    components; the axis labels state the fraction of the variance of each.
    """
    figure = Figure(figsize=(5.6, 4.8), layout="constrained")
    axes = figure.add_subplot()
    if codes.shape[1] == 1:
        values = codes[:, 0].tolist()
        axes.hist(values, bins=min(50, max(10, len(values) // 10)))
        axes.set_xlabel("z")
        axes.set_ylabel("samples")
        return figure
    points, axis_names = (codes[:, :2], ("z 1", "z 2")) if min(codes.shape) < 3 else _principal(codes)
    x, y = points.double().numpy().T
    axes.set_xlabel(axis_names[0])
    axes.set_ylabel(axis_names[1])
    size = 8 if len(points) > 300 else 16
    if label is None or label.ndim != 1:
        axes.scatter(x, y, s=size, linewidths=0)
        return figure
    classes = label.unique().tolist()
    if len(classes) > _MAX_CLASSES or label.is_floating_point():
        points_drawn = axes.scatter(x, y, s=size, c=label.cpu().numpy(), linewidths=0)
        figure.colorbar(points_drawn, label="label")
        return figure
    palette = "tab10" if len(classes) <= 10 else "tab20"
    for position, number in enumerate(classes):
        members = (label == number).cpu().numpy()
        axes.scatter(x[members], y[members], s=size, color=_colour(palette, position), label=str(number), linewidths=0)
    axes.legend(title="label", fontsize=8, loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False)
    return figure


def _principal(codes: Tensor) -> tuple[Tensor, tuple[str, str]]:
    """Return the projection on the first two principal components ``(N, 2)``, and their axis labels."""
    found = principal_directions(codes.double(), 2)
    first, second = [f"principal component {k + 1} ({found.fractions[k]:.0%} of the variance)" for k in range(2)]
    return found.project(codes.double()), (first, second)


def _colour(palette: str, position: int) -> tuple[float, ...]:
    from matplotlib import colormaps

    return colormaps[palette](position)
