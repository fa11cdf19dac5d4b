"""Scores of synthetic rows: closed forms, scipy and scikit-learn, and tables whose scores are known."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.metrics import roc_auc_score

from aeframe import AeframeError
from aeframe.testing.fixtures import real_file
from aeframe_tabular.column import Column
from aeframe_tabular.quality.comparison import compare_tables, sample_comparison
from aeframe_tabular.quality.pairs import decile_numbers, pair_trends
from aeframe_tabular.quality.privacy import copied_rows, privacy_scores, quantile_ranks
from aeframe_tabular.quality.shapes import column_shapes, ks_distance, number_shape
from aeframe_tabular.quality.utility import default_target, utility_scores
from aeframe_tabular.quality.validity import row_validity, valid_cells

AMOUNT = Column("amount", "number", num_missing=1, low=-10.0, high=10.0, decimals=2)
COUNT = Column("count", "integer", low=0.0, high=50.0, decimals=0)
DAY = Column("day", "date", low=0.0, high=1e9)
GRADE = Column("grade", "ordinal", classes=("low", "middle", "high"))
COLOUR = Column("colour", "category", num_missing=1, classes=("blue", "green", "red"))
BOUGHT = Column("bought", "boolean", classes=("no", "yes"))
COLUMNS = (AMOUNT, COUNT, DAY, GRADE, COLOUR, BOUGHT)


def table(num: int = 600, seed: int = 0) -> pd.DataFrame:
    """Return a typed frame of all kinds whose columns depend on one another; amounts and colours have missing cells."""
    random = np.random.default_rng(seed)
    size = random.normal(size=num)
    amount = np.where(random.random(num) < 0.1, np.nan, np.clip(3 * size, -10, 10).round(2))
    grade = np.digitize(size, [-0.5, 0.5])
    colour = np.where(random.random(num) < 0.05, -1, np.digitize(size + 0.3 * random.normal(size=num), [-0.7, 0.7]))
    days = np.floor(4e8 + 1e8 * np.tanh(size + random.normal(size=num)))
    return pd.DataFrame(
        {
            "amount": amount,
            "count": random.poisson(np.exp(1 + 0.5 * size)).astype(np.float64),
            "day": (days * 1e6).astype(np.int64).astype("datetime64[us]"),
            "grade": pd.Categorical.from_codes(grade, categories=GRADE.classes),
            "colour": pd.Categorical.from_codes(colour, categories=COLOUR.classes),
            "bought": pd.Categorical.from_codes((size > 0).astype(int), categories=BOUGHT.classes),
        },
        index=np.arange(num) + 1000,
    )


def shuffled(frame: pd.DataFrame, seed: int = 1) -> pd.DataFrame:
    """Return the frame with the cells of each column in another order."""
    random = np.random.default_rng(seed)
    return pd.DataFrame({name: frame[name].array[random.permutation(len(frame))] for name in frame})


def categories(values: list[Any], column: Column) -> pd.Categorical:
    return pd.Categorical(values, categories=column.classes)


# -- shapes ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ties", [False, True])
def test_the_distance_of_numbers_is_that_of_scipy(ties: bool) -> None:
    random = np.random.default_rng(3)
    a, b = random.normal(size=301), random.normal(0.4, 2, size=170)
    if ties:
        a, b = a.round(), b.round()
    assert ks_distance(a, b) == pytest.approx(stats.ks_2samp(a, b).statistic, abs=1e-12)


def test_the_shape_of_numbers_falls_with_the_difference_of_the_missing_shares() -> None:
    real, synthetic = np.array([1.0, 2.0, 3.0, np.nan]), np.array([1.0, 2.0, np.nan, np.nan])
    # Distribution functions 1/3, 2/3, 1 and 1/2, 1, 1: distance 1/3. Missing 1/4 and 1/2.
    assert number_shape(real, synthetic) == pytest.approx((1 - 1 / 4) * (1 - 1 / 3))
    assert number_shape(real, np.full(3, np.nan)) == pytest.approx(1 / 4)
    assert number_shape(np.full(2, np.nan), np.full(3, np.nan)) == 1.0


def test_the_shape_of_classes_has_missing_cells_as_a_class() -> None:
    real = pd.DataFrame({"colour": categories(["blue", "blue", "red", None], COLOUR)})
    synthetic = pd.DataFrame({"colour": categories(["blue", "green", None, None], COLOUR)})
    # Frequencies 2, 0, 1, 1 and 1, 1, 0, 2 of 4.
    assert column_shapes(real, synthetic, [COLOUR]).scores == {"colour": pytest.approx(1 - 2 / 4)}


def test_classes_in_another_order_are_the_same_classes() -> None:
    real = pd.DataFrame({"colour": categories(["blue", "red", "red"], COLOUR)})
    other = pd.DataFrame({"colour": pd.Categorical(["red", "blue", "red"], categories=["red", "black", "blue"])})
    assert column_shapes(real, other, [COLOUR]).mean == 1.0
    assert valid_cells(real, other, COLOUR).all()


def test_dates_have_the_shape_of_their_seconds() -> None:
    frame = table()
    later = frame.assign(day=frame["day"] + pd.Timedelta(days=900))
    seconds = [each["day"].astype("datetime64[s]").astype("int64").to_numpy() for each in (frame, later)]
    expected = 1 - stats.ks_2samp(*seconds).statistic
    assert column_shapes(frame, later, [DAY]).scores["day"] == pytest.approx(expected, abs=1e-12)
    assert expected < 0.9


def test_equal_tables_score_one() -> None:
    frame = table()
    assert column_shapes(frame, frame, COLUMNS).mean == 1.0
    assert pair_trends(frame, frame, COLUMNS).mean == 1.0
    assert row_validity(frame, frame, COLUMNS).rows == 1.0


# -- pairs -------------------------------------------------------------------------------------------------------------


def test_shuffled_columns_keep_their_shapes_and_lose_their_pairs() -> None:
    frame = table()
    assert column_shapes(frame, shuffled(frame), COLUMNS).mean == 1.0
    trends = pair_trends(frame, shuffled(frame), COLUMNS)
    assert trends.mean < 0.75
    assert len(trends.scores) == trends.num_pairs == 15


def test_two_numbers_are_compared_by_spearmans_correlation_of_the_present_rows() -> None:
    real, synthetic = table(seed=1), shuffled(table(seed=2))
    real.loc[real["count"] > 4, "count"] = np.nan
    correlations = [stats.spearmanr(each["amount"], each["count"], nan_policy="omit")[0] for each in (real, synthetic)]
    expected = 1 - abs(correlations[0] - correlations[1]) / 2
    assert pair_trends(real, synthetic, [AMOUNT, COUNT]).scores["amount", "count"] == pytest.approx(expected, abs=1e-9)
    assert expected < 0.9


def test_a_constant_column_has_no_correlation() -> None:
    real = pd.DataFrame({"amount": [1.0, 2.0, 3.0], "count": [1.0, 2.0, 3.0]})
    trends = pair_trends(real, real.assign(count=4.0), [AMOUNT, COUNT])
    assert trends.scores["amount", "count"] == pytest.approx(1 - 1 / 2)


def test_two_columns_of_classes_are_compared_by_their_contingency_tables() -> None:
    grades, yes_no = ["low", "low", "high", "high"], ["no", "no", "yes", "yes"]
    real = pd.DataFrame({"grade": categories(grades, GRADE), "bought": categories(yes_no, BOUGHT)})
    other = real.assign(bought=categories(["no", "yes", "no", "yes"], BOUGHT))
    # Of four cells, two have frequency 1/2 in the real table, all have 1/4 in the other.
    assert pair_trends(real, other, [GRADE, BOUGHT]).mean == pytest.approx(1 - 1 / 2)


def test_a_number_and_classes_are_compared_by_the_deciles_of_the_real_numbers() -> None:
    frame = table(seed=5)
    other = shuffled(frame)
    both = pd.concat([frame, other])
    borders = frame["amount"].quantile(np.arange(1, 10) / 10).to_numpy()
    bins = np.where(both["amount"].isna(), 10, np.digitize(both["amount"], borders, right=True))
    grades = both["grade"].cat.codes.to_numpy()
    tables = [
        np.histogram2d(bins[rows], grades[rows], bins=[np.arange(12), np.arange(4)])[0] / len(frame)
        for rows in (slice(0, len(frame)), slice(len(frame), None))
    ]
    expected = 1 - np.abs(tables[0] - tables[1]).sum() / 2
    assert pair_trends(frame, other, [AMOUNT, GRADE]).mean == pytest.approx(expected, abs=1e-12)


def test_equal_deciles_are_merged() -> None:
    real = np.array([0.0] * 8 + [1.0, 2.0])
    # The deciles are 0 up to the seventh, 0.2 and 1.1.
    assert decile_numbers(np.array([-1.0, 0.0, 0.5, 9.0, np.nan]), real).tolist() == [0, 0, 2, 3, 10]


def test_of_many_pairs_a_seeded_part_is_compared() -> None:
    frame = table()
    trends = pair_trends(frame, shuffled(frame), COLUMNS, max_pairs=4, seed=3)
    assert trends.protocol() == "random 4 of 15 pairs of columns"
    assert trends.scores.keys() == pair_trends(frame, frame, COLUMNS, max_pairs=4, seed=3).scores.keys()
    assert trends.scores.keys() != pair_trends(frame, frame, COLUMNS, max_pairs=4, seed=4).scores.keys()


def test_classes_of_large_tables_are_compared_as_those_of_small_ones() -> None:
    many = tuple(str(number) for number in range(3000))
    a, b = Column("a", "category", classes=many), Column("b", "category", classes=many)
    numbers = np.arange(200)
    real = pd.DataFrame({name: pd.Categorical.from_codes(numbers, categories=many) for name in "ab"})
    other = real.assign(b=pd.Categorical.from_codes(np.where(numbers < 50, 2999, numbers), categories=many))
    assert pair_trends(real, other, [a, b]).mean == pytest.approx(1 - 50 / 200)


# -- validity ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("column", "values", "valid"),
    [
        (AMOUNT, [1.5, -11.0, 10.000001, 10.1, np.inf, np.nan], [True, False, True, False, False, True]),
        (replace(AMOUNT, num_missing=0), [1.5, np.nan], [True, False]),
        (replace(AMOUNT, low=None, high=None), [1e9, -np.inf], [True, False]),
        (COUNT, [3.0, 3.5, 51.0], [True, False, False]),
        (COUNT, ["3", "4"], [False, False]),
        (COUNT, [True, False], [False, False]),
        (DAY, pd.to_datetime(["1970-01-02", "1969-12-30", None]), [True, False, False]),
        (DAY, [1.0, 2.0], [False, False]),
        (GRADE, pd.Categorical(["low", "best", None]), [True, False, False]),
        (GRADE, ["low", "high"], [False, False]),
        (COLOUR, pd.Categorical(["blue", "black", None]), [True, False, True]),
    ],
)
def test_cells_are_valid_as_the_column_was_in_training(column: Column, values: Any, valid: list[bool]) -> None:
    real = table().dropna()
    assert valid_cells(real, pd.DataFrame({column.name: values}), column).tolist() == valid


def test_a_row_is_valid_if_all_of_its_cells_are() -> None:
    frame = table(10).dropna(ignore_index=True).head(4)
    broken = frame.assign(count=[1.5, 1.0, 1.0, 2.5], amount=[99.0, 99.0, 1.0, 1.0])
    validity = row_validity(frame, broken, COLUMNS)
    assert validity.rows == 1 / 4
    assert validity.columns == {column.name: 0.5 if column in (AMOUNT, COUNT) else 1.0 for column in COLUMNS}


def test_cells_may_be_missing_where_training_rows_have_missing_ones() -> None:
    column = replace(AMOUNT, num_missing=0)
    assert valid_cells(table(), pd.DataFrame({"amount": [np.nan]}), column).all()


# -- privacy -----------------------------------------------------------------------------------------------------------


def test_copies_are_found_after_rounding() -> None:
    frame = table()
    synthetic = table(seed=9)
    synthetic.iloc[:25] = frame.iloc[100:125]
    synthetic["amount"] += 0.001
    copied = copied_rows(frame, synthetic, COLUMNS)
    assert copied[:25].all()
    assert not copied[25:].any()
    assert privacy_scores(frame, table(seed=8), synthetic, COLUMNS).synthetic.copies == pytest.approx(25 / 600)


def test_the_distance_is_that_of_gower_in_quantile_ranks() -> None:
    real = pd.DataFrame({"amount": [1.0, 2.0, 3.0, np.nan], "grade": categories(["low", "low", "high", "high"], GRADE)})
    new = pd.DataFrame({"amount": [2.0, np.nan, 9.0], "grade": categories(["high", "low", "middle"], GRADE)})
    assert quantile_ranks(np.array([0.0, 2.0, 9.0, np.nan]), real["amount"].to_numpy()).tolist() == [0, 0.5, 1, 2]
    scores = privacy_scores(real, new, new, [AMOUNT, GRADE])
    # Closest: row 3 at (1/3 + 0) / 2; row 1 or 4 at 1/2; row 3 at (1/6 + 1) / 2.
    closest = [1 / 6, 1 / 2, 7 / 12]
    assert scores.synthetic.median == pytest.approx(1 / 2)
    assert scores.synthetic.low == pytest.approx(np.quantile(closest, 0.05))
    assert scores.held_out == scores.synthetic


def test_rows_near_training_rows_are_closer_than_held_out_ones() -> None:
    train, test = table(), table(seed=1)
    scores = privacy_scores(train, test, train.assign(amount=train["amount"] + 0.02), COLUMNS, max_queries=100)
    assert scores.synthetic.median < scores.held_out.median / 2
    assert (scores.num_queries, scores.num_held_out, scores.num_records) == (100, 100, 600)
    assert "no guarantee" in scores.protocol()


# -- utility -----------------------------------------------------------------------------------------------------------


def features(frame: pd.DataFrame) -> np.ndarray:
    return np.stack([frame["amount"], frame["count"], frame["colour"].cat.codes.replace(-1, np.nan)], axis=1)


def test_the_auc_of_classes_is_that_of_scikit_learn() -> None:
    train, test = table(), table(400, seed=1)
    scores = utility_scores(train, test, shuffled(train), [AMOUNT, COUNT, COLOUR, GRADE])
    model = HistGradientBoostingClassifier(
        categorical_features=[False, False, True], early_stopping=False, random_state=0
    )
    chances = model.fit(features(train), train["grade"].cat.codes).predict_proba(features(test))
    expected = roc_auc_score(test["grade"].cat.codes, chances, multi_class="ovr", average="macro")
    assert scores.real == pytest.approx(expected)
    assert scores.real > 0.9
    assert abs(scores.synthetic - 0.5) < 0.15
    assert (scores.target, scores.score, scores.num_train, scores.num_test) == ("grade", "AUC", 600, 400)


def test_the_score_of_numbers_is_r2() -> None:
    train, test = table(), table(400, seed=1)
    scores = utility_scores(train, test, table(300, seed=2), [AMOUNT, COUNT, COLOUR, DAY], target="count")
    assert (scores.score, scores.num_train, scores.num_test) == ("R2", 300, 400)
    full = utility_scores(train, test, train, [COUNT, AMOUNT, COLOUR], target="count")
    model = HistGradientBoostingRegressor(categorical_features=[False, True], early_stopping=False, random_state=0)
    x_train, x_test = (np.delete(features(frame), 1, axis=1) for frame in (train, test))
    assert full.real == pytest.approx(model.fit(x_train, train["count"]).score(x_test, test["count"]))
    assert full.synthetic == full.real


def test_synthetic_rows_of_one_class_are_of_no_use() -> None:
    train, test = table(), table(400, seed=1)
    constant = train.assign(bought=categories(["no"] * len(train), BOUGHT))
    assert utility_scores(train, test, constant, COLUMNS).synthetic == 0.5


def test_a_feature_without_present_cells_is_of_no_use_but_allowed() -> None:
    train, test = table(), table(400, seed=1)
    empty = train.assign(amount=np.nan, colour=categories([None] * len(train), COLOUR))
    assert utility_scores(train, test, empty, [AMOUNT, COLOUR, BOUGHT]).synthetic == pytest.approx(0.5)


def test_more_classes_than_trees_divide_are_grouped() -> None:
    many = tuple(f"c{number}" for number in range(1000))
    codes = np.random.default_rng(0).integers(0, 1000, 3000)
    frame = pd.DataFrame(
        {
            "code": pd.Categorical.from_codes(codes, categories=many),
            "other": pd.Categorical.from_codes((codes + 1) % 1000, categories=many),
        }
    )
    columns = [Column("code", "category", classes=many), Column("other", "category", classes=many)]
    assert utility_scores(frame, frame, frame, columns).real > 0.5


def test_the_default_target_is_the_last_column_of_classes() -> None:
    assert default_target(COLUMNS) is BOUGHT
    assert default_target([GRADE, AMOUNT]) is GRADE
    assert default_target([AMOUNT, COUNT, DAY]) is COUNT
    assert default_target([DAY]) is None


# -- all of them -------------------------------------------------------------------------------------------------------


def test_all_scores_of_samples_and_of_held_out_rows() -> None:
    train, test, synthetic = table(), table(200, seed=1), table(500, seed=2)
    quality = compare_tables(train, test, synthetic, COLUMNS)
    names = [name for name, _, _ in quality.rows()]
    assert names[:4] == ["column shapes", "pair trends", "valid rows", "AUC of bought"]
    assert quality.num == 200
    # Synthetic rows of the true distribution score as held-out ones do.
    for name, of_samples, of_held_out in quality.rows():
        assert of_samples == pytest.approx(of_held_out, abs=0.05), name
    assert len(quality.worst()) == 6
    assert any("200 synthetic" in sentence for sentence in quality.protocol())
    assert quality.as_dict()["shapes"] == quality.shapes.scores
    assert quality == compare_tables(train, test, synthetic, COLUMNS)


def test_the_comparison_of_samples_has_the_scores_and_figures() -> None:
    tables = table(), table(200, seed=1), shuffled(table(500, seed=2))
    comparison = sample_comparison(*tables, COLUMNS, target="grade")
    quality = compare_tables(*tables, COLUMNS, target="grade")
    assert [(name, comparison.samples[name], comparison.real[name]) for name in comparison.samples] == quality.rows()
    assert comparison.samples["pair trends"] < comparison.real["pair trends"] - 0.1
    assert comparison.protocol[-1].startswith("lowest scores: ")
    assert "amount, grade" in comparison.protocol[-1]
    assert comparison.draw is not None
    assert list(comparison.draw()) == ["marginals", "associations", "pairs"]


def test_without_a_target_that_can_be_predicted_the_other_scores_remain() -> None:
    frame = table(50)
    quality = compare_tables(frame, frame, frame, [DAY])
    assert quality.utility is None
    assert quality.notes[0].startswith("no utility: ")
    with pytest.raises(AeframeError, match="one in 50 rows"):
        compare_tables(frame, frame.assign(grade="low").astype({"grade": "category"}), frame, COLUMNS, target="grade")


@pytest.mark.parametrize(
    ("change", "columns", "message"),
    [
        ({}, [], "found none among 0 columns"),
        ({"frame": table().drop(columns="grade")}, COLUMNS, "column 'grade' in each table"),
        ({"frame": table().rename(columns={"grade": "grades"})}, COLUMNS, "did you mean 'grades'"),
        ({"frame": table().head(0)}, COLUMNS, "found a table without rows"),
        ({"target": "colur"}, COLUMNS, "did you mean 'colour'"),
    ],
)
def test_tables_that_cannot_be_compared_raise(change: dict[str, Any], columns: Any, message: str) -> None:
    options = {key: value for key, value in change.items() if key == "target"}
    with pytest.raises(AeframeError, match=message):
        compare_tables(table(), table(seed=1), change.get("frame", table(seed=2)), columns, **options)


def test_columns_that_are_left_out_are_not_compared() -> None:
    columns = [*COLUMNS, Column("row", "id")]
    assert compare_tables(table(), table(seed=1), table(seed=2), columns).shapes.scores.keys() == set(table())


def test_a_census() -> None:
    raw = pd.read_csv(real_file("tables/adult.csv"), skipinitialspace=True, na_values=["?"])
    columns, cells = [], {}
    for name, series in raw.items():
        if pd.api.types.is_numeric_dtype(series.dtype):
            cells[name] = series.astype(np.float64)
            columns.append(Column(str(name), "integer", low=float(series.min()), high=float(series.max())))
        else:
            classes = tuple(sorted(series.dropna().unique()))
            cells[name] = pd.Categorical(series, categories=classes)
            columns.append(Column(str(name), "category", classes=classes, num_missing=int(series.isna().sum())))
    frame = pd.DataFrame(cells).sample(frac=1, random_state=0)
    train, test = frame.iloc[:6000], frame.iloc[6000:9000]
    rows = {name: scores for name, *scores in compare_tables(train, test, shuffled(train), columns).rows()}
    assert rows["column shapes"] == pytest.approx([0.985, 0.985], abs=0.015)
    assert rows["pair trends"][0] < 0.93 < 0.95 < rows["pair trends"][1]
    assert rows["AUC of income"][0] < 0.6 < 0.9 < rows["AUC of income"][1]
    assert rows["valid rows"] == [1.0, pytest.approx(1.0, abs=0.01)]
    assert rows["distance to training rows, median"][0] > 2 * rows["distance to training rows, median"][1]
