"""The coding of categories: class numbers, missing cells, and rare classes that are grouped."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from aeframe.errors import AeframeError
from aeframe_tabular.coding import CodingOptions, TableCoding
from aeframe_tabular.coding.categories import CategoryCoding
from aeframe_tabular.column import Column

CLASSES = ("a", "b", "c", "d", "e")


def cells(text: str) -> pd.Series[Any]:
    """Return one cell for each letter; a dot is a missing one."""
    return pd.Series(
        pd.Categorical([None if cell == "." else cell for cell in text], categories=list(CLASSES)), name="v"
    )


def category_coding(text: str, max_classes: int = 1000, num_missing: int = 0) -> CategoryCoding:
    column = Column("v", "category", classes=CLASSES, num_missing=num_missing)
    coding = CategoryCoding(column, 0, CodingOptions(max_classes=max_classes))
    coding.learn(cells(text))
    return coding


def test_class_numbers_are_those_of_the_column() -> None:
    coding = category_coding("aab")
    x, mask = coding.encode(cells("edcba"))
    assert x[:, 0].tolist() == [4, 3, 2, 1, 0]  # including classes that the training split does not have
    assert mask.all()
    pd.testing.assert_series_equal(coding.decode(x), cells("edcba"))
    assert coding.state() == {}


def test_missing_cells_are_the_last_class() -> None:
    coding = category_coding("aab.", num_missing=1)
    assert coding.elements[0].classes == 6
    x, mask = coding.encode(cells("b.e"))
    assert x[:, 0].tolist() == [1, 5, 4]
    assert mask.all()
    pd.testing.assert_series_equal(coding.decode(x), cells("b.e"))


def test_missing_cells_without_a_class_are_masked() -> None:
    x, mask = category_coding("aab").encode(cells("b."))
    assert x[:, 0].tolist() == [1, 0]
    assert mask[:, 0].tolist() == [True, False]


def test_class_numbers_are_rounded_and_nan_is_missing() -> None:
    decoded = category_coding("abc").decode(np.array([[0.4], [0.6], [-7], [99], [np.nan]], np.float32))
    pd.testing.assert_series_equal(decoded, cells("abae."))


def test_text_and_categories_in_another_order_are_accepted() -> None:
    coding = category_coding("abc")
    other = pd.Series(pd.Categorical(["b", "e"], categories=["e", "b"]))
    assert coding.encode(other)[0][:, 0].tolist() == [1, 4]
    assert coding.encode(pd.Series(["b", None]))[1][:, 0].tolist() == [True, False]
    with pytest.raises(AeframeError, match="'x' is none of them"):
        coding.encode(pd.Series(["b", "x"]))


def test_rare_classes_are_grouped() -> None:
    coding = category_coding("aadddbbbbce", max_classes=3, num_missing=1)
    assert coding.elements[0].classes == 4
    # b and d are kept in the order of the column; a, c and e are grouped; the last class is that of missing cells.
    x, _ = coding.encode(cells("abcde."))
    assert x[:, 0].tolist() == [2, 0, 2, 1, 2, 3]
    decoded = coding.decode(x)
    assert decoded[[1, 3]].tolist() == ["b", "d"]
    assert set(decoded[[0, 2, 4]]) <= {"a", "c", "e"}
    assert decoded.isna().tolist() == [False] * 5 + [True]


def test_grouped_classes_are_drawn_with_their_frequencies() -> None:
    coding = category_coding("aaabbbbdddddc", max_classes=3)  # a three times as often as c, and e never
    decoded = coding.decode(np.full((40_000, 1), 2, np.float32), seed=3)
    frequencies = decoded.value_counts(normalize=True)
    assert frequencies["a"] == pytest.approx(0.75, abs=0.01)  # 5 standard errors
    assert frequencies["c"] == pytest.approx(0.25, abs=0.01)
    assert frequencies["e"] == 0


def test_groups_of_which_the_training_split_has_none() -> None:
    coding = category_coding("ab", max_classes=3)
    decoded = coding.decode(np.full((1000, 1), 2, np.float32))
    assert set(decoded) == {"c", "d", "e"}


def test_draws_are_determined_by_x() -> None:
    table = TableCoding(
        [Column("v", "category", classes=CLASSES), Column("n", "number")],
        CodingOptions(numbers="standard", max_classes=2),
    )
    table.learn(pd.DataFrame({"v": cells("abcde"), "n": [1.0, 2.0, 3.0, 4.0, 5.0]}))
    x = np.column_stack([np.ones(50), np.arange(50)]).astype(np.float32)
    pd.testing.assert_frame_equal(table.decode(x), table.decode(x.copy(order="F")))
    # One row at a time has other draws than the first row of each.
    single = {str(table.decode(x[row : row + 1])["v"].iloc[0]) for row in range(50)}
    assert single == {"b", "c", "d", "e"}


def test_grouped_classes_need_learn() -> None:
    coding = CategoryCoding(Column("v", "category", classes=CLASSES), 0, CodingOptions(max_classes=2))
    with pytest.raises(AeframeError, match="'v' was not estimated yet"):
        coding.encode(cells("a"))
