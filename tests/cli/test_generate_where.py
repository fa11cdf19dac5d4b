"""``aeframe generate --where``: samples that fulfil comparisons, by the condition or by rejection."""

from __future__ import annotations

import math
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import aeframe
from aeframe.cli.main import main
from aeframe.data.where import Where
from aeframe.errors import AeframeError
from aeframe.model_store.selection import condition_of
from tests.model_store.linear_gaussian import NAMES, SCALE, LinearGaussian, save_linear_gaussian

TRUTH = LinearGaussian.of()


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ppca")
    save_linear_gaussian(folder, TRUTH)
    return folder


@pytest.fixture(scope="module")
def conditional(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a run whose condition is a category and a number."""
    folder = tmp_path_factory.mktemp("conditional")
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(rng.normal(size=(200, 2)), columns=["a", "b"])
    frame["sex"] = np.where(rng.random(200) < 0.5, "F", "M")
    frame["age"] = rng.normal(size=200)
    frame["a"] += np.where(frame["sex"] == "F", 20, -20)
    aeframe.fit(
        frame,
        condition=["sex", "age"],
        model="vae",
        folder=str(folder / "run"),
        verbose=False,
        max_epochs=30,
        latent={"dim": 1},
        pictures=False,
        trainer={"accelerator": "cpu", "threads": 1},
    )
    return folder / "run"


def generate(*argv: object) -> None:
    assert main(["generate", *map(str, argv)]) == 0


def error_of(capsys: pytest.CaptureFixture[str], *argv: object) -> str:
    assert main(["generate", *map(str, argv)]) == 2
    return " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("income=>50K", ("income", "=", ">50K")),
        ("age<30", ("age", "<", "30")),
        ("age <= 30 ", ("age", "<=", "30")),
        ("a!=b=c", ("a", "!=", "b=c")),
        ("x>=-1e3", ("x", ">=", "-1e3")),
        ("sex=M", ("sex", "=", "M")),
    ],
)
def test_the_first_operator_counts(text: str, parts: tuple[str, str, str]) -> None:
    where = Where.parse(text)
    assert (where.column, where.operator, where.value) == parts


@pytest.mark.parametrize("text", ["age", "<3", "age<", "=", "", "age = "])
def test_a_comparison_has_three_parts(text: str) -> None:
    with pytest.raises(AeframeError, match=r"one of = != < <= > >=, and a value, found '"):
        Where.parse(text)


def test_missing_values_fulfil_nothing() -> None:
    values = np.array([1.0, np.nan, 3.0])
    for operator, expected in {"=": [1, 0, 0], "!=": [0, 0, 1], "<": [0, 0, 0], ">=": [1, 0, 1]}.items():
        assert Where("a", operator, "1").holds(values, 1.0).tolist() == [bool(each) for each in expected]


def test_rejection_draws_the_distribution_given_the_comparisons(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mean, std = TRUTH.mean[0], math.sqrt(float((TRUTH.weight[0] ** 2).sum()) + SCALE**2)
    threshold = f"{mean + std:.6f}"
    arguments = (run, "-n", 3000, "--draw", "--where", f"a>{threshold}", "--where", "b!=0", "--seed", 3)
    generate(*arguments, "-o", tmp_path / "x.csv")
    table = pd.read_csv(tmp_path / "x.csv")
    assert list(table.columns) == NAMES
    assert len(table) == 3000
    assert (table["a"] > mean + std).all()
    # The mean of a standard normal above 1 is pdf(1) / (1 - cdf(1)).
    assert table["a"].mean() == pytest.approx(mean + std * 0.24197 / 0.15866, abs=0.05)
    found = re.search(
        r"a>\S+ and b!=0: by rejection, 3,000 of ([\d,]+) draws \(([\d.]+) %\) were accepted", capsys.readouterr().err
    )
    assert found is not None
    drawn = int(found[1].replace(",", ""))
    assert 3000 / drawn == pytest.approx(0.15866, abs=0.01)
    assert float(found[2]) == pytest.approx(100 * 3000 / drawn, abs=0.1)
    generate(*arguments, "-o", tmp_path / "y.csv")
    assert (tmp_path / "x.csv").read_bytes() == (tmp_path / "y.csv").read_bytes()


def test_rare_samples_are_an_error(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "x.csv"
    message = error_of(capsys, run, "-n", 3, "--where", "a>1e6", "--batch-size", 10_000, "-o", out)
    assert message == (
        "error: 0 of 50,000 draws (0 %) fulfil a>1e6, fewer than 1 in 10,000; allow more, or train with the columns as "
        "the condition (data.condition=[a])"
    )
    assert list(tmp_path.iterdir()) == []


def test_unknown_columns_and_values(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "x.csv"
    assert "'bb<1' compares column 'bb', which samples do not have, did you mean 'b'?" in error_of(
        capsys, run, "--where", "bb<1", "-o", out
    )
    assert "compares the numbers of column 'b' with 'one', which is no number" in error_of(
        capsys, run, "--where", "b<one", "-o", out
    )
    assert not out.exists()


def test_columns_of_the_condition_are_set(
    conditional: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for sex, sign in (("F", 1), ("M", -1)):
        out = tmp_path / f"{sex}.csv"
        generate(conditional, "-n", 40, "--where", f"sex={sex}", "--where", "age=0.5", "--where", "b>0", "-o", out)
        table = pd.read_csv(out)
        assert (sign * table["a"] > 0).all()
        assert (table["b"] > 0).all()
        printed = capsys.readouterr().err
        assert f"sex={sex}, age=0.5: by the condition that the model was trained with" in printed
        assert "b>0: by rejection, 40 of" in printed
    generate(conditional, "-n", 4, "--where", "sex=F", "--where", "age=1", "-o", tmp_path / "z.csv")
    assert "rejection" not in capsys.readouterr().err


def test_what_a_condition_takes(conditional: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model, out = aeframe.load(conditional), ("-o", tmp_path / "x.csv")
    assert condition_of(model, [Where.parse("b<1")]) == (None, [Where.parse("b<1")])
    for comparisons, message in (
        (["sex!=F", "age=1"], "as its condition, which takes the operator = only, found 'sex!=F'"),
        (["sex=F"], "as its condition, found no value for 'age'; add --where 'age=VALUE'"),
        (["sex=F", "age=1", "age=2"], "and column 'age' has two values; leave out 'age=2'"),
        (["sex=X", "age=1"], "was trained without the category 'X'"),
        (["sex=F", "age=old"], "with 'old', which is no number"),
    ):
        words = [word for text in comparisons for word in ("--where", text)]
        assert message in error_of(capsys, conditional, *words, *out)
    both = ("--where", "sex=F", "--where", "age=1", "--condition", "1,0,1")
    assert "is the condition, found another one too" in error_of(capsys, conditional, *both, *out)
    assert list(tmp_path.iterdir()) == []
