"""Association matrices against scipy, and figures of real and synthetic rows."""

from __future__ import annotations

import io

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from scipy import stats

from aeframe import AeframeError
from aeframe_tabular.column import Column
from aeframe_tabular.quality.association import associations, correlation_ratio, cramers_v
from aeframe_tabular.quality.figures import draw_associations, draw_marginals, draw_pairs, draw_tables

NUMBER = Column("number", "number", num_missing=1)
GAIN = Column("gain", "integer", spike=0.0)
DAY = Column("day", "date")
SIZE = Column("size", "ordinal", classes=("S", "M", "L"))
COST = Column("cost in $ and $", "category", classes=tuple(f"${number}" for number in range(15)))
COLUMNS = (NUMBER, GAIN, DAY, SIZE, COST)


def table(num: int = 400, seed: int = 0) -> pd.DataFrame:
    random = np.random.default_rng(seed)
    z = random.normal(size=num)
    return pd.DataFrame(
        {
            "number": np.where(random.random(num) < 0.1, np.nan, z),
            "gain": np.where(random.random(num) < 0.9, 0.0, np.round(1000 + 500 * random.random(num))),
            "day": ((1e9 + 1e7 * z) * 1e6).astype(np.int64).astype("datetime64[us]"),
            "size": pd.Categorical.from_codes(np.digitize(z, [-1, 1]), categories=SIZE.classes),
            COST.name: pd.Categorical.from_codes(random.integers(-1, 15, num), categories=COST.classes),
        }
    )


def texts(figure: Figure) -> list[str]:
    """Return the titles of the axes."""
    return [axis.get_title(loc="left") for axis in figure.axes if axis.get_title(loc="left")]


def test_cramers_v_is_that_of_scipy() -> None:
    random = np.random.default_rng(0)
    a = random.integers(0, 4, 500)
    b = np.where(random.random(500) < 0.5, a % 3, random.integers(0, 3, 500))
    expected = stats.contingency.association(pd.crosstab(a, b).to_numpy(), method="cramer")
    assert cramers_v(a, b, 5) == pytest.approx(expected)
    assert cramers_v(a, np.zeros(500, dtype=np.int64), 5) == 0.0


def test_the_correlation_ratio_follows_from_the_analysis_of_variance() -> None:
    random = np.random.default_rng(0)
    classes = random.choice([0, 1, 3], 300)
    numbers = classes + random.normal(size=300)
    f = stats.f_oneway(*(numbers[classes == each] for each in (0, 1, 3))).statistic
    # F = (eta^2 / (k - 1)) / ((1 - eta^2) / (N - k)).
    assert correlation_ratio(numbers, classes) ** 2 == pytest.approx(2 * f / (2 * f + 297))
    assert correlation_ratio(np.ones(300), classes) == 0.0


def test_associations_are_those_of_the_present_rows() -> None:
    frame = table()
    matrix = associations(frame, COLUMNS)
    assert np.array_equal(matrix, matrix.T)
    assert np.array_equal(np.diag(matrix), np.ones(5))
    present = frame.dropna(subset="number")
    assert matrix[0, 1] == pytest.approx(stats.pearsonr(present["number"], present["gain"])[0])
    assert matrix[0, 2] == pytest.approx(1.0)
    sizes = present["size"].cat.codes.to_numpy().astype(np.int64)
    assert matrix[0, 3] == pytest.approx(correlation_ratio(present["number"].to_numpy(), sizes))
    counts = pd.crosstab(frame["size"].cat.codes, frame[COST.name].cat.codes).to_numpy()
    assert matrix[3, 4] == pytest.approx(stats.contingency.association(counts, method="cramer"))


def test_each_column_is_drawn_with_its_score() -> None:
    titles = texts(draw_marginals(table(), table(seed=1), COLUMNS))
    assert [title.split("   ")[0] for title in titles] == ["number", "gain", "day", "size", r"cost in \$ and \$"]
    assert all(0.8 < float(title.split("   ")[1]) < 1 for title in titles)


def test_the_bin_of_many_zeros_is_cut_off() -> None:
    axis = draw_marginals(table(), table(seed=1), [GAIN]).axes[0]
    assert axis.get_ylim()[1] < 0.1
    zeros = (table()["gain"] == 0).mean()
    assert axis.texts[0].get_text().startswith(f"{zeros:.3f} real")


def test_of_many_columns_those_with_the_lowest_scores_are_drawn() -> None:
    numbers = np.random.default_rng(0).normal(size=(50, 40))
    real = pd.DataFrame(numbers, columns=[f"c{position}" for position in range(40)])
    synthetic = real.assign(**{f"c{position}": real[f"c{position}"] + 1 for position in range(5, 29)})
    columns = [Column(name, "number") for name in real]
    titles = texts(draw_marginals(real, synthetic, columns))
    assert [title.split("   ")[0] for title in titles] == [f"c{position}" for position in range(5, 29)]
    associated = draw_associations(real, synthetic, columns)
    assert texts(associated) == ["real", "synthetic", "synthetic - real"]
    assert associated.axes[0].images[0].get_array().shape == (30, 30)


def test_columns_without_variation_are_drawn() -> None:
    constant = table(seed=1).assign(
        **{"number": np.nan, "gain": 5.0, "day": pd.NaT, "size": pd.Categorical(["XL"] * 400), COST.name: "$3"}
    )
    figures = draw_tables(table(), constant, COLUMNS)
    assert list(figures) == ["marginals", "associations", "pairs"]
    for figure in figures.values():
        figure.savefig(io.BytesIO(), format="png")
    size = figures["marginals"].axes[3]
    assert [label.get_text() for label in size.get_yticklabels()] == ["S", "M", "L", "(unknown)"]


def test_pairs_have_the_same_axes_on_both_sides() -> None:
    figure = draw_pairs(table(), table(seed=1), COLUMNS, names=["number", "day", "size"])
    half = len(figure.axes) // 2
    real, synthetic = figure.axes[:half], figure.axes[half:]
    assert [axis.get_xlim() for axis in real] == [axis.get_xlim() for axis in synthetic]
    assert [axis.get_ylim() for axis in real] == [axis.get_ylim() for axis in synthetic]
    drawn = [axis for axis in real if axis.collections]
    assert [(axis.get_xlabel(), axis.get_ylabel()) for axis in drawn] == [
        ("", "day"),
        ("number", "size"),
        ("day", ""),
    ]


def test_a_table_of_one_column_has_no_pairs() -> None:
    assert list(draw_tables(table(), table(seed=1), [SIZE])) == ["marginals"]
    with pytest.raises(AeframeError, match="require two of the columns that are used, found 1; choose from size"):
        draw_pairs(table(), table(seed=1), [SIZE])
