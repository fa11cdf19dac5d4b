"""`draw_rows`: a figure of rows as text, one table for each panel."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

_MAX_ROWS = 10
"""The largest number of rows of a panel that are drawn."""
_MAX_COLUMNS = 16
_MAX_LETTERS = 14
_ORIGINAL = "original"
"""The title of the panel with which the others are compared."""
_TOLERANCE = 0.05
"""The largest difference of numbers and dates that is not marked, as a fraction of the range of those shown."""
_DIFFERENT = "#FBE3D6"
"""The background of cells that differ from those of the originals: a light vermilion, with dark text."""


def draw_rows(panels: Mapping[str, pd.DataFrame]) -> Figure:
    """Return a figure with the first rows of each panel as text.

    If a panel is called ``original``, cells of the others that differ from it are marked, numbers and dates if they
    differ by more than a twentieth of the range of the originals that are shown. Panels of other rows, such as the
    paths of an interpolation, have no marks.

    Args:
        panels: Data frames with the same columns, by title. Of more than 16 columns, the first are drawn.
    """
    frames = {title: frame.iloc[:_MAX_ROWS, :_MAX_COLUMNS] for title, frame in panels.items()}
    texts = {title: _texts(frame) for title, frame in frames.items()}
    original = frames.get(_ORIGINAL)
    num_columns = next(iter(frames.values())).shape[1]
    heights = [len(text) + 2 for text in texts.values()]
    figure = Figure(figsize=(0.6 + 1.05 * num_columns, 0.21 * sum(heights) + 0.1), dpi=100)
    axes = figure.subplots(len(texts), 1, squeeze=False, gridspec_kw={"height_ratios": heights})[:, 0]
    figure.subplots_adjust(left=0.01, right=0.99, top=0.99, bottom=0.01, hspace=0.05)
    for axis, (title, text) in zip(axes, texts.items(), strict=True):
        axis.set_axis_off()
        hidden = panels[title].shape[1] - num_columns
        more = f" (the first {num_columns} of {panels[title].shape[1]} columns)" if hidden > 0 else ""
        axis.set_title(title + more, loc="left", fontsize=9, y=1 - 1 / (len(text) + 2))
        is_compared = original is not None and len(original) == len(text)
        table = axis.table(
            cellText=text.to_numpy().tolist(),
            colLabels=[_shortened(str(name)) for name in text.columns],
            bbox=(0, 0, 1, 1 - 1 / (len(text) + 2)),
            cellLoc="left",
            cellColours=_colours(frames[title], original if is_compared else None),
        )
        table.auto_set_font_size(False)
        table.set_fontsize(7)
        for cell in table.get_celld().values():
            cell.set_edgecolor("#D0D0D0")
            cell.set_linewidth(0.5)
    return figure


def _colours(frame: pd.DataFrame, original: pd.DataFrame | None) -> list[list[str]]:
    """Return the background of each cell, row by row: marked where it differs from that of the originals."""
    if original is None:
        return [["white"] * frame.shape[1]] * len(frame)
    marks = [["" if same else _DIFFERENT for same in _is_same(frame[name], original[name])] for name in frame.columns]
    return [[mark or "white" for mark in row] for row in zip(*marks, strict=True)]


def _is_same(values: pd.Series[Any], originals: pd.Series[Any]) -> list[bool]:
    """Return whether each value is that of the originals, or close to it if it has distances."""
    values, originals = values.reset_index(drop=True), originals.reset_index(drop=True)
    both_missing = values.isna() & originals.isna()
    if values.dtype.kind in "iufM" and originals.dtype.kind in "iufM":
        tolerance = (originals.max() - originals.min()) * _TOLERANCE
        is_close = (values - originals).abs() <= tolerance
    else:
        is_close = values.astype("string") == originals.astype("string")
    return (is_close.fillna(False).astype(bool) | both_missing).tolist()


def _texts(frame: pd.DataFrame) -> pd.DataFrame:
    """Return each cell as a short text; missing cells are empty."""
    return pd.DataFrame({name: [_text(value) for value in frame[name].tolist()] for name in frame.columns})


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
