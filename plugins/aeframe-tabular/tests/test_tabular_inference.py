"""Kinds of columns: each kind by its cells, kinds that the user sets, and real tables."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn import datasets

from aeframe.errors import AeframeError
from aeframe_tabular.column import Column, Kind
from aeframe_tabular.inference import infer_columns
from aeframe_tabular.reading import RawTable, frame_of, read_frame

NUM = 60
DAYS = pd.date_range("2021-01-01", periods=NUM, freq="D")


def column_of(values: Any, name: str = "x", **options: Any) -> Column:
    """Return the inferred column of values beside another one."""
    frame = pd.DataFrame({name: values})
    columns = infer_columns(frame_of(frame.assign(other=["a", "b"] * (len(frame) // 2))), **options)
    return columns[0]


def repeated(*values: Any) -> list[Any]:
    return (list(values) * NUM)[:NUM]


@pytest.mark.parametrize(
    ("values", "name", "kind", "dtype"),
    [
        (np.linspace(0, 1, NUM), "x", "number", "float64"),
        (np.linspace(0, 1, NUM, dtype="float32"), "x", "number", "float32"),
        (repeated(1, 2, 3, 4, 5), "x", "integer", "int64"),
        (repeated(1.0, 2.0, np.nan), "x", "integer", "float64"),
        (pd.array(repeated(1, 2, None), "Int64"), "x", "integer", "Int64"),
        (repeated(0, 1), "x", "boolean", "int64"),
        (repeated("no", "yes", None), "x", "boolean", "str"),
        (repeated("TRUE", "FALSE"), "x", "boolean", "str"),
        (repeated(True, False), "x", "boolean", "bool"),
        (repeated("a", "b", "c"), "x", "category", "str"),
        (repeated("male", "female"), "x", "category", "str"),
        (repeated("01234", "05678"), "zip", "category", "str"),
        (repeated("only", None), "x", "category", "str"),
        (pd.Categorical(repeated("lo", "hi")), "x", "category", "category"),
        (pd.Categorical(repeated("lo", "hi"), ["lo", "hi"], ordered=True), "x", "ordinal", "category"),
        (DAYS, "x", "date", "datetime64[ns]"),
        (DAYS.strftime("%d.%m.%Y"), "x", "date", "str"),
        (DAYS.strftime("%Y%m%d").astype(int), "order_date", "date", "int64"),
        (np.arange(1, NUM + 1), "PassengerId", "id", "int64"),
        (np.arange(NUM) * 7 % 1009, "customer_id", "id", "int64"),
        (np.arange(1, NUM + 1), "No", "id", "int64"),
        (np.arange(1, NUM + 1), "distance", "integer", "int64"),
        (repeated(3, 7, 9), "shop_id", "category", "int64"),
        ([f"T{number}" for number in range(NUM)], "x", "id", "str"),
        ([f"Mr. Name {number}" for number in range(NUM)], "x", "text", "str"),
        ([f"B {number // 3 * 2 + number % 2}" for number in range(NUM)], "x", "text", "str"),
        (repeated(5), "x", "constant", "int64"),
        (repeated(None), "x", "constant", "str"),
        (np.arange(NUM) + 2**60, "x", "id", "str"),
        ([f"{number}.5" for number in range(NUM)], "x", "number", "str"),
        (pd.to_timedelta(np.arange(NUM) ** 2, unit="s"), "x", "number", "timedelta64[ns]"),
    ],
)
def test_kind_and_type_are_found(values: Any, name: str, kind: Kind, dtype: str) -> None:
    column = column_of(values, name)
    assert (column.kind, column.dtype) == (kind, dtype)
    assert column.reason


def test_properties_of_a_column() -> None:
    prices = column_of([None, *np.arange(1, NUM) / 4])
    assert (prices.low, prices.high, prices.decimals, prices.num_missing) == (0.25, (NUM - 1) / 4, 2, 1)
    assert prices.num_distinct == NUM - 1
    assert column_of(np.linspace(0, 1, NUM)).decimals is None
    assert column_of(np.array([0.1, 0.25] * 30, "float32")).decimals == 2
    assert column_of(repeated("YES", "no")).classes == ("no", "YES")
    assert column_of(repeated("b", "a", None)).classes == ("a", "b")
    assert column_of(repeated(10, 9, 9), kinds={"x": "category"}).classes == ("9", "10")
    days = column_of(DAYS.strftime("%d.%m.%Y"))
    assert days.date_format == "%d.%m.%Y"
    assert (days.low, days.high) == (DAYS[0].timestamp(), DAYS[-1].timestamp())


def test_why_numbers_identify_rows_is_stated() -> None:
    ids = np.arange(1, NUM + 1)
    assert column_of(ids, "PassengerId").reason == "all different, and named as an identifier"
    assert column_of(ids, "No").reason == "counts the rows"
    assert column_of(repeated(3, 7, 9), "shop_id").reason == "identifiers that are repeated"


def test_a_number_that_many_rows_have_is_a_spike() -> None:
    amounts = np.concatenate([np.zeros(20), np.arange(1, 41)])
    assert column_of(amounts).spike == 0
    # Seven values are no amount, and 5 of 60 rows are not many.
    assert column_of(repeated(0, 0, 1, 2, 3)).spike is None
    assert column_of(np.concatenate([np.zeros(5), np.arange(1, 56)])).spike is None


@pytest.mark.parametrize(
    ("kind", "values", "classes"),
    [
        ("ordinal", ["18-25", "<18", "65+", "26-64"], ("<18", "18-25", "26-64", "65+")),
        ("ordinal", [3, 10, 2, 1], ("1", "2", "3", "10")),
        ("category", ["b", "a"], ("a", "b")),
        ("boolean", ["sick", "healthy"], ("healthy", "sick")),
    ],
)
def test_kinds_can_be_set(kind: Kind, values: Sequence[Any], classes: tuple[str, ...]) -> None:
    column = column_of(repeated(*values), kinds={"x": kind})
    assert (column.kind, column.classes, column.reason) == (kind, classes, "as set")


@pytest.mark.parametrize(
    "date_format",
    [
        "%Y-%m-%d", "%d/%m/%Y", "%m/%d/%Y", "%d.%m.%y", "%d %b %Y", "%B %d, %Y", "%Y-%m-%d %H:%M", "%Y-%m-%dT%H:%M:%S",
        "%Y-%m-%dT%H:%M:%S%z", "%m/%d/%Y %I:%M %p", "%Y-%m-%d %H:%M:%S.%f", "%Y/%m/%d", "%d-%b-%y", "%a, %d %b %Y",
        "%d/%m/%Y, %H:%M", "%d%b%Y", "%d. %B %Y", "%d.%m.%Y %H:%M:%S,%f", "%b %Y", "%d/%m/%y",
    ],
)  # fmt: skip
def test_formats_of_dates_are_found(date_format: str) -> None:
    dates = DAYS.tz_localize("UTC") + pd.Timedelta(hours=13, minutes=5, seconds=7)
    column = column_of(dates.strftime(date_format))
    assert (column.kind, column.date_format) == ("date", date_format)


def test_dates_that_both_orders_fit_are_refused_until_the_order_is_set() -> None:
    both = [f"{number % 12 + 1:02d}/{number % 11 + 1:02d}/2020" for number in range(NUM)]
    with pytest.raises(AeframeError) as error:
        column_of(both)
    assert str(error.value) == (
        "the frame, column 'x': day and month cannot be told apart in the dates ('01/01/2020' fits %d/%m/%Y and "
        "%m/%d/%Y); set data.day_first to true or false, or data.date_formats.x=%d/%m/%Y"
    )
    assert column_of(both, date_formats={"x": "%m/%d/%Y"}).date_format == "%m/%d/%Y"
    for day_first, date_format in ((True, "%d/%m/%Y"), (False, "%m/%d/%Y")):
        column = column_of(both, day_first=day_first)
        assert (column.kind, column.date_format) == ("date", date_format)
        # The order of dates that one format fits is not changed.
        assert column_of(DAYS.strftime("%d/%m/%Y"), day_first=day_first).date_format == "%d/%m/%Y"
    # Dates with points have the day first.
    assert column_of([text.replace("/", ".") for text in both]).date_format == "%d.%m.%Y"


def test_dates_in_two_formats_are_text() -> None:
    two = [day.strftime("%Y-%m-%d" if day.day % 2 else "%d.%m.%Y") for day in DAYS]
    column = column_of(two)
    assert column.kind == "text"
    assert column.reason.startswith("dates in two formats, %Y-%m-%d and %d.%m.%Y ('02.01.2021')")


@pytest.mark.parametrize(
    ("values", "options", "sentence"),
    [
        (["1", "2", "x", "4"], {"kinds": {"x": "number"}}, "t.csv, row 2, column 'x' is 'x', expected a number"),
        ([1.0, 2.5], {"kinds": {"x": "integer"}}, "row 1, column 'x' is '2.5', expected a whole number"),
        (["a", "b", "c", "d"], {"kinds": {"x": "boolean"}}, "4 distinct values, expected two"),
        (["a", "b"], {"kinds": {"x": "date"}}, "row 0, column 'x' is 'a', expected a date"),
        (["2020-01-01", "2020-13-01"], {"date_formats": {"x": "%Y-%m-%d"}}, "row 1, column 'x' is '2020-13-01'"),
        ([1, 2], {"kinds": {"y": "number"}}, "no column 'y' of data.kinds"),
        ([1, 2], {"kinds": {"x": "numer"}}, "kind 'numer', did you mean 'number'?"),
        ([1], {}, "has one row"),
        ([1, 1], {}, "no column that can be used"),
        ([None, None], {"kinds": {"x": "number"}}, "has no value"),
    ],
)
def test_what_cannot_be_is_a_sentence(values: list[Any], options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(AeframeError) as error:
        infer_columns(RawTable(frame_of(pd.DataFrame({"x": values})).frame, "t.csv"), **options)
    assert sentence in str(error.value)


def test_too_many_classes_are_left_out() -> None:
    values = [f"c{number // 4}" for number in range(40)]
    assert column_of(values).kind == "category"
    column = column_of(values, max_classes=9)
    assert (column.kind, column.reason) == ("text", "10 different texts, more than 9")


def test_a_number_among_text_is_named() -> None:
    column = column_of([*map(str, range(NUM - 1)), "unknown"])
    assert (column.kind, column.reason) == ("text", "numbers, and text such as 'unknown', which data.missing can name")


def test_columns_are_stored_as_plain_values() -> None:
    columns = infer_columns(frame_of(pd.DataFrame({"a": [1, 2, 4], "b": ["x", "y", "x"]})))
    assert tuple(Column.from_dict(column.to_dict()) for column in columns) == columns


def diamonds(num: int) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    return pd.DataFrame(
        {
            "carat": rng.gamma(2, 0.4, num).round(2),
            "cut": rng.choice(["Ideal", "Premium", "Good"], num),
            "depth": rng.normal(61, 1, num).round(1),
            "price": rng.integers(300, 18_000, num),
        }
    )


def taxis(num: int) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    pickup = pd.Timestamp("2019-03-01") + pd.to_timedelta(rng.integers(0, 2_000_000, num), unit="s")
    return pd.DataFrame(
        {
            "pickup": pickup.strftime("%Y-%m-%d %H:%M:%S"),
            "passengers": rng.integers(0, 7, num),
            "fare": rng.gamma(2, 6, num).round(2),
            "tip": np.where(rng.random(num) < 0.4, 0, rng.gamma(2, 1, num)).round(2),
            "payment": rng.choice(["cash", "credit card", ""], num),
        }
    )


def test_tables_as_people_have_them(tmp_path: Path) -> None:
    diamonds(500).to_csv(tmp_path / "diamonds.csv")
    taxis(500).to_csv(tmp_path / "taxis.csv", index=False)
    found = infer_columns(read_frame(tmp_path / "diamonds.csv"))
    assert [column.kind for column in found] == ["number", "category", "number", "integer"]
    found = infer_columns(read_frame(tmp_path / "taxis.csv"))
    assert [column.kind for column in found] == ["date", "integer", "number", "number", "category"]
    assert found[3].spike == 0
    assert found[4].num_missing > 0


@pytest.mark.parametrize("load", [datasets.load_iris, datasets.load_wine, datasets.load_diabetes])
def test_tables_of_scikit_learn(load: Any) -> None:
    frame = load(as_frame=True).frame
    found = infer_columns(frame_of(frame))
    assert all(column.kind in ("number", "integer", "boolean") for column in found)
    assert len(found) == frame.shape[1]


@pytest.mark.parametrize(
    ("name", "others"),
    [
        (
            "adult.csv",
            dict.fromkeys(
                ("age", "fnlwgt", "education-num", "capital-gain", "capital-loss", "hours-per-week"), "integer"
            ),
        ),
        (
            "titanic.csv",
            {
                **dict.fromkeys(("survived", "adult_male", "alive", "alone"), "boolean"),
                **dict.fromkeys(("pclass", "sibsp", "parch"), "integer"),
                **dict.fromkeys(("age", "fare"), "number"),
            },
        ),
    ],
)
def test_real_tables(name: str, others: dict[str, str]) -> None:
    path = Path(os.environ.get("AEFRAME_TEST_DATA", "/nonexistent")) / "tables" / name
    if not path.exists():
        pytest.skip(f"{name} is not in AEFRAME_TEST_DATA")
    for column in infer_columns(read_frame(path)):
        assert column.kind == others.get(column.name, "category"), column
