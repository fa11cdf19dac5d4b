"""Figures of rows: which cells are marked."""

from __future__ import annotations

import pandas as pd
import pytest

from aeframe_tabular.render import _DIFFERENT, draw_rows


def frame(**columns: list[object]) -> pd.DataFrame:
    return pd.DataFrame(columns)


ORIGINAL = frame(
    age=[20.0, 30.0, 120.0],
    city=["Delft", None, "Ghent"],
    day=[pd.Timestamp("2024-01-01"), pd.Timestamp("2024-06-01"), pd.NaT],
)


def marked(panels: dict[str, pd.DataFrame], number: int) -> list[tuple[int, int]]:
    """Return row and column of the marked cells of a panel, both from 0."""
    (table,) = draw_rows(panels).axes[number].tables
    colour = pytest.approx([int(_DIFFERENT[start : start + 2], 16) / 255 for start in (1, 3, 5)])
    return sorted(
        (row - 1, column) for (row, column), cell in table.get_celld().items() if cell.get_facecolor()[:3] == colour
    )


def test_cells_that_differ_from_the_originals_are_marked() -> None:
    other = frame(
        # A twentieth of the range 100 is 5.
        age=[24.9, 35.1, 120.0],
        city=["Delft", "Ghent", None],
        day=[pd.Timestamp("2024-01-03"), pd.Timestamp("2024-02-01"), pd.NaT],
    )
    panels = {"original": ORIGINAL, "reconstruction": other}
    assert marked(panels, 0) == []
    assert marked(panels, 1) == [(1, 0), (1, 1), (1, 2), (2, 1)]


def test_other_rows_are_not_compared() -> None:
    assert marked({"from 1 to 2": ORIGINAL, "from 3 to 4": ORIGINAL[::-1]}, 1) == []
    assert marked({"original": ORIGINAL, "samples": ORIGINAL[:2]}, 1) == []


def test_wide_tables_are_cut_with_a_note() -> None:
    wide = pd.DataFrame([[1.0] * 20], columns=[f"c{number}" for number in range(20)])
    assert draw_rows({"samples": wide}).axes[0].get_title(loc="left") == "samples (the first 16 of 20 columns)"
