"""Figures of real and synthetic rows: marginal distributions, associations, and pairs of columns."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from aeframe.errors import AeframeError
from aeframe_tabular.column import Column
from aeframe_tabular.quality.association import associations
from aeframe_tabular.quality.cells import Floats, class_numbers_of, numbers_of, sample_rows, used_columns
from aeframe_tabular.quality.shapes import column_shapes

_MAX_MARGINALS = 24
_MAX_ASSOCIATIONS = 30
_MAX_PAIRED = 5
_MAX_BARS = 8
"""The largest number of classes that are drawn, without the bar for all others and that for missing cells."""
_MAX_LETTERS = 18
_MAX_ROWS = 50_000
"""The largest number of rows of each table whose marginals and associations are drawn."""
_MAX_POINTS = 1_500
"""The largest number of rows of each table that are drawn as points."""
_NUM_BINS = 30
_REAL, _SYNTHETIC = "#0072B2", "#D55E00"
"""Blue and vermilion of Okabe & Ito: different in hue and in lightness for all colour visions."""
_SETS = (("real", _REAL), ("synthetic", _SYNTHETIC), ("reconstructed", "#000000"))
"""Titles and colours of the tables of a figure of marginals."""
_CLIPPED = 0.005
"""The share of the numbers at either end that the axis leaves out, so that outliers do not set its range."""
_MAX_CONTRAST = 6.0
"""The largest ratio of the two tallest bins of a histogram; above it the tallest is cut off."""


def draw_tables(
    real: pd.DataFrame,
    synthetic: pd.DataFrame,
    columns: Sequence[Column],
    *,
    reconstructed: pd.DataFrame | None = None,
    seed: int = 0,
) -> dict[str, Figure]:
    """Return all figures of real and synthetic rows by name; those of pairs only for two columns or more.

    The arguments are those of `draw_marginals`.

    Raises:
        AeframeError: A column or all rows are missing from a frame.
    """
    figures = {"marginals": draw_marginals(real, synthetic, columns, reconstructed=reconstructed, seed=seed)}
    if len(used_columns(columns, real, synthetic)) > 1:
        figures["associations"] = draw_associations(real, synthetic, columns, seed=seed)
        figures["pairs"] = draw_pairs(real, synthetic, columns, seed=seed)
    return figures


def draw_marginals(
    real: pd.DataFrame,
    synthetic: pd.DataFrame,
    columns: Sequence[Column],
    *,
    reconstructed: pd.DataFrame | None = None,
    seed: int = 0,
) -> Figure:
    """Return a figure with the distribution of each column, real, synthetic and reconstructed, in small axes.

    Numbers have histograms with the same bins, classes bars. A bin that is much taller than all others, such as that
    of many zeros, is cut off, and its shares are written next to it. Of more than 24 columns, those with the lowest
    shape scores are drawn. A title has the name of the column and its shape score.

    Args:
        real: Typed frame of real rows; of more than 50,000 rows as many are drawn at random.
        synthetic: Typed frame of synthetic rows; likewise.
        columns: The columns of both.
        reconstructed: Typed frame of reconstructed rows; likewise. None for a figure without them.
        seed: Seed of the drawn rows.

    Raises:
        AeframeError: A column or all rows are missing from a frame.
    """
    real, synthetic = sample_rows(real, _MAX_ROWS, seed), sample_rows(synthetic, _MAX_ROWS, seed)
    frames = [real, synthetic, *([] if reconstructed is None else [sample_rows(reconstructed, _MAX_ROWS, seed)])]
    used = used_columns(columns, *frames)
    scores = column_shapes(real, synthetic, used).scores
    lowest = sorted(used, key=lambda column: scores[column.name])[:_MAX_MARGINALS]
    shown = [column for column in used if column in lowest]
    width = min(4, len(shown))
    height = -(-len(shown) // width)
    # Margins for the longest tick label are set here: matplotlib's layout would take most of the time of a figure.
    label = _label_size(max((_num_letters(column) for column in shown), default=0), 7)
    figure = Figure(figsize=((label + 2.15) * width, 2.2 * height + 0.55), dpi=100)
    axes = _grid(
        figure, (height, width), left=label, gap=label + 0.15, bottom=0.5, vertical_gap=0.62, top=0.8
    ).flatten()
    for axis, column in zip(axes, shown, strict=False):
        if column.is_numeric:
            _draw_numbers(axis, [numbers_of(frame, column) for frame in frames], column)
        else:
            _draw_classes(axis, frames, column)
        axis.set_title(f"{_shortened(column.name)}   {scores[column.name]:.3f}", fontsize=9, loc="left")
        axis.tick_params(labelsize=7)
        axis.spines[["top", "right"]].set_visible(False)
    for axis in axes[len(shown) :]:
        axis.set_axis_off()
    some = "" if len(shown) == len(used) else f" ({len(shown)} of {len(used)} columns, those with the lowest scores)"
    _add_legend(figure, len(frames), f"share of rows; number in the title: shape score{some}")
    return figure


def draw_associations(
    real: pd.DataFrame, synthetic: pd.DataFrame, columns: Sequence[Column], *, seed: int = 0
) -> Figure:
    """Return a figure of the association matrices of real and synthetic rows, and of their difference.

    See `aeframe_tabular.quality.association.associations`. Of more than 30 columns, the first 30 are drawn.

    Args:
        real: Typed frame of real rows; of more than 50,000 rows as many are drawn at random.
        synthetic: Typed frame of synthetic rows; likewise.
        columns: The columns of both.
        seed: Seed of the drawn rows.

    Raises:
        AeframeError: A column or all rows are missing from a frame.
    """
    used = used_columns(columns, real, synthetic)
    shown = used[:_MAX_ASSOCIATIONS]
    matrices = [associations(sample_rows(frame, _MAX_ROWS, seed), shown) for frame in (real, synthetic)]
    panels = {"real": matrices[0], "synthetic": matrices[1], "synthetic - real": matrices[1] - matrices[0]}
    names = [_shortened(column.name) for column in shown]
    # In inches: a cell, within limits, and the longest name.
    size, label = min(6.0, max(2.2, 0.24 * len(shown))), 0.07 * max(map(len, names)) + 0.2
    figure = Figure(figsize=(3 * size + label + 1.7, size + label + 0.5), dpi=100)
    axes = _grid(figure, (1, 3), left=label, gap=0.15, bottom=label, vertical_gap=0, top=0.35, right=1.3)[0]
    image: Any = None
    for axis, (title, matrix) in zip(axes, panels.items(), strict=True):
        image = axis.imshow(matrix, cmap="RdBu_r", vmin=-1, vmax=1, interpolation="nearest")
        axis.set_title(title, fontsize=10, loc="left")
        axis.set_xticks(range(len(names)), names, rotation=90, fontsize=7)
        axis.set_yticks(range(len(names)), names if axis is axes[0] else [], fontsize=7)
    some = "" if len(shown) == len(used) else f"; first {len(shown)} of {len(used)} columns"
    end = axes[-1].get_position()
    bar = figure.add_axes((end.x1 + 0.2 / figure.get_figwidth(), end.y0, 0.15 / figure.get_figwidth(), end.height))
    figure.colorbar(image, cax=bar).set_label(f"Pearson's r, Cramér's V, correlation ratio{some}", fontsize=8)
    return figure


def draw_pairs(
    real: pd.DataFrame,
    synthetic: pd.DataFrame,
    columns: Sequence[Column],
    *,
    names: Sequence[str] | None = None,
    seed: int = 0,
) -> Figure:
    """Return a figure with the points of each pair of columns, real on the left and synthetic on the right.

    Classes are drawn with jitter; rows with a missing cell are left out of a pair. Both sides have the same axes.

    Args:
        real: Typed frame of real rows; of more than 1,500 rows as many are drawn at random.
        synthetic: Typed frame of synthetic rows; likewise.
        columns: The columns of both.
        names: The columns that are drawn, the first 5 of them; None for the 5 with the largest associations in the
            real rows, without columns of more than 8 classes if there are others.
        seed: Seed of the drawn rows and of the jitter.

    Raises:
        AeframeError: A column or all rows are missing from a frame, or there are not two columns to draw.
    """
    used = used_columns(columns, real, synthetic)
    shown = _most_associated(real, used, seed) if names is None else [each for each in used if each.name in names]
    shown = shown[:_MAX_PAIRED]
    if len(shown) < 2:
        raise AeframeError(
            f"pairs of columns require two of the columns that are used, found {len(shown)}; choose from "
            f"{', '.join(column.name for column in used[:20])}"
        )
    num = len(shown) - 1
    label = _label_size(max(map(_num_letters, shown)), 6)
    width, height = 1.9 * num + label + 0.35, 1.7 * num + label + 0.75
    figure = Figure(figsize=(2 * width, height), dpi=100)
    random = np.random.default_rng(seed)
    drawn: list[tuple[Any, list[Floats]]] = []
    for side, (frame, title, colour) in enumerate(((real, "real", _REAL), (synthetic, "synthetic", _SYNTHETIC))):
        points = [_points(sample_rows(frame, _MAX_POINTS, seed), column, random) for column in shown]
        margins = {"left": label + 0.3 + side * width, "right": (1 - side) * width + 0.1}
        axes = _grid(figure, (num, num), gap=0.32, vertical_gap=0.12, bottom=label + 0.25, top=0.45, **margins)
        figure.text((side + 0.5) / 2, 1 - 0.1 / height, title, fontsize=11, color=colour, va="top", ha="center")
        for row in range(num):
            for column in range(num):
                axis = axes[row, column]
                if column > row:
                    axis.set_axis_off()
                    continue
                axis.scatter(points[column], points[row + 1], s=3, alpha=0.35, linewidths=0, color=colour)
                _set_ticks(axis.xaxis, shown[column], row == num - 1)
                _set_ticks(axis.yaxis, shown[row + 1], column == 0)
                axis.tick_params(axis="x", rotation=90 if not shown[column].is_numeric else 0)
        drawn.append((axes, points))
    if len(shown) < len(used):
        chosen = "those with the largest associations" if names is None else "those that were chosen"
        text = f"{len(shown)} of {len(used)} columns, {chosen}"
        figure.text(0.1 / (2 * width), 1 - 0.1 / height, text, fontsize=8, va="top")
    for at, each in enumerate(shown):
        limits = _limits(drawn[0][1][at], drawn[1][1][at], each)
        for axes, _ in drawn:
            for axis in axes[at:, at] if at < num else ():
                axis.set_xlim(limits)
            for axis in axes[at - 1, :at] if at else ():
                axis.set_ylim(limits)
    return figure


def _most_associated(frame: pd.DataFrame, columns: Sequence[Column], seed: int) -> list[Column]:
    """Return up to 5 columns with the largest sums of absolute associations, in the order of the table."""
    strength = np.abs(associations(sample_rows(frame, _MAX_ROWS, seed), columns)).sum(1)
    # Those of many classes come last: their points are hard to read.
    many = np.array([len(column.classes) > _MAX_BARS for column in columns])
    return [columns[position] for position in sorted(np.lexsort((-strength, many))[:_MAX_PAIRED].tolist())]


def _draw_numbers(axis: Axes, tables: Sequence[Floats], column: Column) -> None:
    """Draw histograms of the numbers of each table with the same bins: real ones filled, others a line."""
    present = [values[~np.isnan(values)] for values in tables]
    missing = [1.0 - len(some) / len(values) for some, values in zip(present, tables, strict=True)]
    if max(missing) > 0:
        shares_of_missing = ", ".join(
            f"{100 * share:.1f} % {title}" for share, (title, _) in zip(missing, _SETS, strict=False)
        )
        axis.set_xlabel(f"missing: {shares_of_missing}", fontsize=5.5, loc="right")
    pooled = np.concatenate(present)
    if not len(pooled):
        return
    edges = _bin_edges(pooled, column)
    shares = [
        np.histogram(np.clip(values, edges[0], edges[-1]), edges)[0] / len(rows)
        for values, rows in zip(present, tables, strict=True)
    ]
    positions = _for_axis(edges, column)
    axis.stairs(shares[0], positions, fill=True, color=_REAL, alpha=0.45)
    for share, (_, colour) in zip(shares[1:], _SETS[1:], strict=False):
        axis.stairs(share, positions, color=colour, lw=1.2)
    if column.kind == "date":
        _set_dates(axis.xaxis)
    axis.set_ylim(bottom=0)
    heights = np.max(shares, axis=0)
    tallest = int(heights.argmax())
    others = float(np.delete(heights, tallest).max(initial=0.0))
    if 0.0 < others < heights[tallest] / _MAX_CONTRAST:
        # Room above the other bars for a line of text each.
        top = (1.15 + 0.12 * len(shares)) * others
        axis.set_ylim(0, top)
        on_the_left = tallest < len(heights) / 2
        axis.annotate(
            "\n".join(f"{share[tallest]:.3f} {title}" for share, (title, _) in zip(shares, _SETS, strict=False)),
            (float(positions[tallest + on_the_left]), top),
            xytext=(4 if on_the_left else -4, -2),
            textcoords="offset points",
            ha="left" if on_the_left else "right",
            va="top",
            fontsize=6,
        )


def _bin_edges(values: Floats, column: Column) -> Floats:
    """Return the edges of the bins; a bin for each integer if there are few."""
    low, high = (float(value) for value in np.quantile(values, [_CLIPPED, 1 - _CLIPPED]))
    if column.kind == "integer" and high - low < _NUM_BINS:
        return np.arange(np.floor(low), np.ceil(high) + 2) - 0.5
    if high <= low:
        low, high = low - 0.5, high + 0.5
    if column.kind == "integer":
        # Bins of as many integers each: others would show a pattern that the numbers do not have.
        step = np.ceil((high - low + 1) / _NUM_BINS)
        return np.arange(np.floor(low), high + step + 1, step) - 0.5
    return np.linspace(low, high, _NUM_BINS + 1)


def _draw_classes(axis: Axes, frames: Sequence[pd.DataFrame], column: Column) -> None:
    """Draw the frequencies of the most frequent classes, of all others, of missing cells and of unknown classes."""
    num = len(column.classes)
    shares = [np.bincount(class_numbers_of(frame, column), minlength=num + 2) / len(frame) for frame in frames]
    total = shares[0][:num] + shares[1][:num]
    kept = np.sort(np.argsort(-total, kind="stable")[:_MAX_BARS])
    bars = {_shortened(column.classes[number]): [each[number] for each in shares] for number in kept}
    others = np.setdiff1d(np.arange(num), kept)
    if len(others):
        bars[f"({len(others)} others)"] = [each[others].sum() for each in shares]
    for name, number in {"(missing)": num, "(unknown)": num + 1}.items():
        if max(each[number] for each in shares) > 0:
            bars[name] = [each[number] for each in shares]
    positions, heights = np.arange(len(bars)), np.array(list(bars.values()))
    thickness = 0.8 / len(frames)
    for at, (_, colour) in enumerate(_SETS[: len(frames)]):
        center = positions + (at - (len(frames) - 1) / 2) * thickness
        axis.barh(center, heights[:, at], thickness, color=colour, alpha=0.45 if at == 0 else None)
    axis.set_yticks(positions, list(bars))
    axis.set_ylim(len(bars) - 0.4, -0.6)


def _points(frame: pd.DataFrame, column: Column, random: np.random.Generator) -> Floats:
    """Return the position of each cell ``(N,)`` on an axis, NaN where it is missing or unknown."""
    if column.is_numeric:
        return _for_axis(numbers_of(frame, column), column)
    classes = class_numbers_of(frame, column)
    jitter = random.uniform(-0.3, 0.3, len(classes))
    return np.where(classes < len(column.classes), classes + jitter, np.nan)


def _limits(real: Floats, synthetic: Floats, column: Column) -> tuple[float, float]:
    """Return the lowest and highest position of an axis."""
    if not column.is_numeric:
        return -0.6, len(column.classes) - 0.4
    pooled = np.concatenate([real, synthetic])
    pooled = pooled[~np.isnan(pooled)]
    if not len(pooled):
        return 0.0, 1.0
    low, high = (float(value) for value in np.quantile(pooled, [_CLIPPED, 1 - _CLIPPED]))
    margin = 0.04 * (high - low) or 0.5
    return low - margin, high + margin


def _set_ticks(axis: Any, column: Column, named: bool) -> None:
    """Set the ticks of an axis of a pair; only outer axes have names."""
    if column.kind == "date":
        _set_dates(axis)
    elif column.is_numeric:
        axis.get_major_locator().set_params(nbins=4)
    elif len(column.classes) <= _MAX_BARS:
        axis.set_ticks(range(len(column.classes)), [_shortened(name) for name in column.classes])
    axis.set_tick_params(labelsize=6)
    if named:
        number = ", class number" if len(column.classes) > _MAX_BARS else ""
        axis.set_label_text(f"{_shortened(column.name)}{number}", fontsize=8)
    else:
        axis.set_ticklabels([])


def _for_axis(values: Floats, column: Column) -> Floats:
    """Return numbers as matplotlib draws them: dates in days since 1970."""
    return values / 86_400 if column.kind == "date" else values


def _set_dates(axis: Any) -> None:
    locator = AutoDateLocator(minticks=2, maxticks=5)  # type: ignore[no-untyped-call]
    axis.set_major_locator(locator)
    axis.set_major_formatter(ConciseDateFormatter(locator))  # type: ignore[no-untyped-call]


def _grid(
    figure: Figure,
    shape: tuple[int, int],
    *,
    left: float,
    bottom: float,
    top: float,
    gap: float,
    vertical_gap: float,
    right: float = 0.1,
) -> Any:
    """Return axes ``(rows, columns)`` with these margins and gaps between them, in inches."""
    width, height = figure.get_size_inches()
    rows, columns = shape
    # Gaps of matplotlib are fractions of the mean size of the axes.
    size = (
        (width - left - right - (columns - 1) * gap) / columns,
        (height - top - bottom - (rows - 1) * vertical_gap) / rows,
    )
    grid = figure.add_gridspec(
        rows,
        columns,
        left=left / width,
        right=1 - right / width,
        bottom=bottom / height,
        top=1 - top / height,
        wspace=gap / size[0],
        hspace=vertical_gap / size[1],
    )
    return grid.subplots(squeeze=False)


def _num_letters(column: Column) -> int:
    """Return the letters of the longest tick label of a column: of numbers a few digits."""
    names = (_shortened(name) for name in (*column.classes, "(missing)")) if column.is_discrete else ()
    return max(map(len, names), default=7)


def _label_size(letters: int, points: int) -> float:
    """Return the size in inches of a label with its tick; a letter is about 0.6 times as wide as the font is high."""
    return 0.62 * letters * points / 72 + 0.15


def _add_legend(figure: Figure, num: int, title: str) -> None:
    """Add the legend of the first `num` of the sets, and the title of a figure."""
    lines = [Line2D([], [], color=colour, lw=3, label=name) for name, colour in _SETS[1:num]]
    figure.legend(
        handles=[Patch(color=_REAL, alpha=0.45, label="real"), *lines],
        title=title,
        title_fontsize=8,
        fontsize=8,
        ncols=num,
        loc="upper center",
        frameon=False,
    )


def _shortened(name: str) -> str:
    # Text between dollar signs would be drawn as a formula.
    plain = name.replace("$", r"\$")
    return plain if len(name) <= _MAX_LETTERS else f"{name[: _MAX_LETTERS - 1]}…".replace("$", r"\$")
