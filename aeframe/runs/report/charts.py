"""Charts as inline SVG, drawn without a library: lines over batches, and bars by dimension.

Colours are CSS variables of the page, so that they differ between the light and the dark theme.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from aeframe.runs.report.markup import Html, element, text

_WIDTH, _HEIGHT = 320, 190
_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 10, 8, 34
"""Margins of the plot, for the labels of its axes."""
_MAX_POINTS = 400
"""Points of a line above which only the lowest and highest of each interval are drawn."""

Points = Sequence[tuple[float, float]]


def line_chart(
    title: str, lines: Mapping[str, Points], *, x_label: str = "batches", classes: Mapping[str, str] | None = None
) -> Html:
    """Return a chart with one line for each split or run; a single point is drawn as a dot.

    Args:
        title: The name of the quantity, for readers who do not see the chart.
        lines: Finite points ``(x, y)`` in the order of x, by split or by run.
        x_label: The label of the horizontal axis.
        classes: The CSS classes of the lines, by split or run; by default the name of the split.
    """
    points = [point for line in lines.values() for point in line]
    x_range = _padded(min(x for x, _ in points), max(x for x, _ in points), 0)
    y_range = _padded(min(y for _, y in points), max(y for _, y in points), 0.05)
    marks = []
    for split, line in lines.items():
        class_ = split if classes is None else classes[split]
        placed = [(_x(x, x_range), _y(y, y_range)) for x, y in _thinned(line)]
        if len(placed) == 1:
            ((x, y),) = placed
            marks.append(element("circle", cx=f"{x:.1f}", cy=f"{y:.1f}", r="3.5", class_=f"dot {class_}"))
        elif placed:
            joined = " ".join(f"{x:.1f},{y:.1f}" for x, y in placed)
            marks.append(element("polyline", points=joined, class_=f"line {class_}"))
    described = "; ".join(f"{split} {_described(line)}" for split, line in lines.items() if line)
    return _svg(f"{title}: {described}", [*_axes(x_range, y_range, x_label), *marks])


def bar_chart(title: str, values: Sequence[float], *, x_label: str) -> Html:
    """Return a chart with a bar for each of the finite, non-negative `values`, numbered from 1."""
    x_range, y_range = (0.5, len(values) + 0.5), (0.0, max(*values, 0.0, 1e-9) * 1.05)
    width = (_WIDTH - _LEFT - _RIGHT) / len(values)
    bars = []
    for number, value in enumerate(values, start=1):
        top = _y(max(value, 0.0), y_range)
        left = _x(number - 0.5, x_range) + 0.1 * width
        height = _HEIGHT - _BOTTOM - top
        bars.append(
            element(
                "rect",
                x=f"{left:.2f}",
                y=f"{top:.2f}",
                width=f"{0.8 * width:.2f}",
                height=f"{height:.2f}",
                class_="bar",
            )
        )
    described = f"{len(values)} values from {min(values):.3g} to {max(values):.3g}"
    return _svg(f"{title}: {described}", [*_axes(x_range, y_range, x_label, whole=True), *bars])


def ticks(low: float, high: float, num: int) -> list[float]:
    """Return about `num` round numbers between `low` and `high`, which differ."""
    raw = (high - low) / max(num, 1)
    magnitude = 10.0 ** math.floor(math.log10(raw))
    step = next(factor * magnitude for factor in (1, 2, 2.5, 5, 10) if factor * magnitude >= raw * 0.999)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [number * step for number in range(first, last + 1)]


def _described(line: Points) -> str:
    if len(line) == 1:
        return f"{line[0][1]:.4g} after {line[0][0]:.0f} batches"
    return f"from {line[0][1]:.4g} to {line[-1][1]:.4g} over {line[-1][0]:.0f} batches"


def _svg(label: str, content: Sequence[Html]) -> Html:
    return element("svg", *content, viewBox=f"0 0 {_WIDTH} {_HEIGHT}", role="img", aria_label=label)


def _axes(
    x_range: tuple[float, float], y_range: tuple[float, float], x_label: str, *, whole: bool = False
) -> list[Html]:
    """Return grid lines, their numbers, and the label of the horizontal axis; ``whole`` numbers only on it."""
    bottom, right = _HEIGHT - _BOTTOM, _WIDTH - _RIGHT
    parts = []
    for value in ticks(*y_range, 4):
        y = f"{_y(value, y_range):.1f}"
        parts.append(element("line", x1=_LEFT, x2=right, y1=y, y2=y, class_="grid"))
        parts.append(_label(_number(value, y_range), f"{_LEFT - 6}", y, "y"))
    for value in ticks(*x_range, 4):
        if not whole or value == round(value):
            parts.append(_label(_number(value, x_range), f"{_x(value, x_range):.1f}", f"{bottom + 14}", "x"))
    parts.append(_label(x_label, f"{(_LEFT + right) / 2}", f"{_HEIGHT - 5}", "x"))
    return parts


def _label(content: str, x: str, y: str, axis: str) -> Html:
    return Html(f'<text x="{x}" y="{y}" class="{axis}">{text(content)}</text>')


def _number(value: float, value_range: tuple[float, float]) -> str:
    """Return the number of a tick with the digits by which it differs from its neighbours."""
    largest = max(abs(value_range[0]), abs(value_range[1]))
    needed = math.ceil(math.log10(largest / (value_range[1] - value_range[0]))) + 2
    return f"{value if abs(value) > 1e-9 * largest else 0:.{max(needed, 3)}g}"


def _padded(low: float, high: float, share: float) -> tuple[float, float]:
    """Return a range of more than one number, widened by a share of its length."""
    # The range of a constant is wide enough for ticks that differ in floating point.
    space = (high - low) * share if high - low > 1e-9 * max(abs(low), abs(high)) else max(abs(high) * 0.1, 1e-3)
    return low - space, high + space


def _x(value: float, value_range: tuple[float, float]) -> float:
    return _LEFT + (value - value_range[0]) / (value_range[1] - value_range[0]) * (_WIDTH - _LEFT - _RIGHT)


def _y(value: float, value_range: tuple[float, float]) -> float:
    return _HEIGHT - _BOTTOM - (value - value_range[0]) / (value_range[1] - value_range[0]) * (_HEIGHT - _TOP - _BOTTOM)


def _thinned(line: Points) -> Points:
    """Return at most about `_MAX_POINTS` points; of each interval the lowest and the highest, so that peaks remain."""
    if len(line) <= _MAX_POINTS:
        return line
    size = math.ceil(2 * len(line) / _MAX_POINTS)
    kept: list[tuple[float, float]] = []
    for start in range(0, len(line), size):
        chunk = line[start : start + size]
        kept += sorted({min(chunk, key=lambda point: point[1]), max(chunk, key=lambda point: point[1])})
    return kept
