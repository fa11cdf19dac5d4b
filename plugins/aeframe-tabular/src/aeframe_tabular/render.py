"""`draw_rows`: a figure of rows as text, one table for each panel."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd
from matplotlib.figure import Figure

_MAX_ROWS = 10
"""The largest number of rows of a panel that are drawn."""
_MAX_COLUMNS = 12
_MAX_LETTERS = 14
_DIFFERENT = "#FBE3D6"
"""The background of cells that differ from those of the first panel: a light vermilion, with dark text."""


def draw_rows(panels: Mapping[str, pd.DataFrame]) -> Figure:
    """Return a figure with the first rows of each panel as text.

    If the panels have equally many rows, such as originals and reconstructions, cells that differ from those of the
    first panel are marked.

    Args:
        panels: Data frames with the same columns, by title. Of more than 12 columns, the first are drawn.
    """
    texts = {title: _texts(frame) for title, frame in panels.items()}
    first = next(iter(texts.values()))
    num_columns, heights = first.shape[1], [len(text) + 2 for text in texts.values()]
    figure = Figure(figsize=(0.6 + 1.05 * num_columns, 0.21 * sum(heights) + 0.1), dpi=100)
    axes = figure.subplots(len(texts), 1, squeeze=False, gridspec_kw={"height_ratios": heights})[:, 0]
    figure.subplots_adjust(left=0.01, right=0.99, top=0.99, bottom=0.01, hspace=0.05)
    for axis, (title, text) in zip(axes, texts.items(), strict=True):
        axis.set_axis_off()
        hidden = panels[title].shape[1] - num_columns
        more = f" (the first {num_columns} of {panels[title].shape[1]} columns)" if hidden > 0 else ""
        axis.set_title(title + more, loc="left", fontsize=9, y=1 - 1 / (len(text) + 2))
        is_compared = text is not first and text.shape == first.shape
        table = axis.table(
            cellText=text.to_numpy().tolist(),
            colLabels=[_shortened(str(name)) for name in text.columns],
            bbox=(0, 0, 1, 1 - 1 / (len(text) + 2)),
            cellLoc="left",
            cellColours=_colours(text, first if is_compared else text),
        )
        table.auto_set_font_size(False)
        table.set_fontsize(7)
        for cell in table.get_celld().values():
            cell.set_edgecolor("#D0D0D0")
            cell.set_linewidth(0.5)
    return figure


def _colours(text: pd.DataFrame, reference: pd.DataFrame) -> list[list[str]]:
    """Return the background of each cell: marked where its text differs from that of the reference."""
    is_different = text.to_numpy() != reference.to_numpy()
    return [[_DIFFERENT if different else "white" for different in row] for row in is_different.tolist()]


def _texts(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the first rows and columns with each cell as a short text; missing cells are empty."""
    shown = frame.iloc[:_MAX_ROWS, :_MAX_COLUMNS]
    return pd.DataFrame({name: [_text(value) for value in shown[name].tolist()] for name in shown.columns})


def _text(value: object) -> str:
    if pd.isna(value):  # type: ignore[call-overload]
        return ""
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, pd.Timestamp):
        return str(value.date()) if value == value.normalize() else str(value)
    return _shortened(str(value))


def _shortened(text: str) -> str:
    return text if len(text) <= _MAX_LETTERS else text[: _MAX_LETTERS - 1] + "…"
