"""The typed frame: columns by name, classes, dates, and the way back into the types of the file."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aeframe.errors import AeframeError
from aeframe_tabular.column import Column
from aeframe_tabular.inference import infer_columns
from aeframe_tabular.reading import RawTable, frame_of
from aeframe_tabular.typed import restored_frame, typed_frame

TABLE = pd.DataFrame(
    {
        "id": [11, 12, 13, 14],
        "age": pd.array([30, None, 25, 30], "Int64"),
        "price": [1.25, 2.5, np.nan, 1.25],
        "city": ["Bonn", "Köln", None, "Bonn"],
        "flag": ["yes", "no", "no", None],
        "level": pd.Categorical(["lo", "hi", None, "lo"], ["lo", "hi"], ordered=True),
        "day": ["01.02.2020", "15.02.2020", None, "01.02.2020"],
        "when": pd.to_datetime(["2020-01-01", None, "2020-01-03", "2020-01-04"]),
        "note": ["free text a", "free text b", "free text c", "free text d"],
    }
)
COLUMNS = infer_columns(frame_of(TABLE))


def test_each_kind_has_its_type() -> None:
    typed = typed_frame(frame_of(TABLE), COLUMNS)
    assert list(typed) == ["age", "price", "city", "flag", "level", "day", "when"]
    assert typed.index.name == "id"
    assert typed.index.tolist() == [11, 12, 13, 14]
    assert {name: str(dtype) for name, dtype in typed.dtypes.items()} == {
        "age": "float64", "price": "float64", "city": "category", "flag": "category", "level": "category",
        "day": "datetime64[us]", "when": "datetime64[us]",
    }  # fmt: skip
    np.testing.assert_array_equal(typed["age"], [30, np.nan, 25, 30])
    assert typed["city"].cat.categories.tolist() == ["Bonn", "Köln"]
    assert typed["flag"].cat.codes.tolist() == [1, 0, 0, -1]
    assert typed["level"].cat.ordered
    assert typed["day"].iloc[1] == pd.Timestamp("2020-02-15")


def test_restored_columns_are_those_of_the_file() -> None:
    raw = frame_of(TABLE)
    restored = restored_frame(typed_frame(raw, COLUMNS), COLUMNS)
    pd.testing.assert_frame_equal(restored.reset_index(drop=True), raw.frame[list(restored)])


def test_columns_are_matched_by_name() -> None:
    typed = typed_frame(frame_of(TABLE), COLUMNS)
    raw = frame_of(TABLE[[*reversed(TABLE.columns)]].assign(more=1))
    pd.testing.assert_frame_equal(typed_frame(raw, COLUMNS), typed)
    assert raw.notes == ["the frame: a column not of the model left out (more)"]
    with pytest.raises(AeframeError) as error:
        typed_frame(frame_of(TABLE.rename(columns={"city": "City name"})), COLUMNS)
    assert "has no column 'city', on which the model was trained, did you mean 'City name'?" in str(error.value)
    # Columns that are left out are not needed.
    pd.testing.assert_frame_equal(
        typed_frame(frame_of(TABLE.drop(columns=["id", "note"])), COLUMNS), typed.reset_index(drop=True)
    )


@pytest.mark.parametrize(
    ("column", "value", "sentence"),
    [
        ("city", "Bon", "t.csv, row 2, column 'city' is 'Bon', expected one of the 2 classes on which the model was"),
        ("flag", "maybe", "expected one of the 2 classes"),
        ("age", 2.5, "is '2.5', expected a whole number"),
        ("price", "cheap", "is 'cheap', expected a finite number"),
        ("day", "2020-02-15", "is '2020-02-15', expected a date in the format %d.%m.%Y"),
    ],
)
def test_unknown_values_are_an_error_or_missing(column: str, value: Any, sentence: str) -> None:
    frame = TABLE.astype({"age": object, "price": object})
    frame.loc[2, column] = value
    raw = RawTable(frame_of(frame).frame, "t.csv")
    with pytest.raises(AeframeError) as error:
        typed_frame(raw, COLUMNS)
    assert sentence in str(error.value)
    typed = typed_frame(raw, COLUMNS, unknown="missing")
    assert typed[column].isna().tolist()[2]
    assert sentence in raw.notes[0]
    if column == "city":
        assert "did you mean 'Bonn'?" in str(error.value)


def test_classes_are_found_in_other_types() -> None:
    columns = infer_columns(frame_of(pd.DataFrame({"a": ["1", "2", "3+", "1"], "b": ["no", "yes", "no", "no"]})))
    for values in (["1", "2", "1"], [1, 2, 1], [1.0, 2.0, 1.0]):
        typed = typed_frame(frame_of(pd.DataFrame({"a": values, "b": ["No", "YES", "no"]})), columns)
        assert typed["a"].tolist() == ["1", "2", "1"]
        assert typed["b"].tolist() == ["no", "yes", "no"]
    columns = infer_columns(frame_of(pd.DataFrame({"a": ["1.50", "x", "1.50", "x"]})))
    assert typed_frame(frame_of(pd.DataFrame({"a": [1.5, 1.5]})), columns)["a"].tolist() == ["1.50", "1.50"]


def test_numbers_are_rounded_and_bounded_by_their_type() -> None:
    small = Column("a", "integer", dtype="int8", decimals=0)
    price = Column("b", "number", dtype="float64", decimals=2)
    typed = pd.DataFrame({"a": [1.4, 300.0], "b": [0.126, -0.001]})
    restored = restored_frame(typed, [small, price])
    assert restored["a"].tolist() == [1, 127]
    assert str(restored["a"].dtype) == "int8"
    assert restored["b"].tolist() == [0.13, 0.0]
    assert not np.signbit(restored["b"].to_numpy()).any()
    typed.loc[0, "a"] = np.nan
    assert str(restored_frame(typed, [small])["a"].dtype) == "Int8"


def test_no_rows_are_no_rows() -> None:
    typed = typed_frame(frame_of(TABLE), COLUMNS)[:0]
    restored = restored_frame(typed, COLUMNS)
    assert len(restored) == 0
    pd.testing.assert_frame_equal(typed_frame(RawTable(restored), COLUMNS), typed)


def values_or_missing(values: st.SearchStrategy[Any], num: int) -> st.SearchStrategy[list[Any]]:
    return st.lists(st.none() | values, min_size=num, max_size=num)


WORDS = st.text(st.characters(codec="utf-8", exclude_categories=("Cs", "Cc", "Z")), min_size=1, max_size=4)
DATES = st.datetimes(pd.Timestamp("1900-01-01").to_pydatetime(), pd.Timestamp("2200-01-01").to_pydatetime())
KINDS: dict[str, tuple[st.SearchStrategy[Any], dict[str, Any]]] = {
    "number": (st.floats(-1e12, 1e12), {}),
    "single": (st.floats(-(2.0**40), 2.0**40, width=32), {}),
    "price": (st.integers(-(10**8), 10**8).map(lambda cents: cents / 100), {}),
    "integer": (st.integers(-(2**53), 2**53), {}),
    "small": (st.integers(0, 200), {}),
    "boolean": (st.booleans(), {"kinds": "boolean"}),
    "category": (WORDS, {"kinds": "category"}),
    "codes": (st.integers(0, 5), {"kinds": "category"}),
    "ordinal": (st.sampled_from(["<18", "18-25", "26+"]), {"kinds": "ordinal"}),
    "date": (DATES, {}),
    "written": (DATES.map(lambda date: date.strftime("%Y/%m/%d %H:%M")), {"date_formats": "%Y/%m/%d %H:%M"}),
    "digits": (st.dates(pd.Timestamp("1900-01-01").date()).map(lambda day: int(day.strftime("%Y%m%d"))), {}),
}
DTYPES = {
    "number": "float64", "single": "float32", "price": "float64", "integer": "Int64", "small": "UInt8",
    "boolean": "boolean", "category": "string[pyarrow]", "codes": "Int64", "ordinal": "string[pyarrow]",
    "date": "datetime64[us]", "written": "string[pyarrow]", "digits": "Int64",
}  # fmt: skip


@st.composite
def tables(draw: st.DrawFn) -> tuple[pd.DataFrame, dict[str, Any]]:
    num = draw(st.integers(2, 12))
    columns: dict[str, Any] = {"anchor": pd.Series(range(num), dtype="int64")}
    options: dict[str, dict[str, str]] = {"kinds": {"anchor": "integer"}, "date_formats": {}}
    for name, (strategy, stated) in KINDS.items():
        values = draw(values_or_missing(strategy, num))
        columns[name] = (
            pd.Series(pd.array(values, dtype=DTYPES[name]))
            if "float" not in DTYPES[name]
            else pd.Series(np.array([np.nan if value is None else value for value in values], DTYPES[name]))
        )
        if columns[name].notna().any():
            if name == "boolean" and columns[name].nunique() < 2:
                continue
            for option, value in stated.items():
                options[option][name] = value
    return pd.DataFrame(columns), options


@settings(max_examples=25, deadline=None)
@given(tables())
def test_typed_restored_typed_is_the_identity(table: tuple[pd.DataFrame, dict[str, Any]]) -> None:
    frame, options = table
    raw = frame_of(frame)
    columns = infer_columns(raw, **options)
    typed = typed_frame(raw, columns)
    restored = restored_frame(typed, columns)
    pd.testing.assert_frame_equal(typed_frame(RawTable(restored), columns), typed)
    for column in columns:
        if column.is_used and column.dtype != "category":
            values, expected = restored[column.name], raw.frame[column.name]
            pd.testing.assert_series_equal(values, expected, check_dtype=column.dtype in ("str", "float32", "float64"))
