"""The coding of whole tables: elements, round trips over all kinds, state, errors, and a real table."""

from __future__ import annotations

import functools
import json
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aeframe.errors import AeframeError
from aeframe.testing.fixtures import real_file
from aeframe_tabular.coding import CodingOptions, Element, TableCoding
from aeframe_tabular.coding.options import NUMBER_CODINGS, NumberCodingName
from aeframe_tabular.column import Column

COLUMNS = (
    Column("row", "id"),
    Column("age", "number", low=1.0, high=9.0, decimals=1),
    Column("income", "integer", low=0.0, high=900.0, spike=0.0, num_missing=1),
    Column("city", "category", classes=("Bern", "Rome", "Oslo"), num_missing=1),
    Column("smokes", "boolean", classes=("no", "yes")),
    Column("seen", "date", low=0.0, high=86400.0 * 400),
)


def small_frame() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "age": [1.0, 3.0, 5.0, 9.0],
            "income": [0.0, 100.0, np.nan, 300.0],
            "city": pd.Categorical(["Oslo", "Bern", None, "Rome"], categories=["Bern", "Rome", "Oslo"]),
            "smokes": pd.Categorical(["no", "yes", "yes", "no"], categories=["no", "yes"]),
            "seen": pd.to_datetime(["1970-01-01", "1970-01-02", "1970-01-03", "1970-01-04"]).astype("datetime64[us]"),
        },
        index=pd.Index(["a", "b", "c", "d"], name="row"),
    )


def test_a_small_table_by_hand() -> None:
    coding = TableCoding(COLUMNS, CodingOptions(numbers="standard"))
    assert coding.elements == (
        Element("age", 0, 0),
        Element("income", 0, 1),
        Element("income (spike or missing)", 3, 1),
        Element("city", 4, 2),
        Element("smokes", 2, 3),
        Element("seen", 0, 4),
    )
    assert coding.classes == (0, 0, 3, 4, 2, 0)
    frame = small_frame()
    coding.learn(frame)
    x, mask = coding.encode(frame)
    assert x.dtype == np.float32
    assert mask.dtype == np.bool_
    # Ages have the mean 4.5 and the variance 8.75; incomes other than 0 have the mean 200 and the deviation 100.
    age = (np.array([1, 3, 5, 9]) - 4.5) / np.sqrt(8.75)
    seen = np.array([-1.5, -0.5, 0.5, 1.5]) / np.sqrt(1.25)
    expected = np.stack([age, [0, -1, 0, 1], [1, 0, 2, 0], [2, 0, 3, 1], [0, 1, 1, 0], seen], axis=1)
    np.testing.assert_allclose(x, expected, rtol=1e-6)
    absent = np.zeros((4, 6), dtype=bool)
    absent[[0, 2], 1] = True
    np.testing.assert_array_equal(mask, ~absent)
    pd.testing.assert_frame_equal(coding.decode(x, frame.index), frame)


def test_sums_over_the_elements_of_a_column() -> None:
    coding = TableCoding(COLUMNS, CodingOptions(numbers="mixture", modes=3))
    assert coding.classes == (0, 3, 0, 5, 4, 2, 0, 3)
    values = np.arange(16, dtype=np.float32).reshape(2, 8)
    np.testing.assert_array_equal(coding.column_sums(values), [[1, 5, 4, 5, 13], [17, 21, 12, 13, 29]])
    assert coding.column_sums(values).dtype == np.float32


def test_one_column_can_have_another_coding() -> None:
    coding = TableCoding(COLUMNS, CodingOptions(numbers="mixture", per_column={"age": "standard"}))
    assert [element.name for element in coding.elements][:3] == ["age", "income", "income (mode)"]
    assert coding.classes[2] == 12


@pytest.mark.parametrize("numbers", NUMBER_CODINGS)
def test_the_state_survives_json(numbers: NumberCodingName) -> None:
    options = CodingOptions(numbers=numbers, max_classes=2, date_parts=True)
    frame = pd.concat([small_frame()] * 20)
    coding, other = TableCoding(COLUMNS, options), TableCoding(COLUMNS, options)
    coding.learn(frame)
    other.load_state(json.loads(json.dumps(coding.state(), allow_nan=False)))
    x, mask = coding.encode(frame)
    again, mask_again = other.encode(frame)
    assert x.tobytes() == again.tobytes()
    assert mask.tobytes() == mask_again.tobytes()
    pd.testing.assert_frame_equal(coding.decode(x), other.decode(x), check_exact=True)
    assert coding.state() == other.state()


def test_a_row_is_coded_alike_among_many_others() -> None:
    coding = TableCoding(COLUMNS, CodingOptions(modes=3))
    frame = pd.concat([small_frame()] * 10_000)  # more rows than are coded at once
    coding.learn(frame)
    x, mask = coding.encode(frame)
    few, few_mask = coding.encode(frame.iloc[:4])
    np.testing.assert_array_equal(x, np.tile(few, (10_000, 1)))
    np.testing.assert_array_equal(mask, np.tile(few_mask, (10_000, 1)))


def test_no_rows() -> None:
    coding = TableCoding(COLUMNS)
    frame = small_frame().iloc[:0]
    coding.learn(frame)
    x, mask = coding.encode(frame)
    assert x.shape == mask.shape == (0, 8)
    pd.testing.assert_frame_equal(coding.decode(x, frame.index), frame)


def test_encode_neither_changes_nor_keeps_the_frame() -> None:
    coding, frame = TableCoding(COLUMNS), small_frame()
    coding.learn(frame)
    coding.encode(frame)
    pd.testing.assert_frame_equal(frame, small_frame(), check_exact=True)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: CodingOptions(numbers="mixtures"), "one of mixture, quantile, standard, found 'mixtures', did you"),
        (lambda: CodingOptions(per_column={"a": "log"}), "option 'per_column.a' must be one of"),
        (lambda: CodingOptions(modes=0), "'modes' must be at least 1, found 0"),
        (lambda: TableCoding(COLUMNS, CodingOptions(per_column={"agee": "standard"})), "did you mean 'age'?"),
        (lambda: TableCoding(COLUMNS, CodingOptions(per_column={"city": "standard"})), "no used column of numbers"),
        (lambda: TableCoding(COLUMNS[:1]), "no column that can be modelled"),
        (lambda: TableCoding(COLUMNS[1:2] * 2), "two columns of the name 'age'"),
        (lambda: TableCoding([Column("empty", "category")]), "at least one class, found none"),
        (lambda: TableCoding(COLUMNS).encode(small_frame()), "'age' was not estimated yet; call learn"),
        (lambda: TableCoding(COLUMNS).state(), "was not estimated yet"),
        (lambda: TableCoding(COLUMNS).learn(small_frame().rename(columns={"age": "Age"})), "did you mean 'Age'?"),
        (lambda: TableCoding(COLUMNS).decode(np.zeros((3, 2), np.float32)), r"shape \(N, 8\), found \(3, 2\)"),
        (lambda: TableCoding(COLUMNS).load_state({"columns": []}), "expected age, income, city, smokes, seen"),
        (lambda: TableCoding(COLUMNS).learn(small_frame().assign(city="Bonn")), "'Bonn' is none of them"),
        (lambda: TableCoding(COLUMNS).learn(small_frame().assign(age="old")), "needs numbers, found values of"),
        (lambda: TableCoding(COLUMNS).learn(small_frame().assign(seen=1.0)), "needs dates without a time zone"),
    ],
)
def test_errors_name_column_and_remedy(build: Any, message: str) -> None:
    with pytest.raises(AeframeError, match=message):
        build()


@st.composite
def columns_and_values(draw: st.DrawFn, name: str, rows: int) -> tuple[Column, pd.Series[Any]]:
    """A column of any kind, whose cells may be missing or equal a spike, and its values."""
    kind = draw(st.sampled_from(["number", "integer", "date", "boolean", "category", "ordinal"]))
    missing = np.array(draw(st.lists(st.booleans(), min_size=rows, max_size=rows)))
    if kind in ("boolean", "category", "ordinal"):
        classes = ("no", "yes") if kind == "boolean" else tuple("abcdefgh"[: draw(st.integers(1, 8))])
        codes = np.array(draw(st.lists(st.integers(0, len(classes) - 1), min_size=rows, max_size=rows)))
        cells = pd.Categorical.from_codes(np.where(missing, -1, codes), categories=list(classes))
        return Column(name, kind, classes=classes, num_missing=int(missing.sum())), pd.Series(cells, name=name)
    if kind == "number":
        number = st.floats(-1e9, 1e9, allow_subnormal=False) | st.sampled_from([0.0, 1.0, 1e-3])
    elif kind == "integer":
        number = st.integers(-1000, 1000).map(float)
    else:
        number = st.integers(0, 10_000).map(lambda day: day * 86400.0)
    numbers = np.array(draw(st.lists(number, min_size=rows, max_size=rows)))
    spike = draw(st.sampled_from([None, float(numbers[0])]))
    column = Column(
        name,
        kind,
        num_missing=int(missing.sum()),
        low=float(numbers.min()),
        high=float(numbers.max()),
        spike=spike,
    )
    numbers = np.where(missing, np.nan, numbers)
    if kind == "date":
        dates = pd.to_datetime(pd.Series(numbers), unit="s").astype("datetime64[us]")
        return column, dates.rename(name)
    return column, pd.Series(numbers, name=name)


@st.composite
def tables(draw: st.DrawFn) -> tuple[tuple[Column, ...], pd.DataFrame]:
    rows = draw(st.integers(1, 30))
    parts = [draw(columns_and_values(f"c{index}", rows)) for index in range(draw(st.integers(1, 4)))]
    return tuple(column for column, _ in parts), pd.concat([values for _, values in parts], axis=1)


@settings(max_examples=60, deadline=None)
@given(table=tables(), numbers=st.sampled_from(NUMBER_CODINGS), modes=st.integers(1, 4), parts=st.booleans())
def test_round_trip(
    table: tuple[tuple[Column, ...], pd.DataFrame], numbers: NumberCodingName, modes: int, parts: bool
) -> None:
    columns, frame = table
    coding = TableCoding(columns, CodingOptions(numbers=numbers, modes=modes, date_parts=parts))
    coding.learn(frame)
    x, mask = coding.encode(frame)
    assert x.shape == mask.shape == (len(frame), len(coding.elements))
    assert np.isfinite(x).all()
    assert (x[~mask] == 0).all()
    for element, values in zip(coding.elements, x.T, strict=True):
        if element.classes:
            assert np.isin(values, np.arange(element.classes)).all()
    decoded = coding.decode(x)
    for column in columns:
        before, after = frame[column.name], decoded[column.name]
        if column.kind == "number":
            span = (before.max() - before.min()) if before.notna().any() else 0.0
            np.testing.assert_allclose(after, before, rtol=1e-12, atol=1e-4 * span if span > 0 else 0.0)
        else:
            pd.testing.assert_series_equal(after, before)


@functools.cache
def adult() -> tuple[list[Column], pd.DataFrame]:
    """Return the census data with columns as inference would find them."""
    raw = pd.read_csv(real_file("tables/adult.csv"), skipinitialspace=True, na_values="?")
    columns: list[Column] = []
    typed: dict[str, pd.Series[Any]] = {}
    for name in raw:
        values = raw[name]
        if values.dtype.kind == "i":
            spike = 0.0 if str(name).startswith("capital") else None
            low, high = float(values.min()), float(values.max())
            columns.append(Column(str(name), "integer", low=low, high=high, spike=spike))
            typed[str(name)] = values.astype(float)
        else:
            classes = tuple(sorted(values.dropna().unique()))
            columns.append(Column(str(name), "category", classes=classes, num_missing=int(values.isna().sum())))
            typed[str(name)] = pd.Series(pd.Categorical(values, categories=list(classes)))
    return columns, pd.DataFrame(typed)


@pytest.mark.parametrize("numbers", NUMBER_CODINGS)
def test_census_data(numbers: NumberCodingName) -> None:
    columns, frame = adult()
    coding = TableCoding(columns, CodingOptions(numbers=numbers))
    coding.learn(frame.iloc[:24_000])
    x, mask = coding.encode(frame)
    assert x.shape[1] == {"mixture": 21, "quantile": 17, "standard": 17}[numbers]
    names = [element.name for element in coding.elements]
    # 91.7 % of the people have no capital gain; the cells of no other number are masked.
    assert mask[:, names.index("capital-gain")].sum() == (frame["capital-gain"] != 0).sum() == 2712
    assert mask[:, names.index("age")].all()
    train, decoded = frame.iloc[:24_000], coding.decode(x)
    pd.testing.assert_frame_equal(decoded.iloc[:24_000], train)
    if numbers != "quantile":  # which has no numbers beyond those of the training split
        pd.testing.assert_frame_equal(decoded, frame)
