"""The verb `impute` on files of numbers."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import aeframe
from aeframe.cli.main import main
from tests.model_store.linear_gaussian import NAMES, LinearGaussian, save_linear_gaussian

TRUTH = LinearGaussian.of()


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ppca")
    save_linear_gaussian(folder, TRUTH)
    return folder


def frame_of(num: int = 12) -> pd.DataFrame:
    values = TRUTH.draw(num, 1).round(4)
    values[np.random.default_rng(2).random(values.shape) < 0.3] = np.nan
    values[3] = TRUTH.draw(1, 5).round(4)
    return pd.DataFrame(values, columns=NAMES)


def impute(*argv: object) -> None:
    assert main(["impute", *map(str, argv)]) == 0


def error_of(capsys: pytest.CaptureFixture[str], *argv: object) -> str:
    assert main(["impute", *map(str, argv)]) == 2
    return " ".join(capsys.readouterr().err.split())


TEXT = """sep=;
visit;e ;"d";c;note;b;a

v1; 0,50;NA;1,250;"a ""b"";c";-1;2
v2;? ;1,0;+3,5;x;  ;-1,5
v3;1e-1;1,00;2,0;plain; 3,0;007,5\r
v4;-;1,0;"NA";"two
lines";1,0;2,0
"""


def test_a_text_file_changes_in_missing_cells_only(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "x.csv").write_bytes(TEXT.encode("cp1252"))
    impute(run, tmp_path / "x.csv", "-o", tmp_path / "y.csv")
    captured = capsys.readouterr()
    assert captured.out == f"{tmp_path / 'y.csv'}\n"
    assert "filled 5 missing values of 4 samples: e 2, b 1, c 1, d 1\n" in captured.err
    before, after = TEXT.split("\n"), (tmp_path / "y.csv").read_bytes().decode().split("\n")
    assert len(after) == len(before)
    assert [line for line, (a, b) in enumerate(zip(before, after, strict=True)) if a != b] == [3, 4, 6]
    assert after[4].endswith(";-1,5")
    cells = after[4].split(";")
    assert cells[1].endswith(" ")
    assert "." not in after[4]
    assert after[6].startswith("v4;")
    table = pd.read_csv(tmp_path / "y.csv", sep=";", decimal=",", skiprows=1, skipinitialspace=True)
    expected = aeframe.impute(
        aeframe.load(run),
        pd.DataFrame(
            [[2, -1, 1.25, None, 0.5], [-1.5, None, 3.5, 1, None], [7.5, 3, 2, 1, 0.1], [2, 1, None, 1, None]],
            columns=NAMES,
            dtype=float,
        ),
    )
    table.columns = [name.strip() for name in table.columns]
    assert table[NAMES].to_numpy(float) == pytest.approx(expected.to_numpy(), rel=1e-6)
    assert table["note"].tolist() == ['a "b";c', "x", "plain", "two\nlines"]


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".txt", ".csv.gz", ".npy", ".npz", ".parquet", ".feather"])
def test_every_format_keeps_what_is_there(run: Path, tmp_path: Path, suffix: str) -> None:
    frame, path, out = frame_of(), tmp_path / f"x{suffix}", tmp_path / f"y{suffix}"
    other = frame.assign(visit=[f"v{number}" for number in range(len(frame))], age=np.arange(len(frame)))
    other = other[["visit", *NAMES[::-1], "age"]]
    if suffix == ".npy":
        np.save(path, frame.to_numpy())
    elif suffix == ".npz":
        np.savez(path, x=frame.to_numpy(), names=other["visit"].to_numpy(str))
    elif suffix in (".parquet", ".feather"):
        getattr(other, f"to_{suffix[1:]}")(path)
    elif suffix == ".txt":
        path.write_text(other.to_string(index=False, na_rep="?") + "\n")
    else:
        other.to_csv(path, index=False, sep="\t" if suffix == ".tsv" else ",")
    impute(run, path, "-o", out)
    expected = aeframe.impute(aeframe.load(run), frame)
    if suffix in (".npy", ".npz"):
        with np.load(out) if suffix == ".npz" else np.errstate() as arrays:
            values = np.load(out) if arrays is None or suffix == ".npy" else arrays["x"]
            assert suffix == ".npy" or arrays["names"].tolist() == other["visit"].tolist()
        assert values.dtype == np.float64
        assert np.array_equal(values, expected.to_numpy())
        return
    if suffix in (".parquet", ".feather"):
        table = getattr(pd, f"read_{suffix[1:]}")(out)
        assert table.dtypes.equals(other.dtypes)
    else:
        text = gzip.decompress(out.read_bytes()).decode() if suffix == ".csv.gz" else out.read_text()
        assert len(text.splitlines()) == len(frame) + 1
        separator = {".tsv": "\t", ".txt": r"\s+"}.get(suffix, ",")
        table = pd.read_csv(out, sep=separator)
    assert list(table.columns) == list(other.columns)
    assert table["visit"].tolist() == other["visit"].tolist()
    observed = frame.notna()
    assert table[NAMES].where(observed).equals(frame.where(observed))
    assert table[NAMES].to_numpy() == pytest.approx(expected.to_numpy(), rel=1e-6)


def test_another_format_has_the_samples_alone(run: Path, tmp_path: Path) -> None:
    frame = frame_of()
    frame.assign(note="x").to_csv(tmp_path / "x.csv", index=False)
    impute(run, tmp_path / "x.csv", "-o", tmp_path / "y.npy")
    values = np.load(tmp_path / "y.npy")
    assert values == pytest.approx(aeframe.impute(aeframe.load(run), frame).to_numpy(), rel=1e-6)


def test_integers_of_parquet(run: Path, tmp_path: Path) -> None:
    frame = frame_of().astype({"b": "float"}).assign(b=pd.array([1, None] * 6, "Int64"))
    frame.to_parquet(tmp_path / "x.parquet")
    impute(run, tmp_path / "x.parquet", "-o", tmp_path / "y.parquet")
    table = pd.read_parquet(tmp_path / "y.parquet")
    assert table["b"][::2].tolist() == [1.0] * 6
    assert not table[NAMES].isna().any(axis=None)


def test_bad_rows_stay_as_they_are(run: Path, tmp_path: Path) -> None:
    frame_of().to_csv(tmp_path / "x.csv", index=False)
    lines = (tmp_path / "x.csv").read_text().splitlines()
    lines.insert(3, "1,2,,x")
    lines.insert(5, "1,word,,2,3")
    (tmp_path / "x.csv").write_text("\n".join(lines) + "\n")
    impute(run, tmp_path / "x.csv", "--on-error", "skip", "-o", tmp_path / "y.csv")
    after = (tmp_path / "y.csv").read_text().splitlines()
    assert (after[3], after[5], len(after)) == ("1,2,,x", "1,word,,2,3", len(lines))
    rest = pd.DataFrame([line.split(",") for number, line in enumerate(after[1:], 1) if number not in (3, 5)])
    expected = aeframe.impute(aeframe.load(run), frame_of())
    assert rest.to_numpy(float) == pytest.approx(expected.to_numpy(), rel=1e-6)


def test_several_draws(run: Path, tmp_path: Path) -> None:
    frame = frame_of()
    frame.to_csv(tmp_path / "x.csv.gz", index=False)
    impute(run, tmp_path / "x.csv.gz", "--draw", "-m", 3, "--seed", 4, "--batch-size", 5, "-o", tmp_path / "y.csv.gz")
    tables = [pd.read_csv(tmp_path / f"y-{number}.csv.gz") for number in (1, 2, 3)]
    model, observed = aeframe.load(run), frame.notna()
    for number, table in enumerate(tables):
        expected = aeframe.impute(model, frame, draw=True, seed=4 + number)
        assert table.to_numpy() == pytest.approx(expected.to_numpy(), rel=1e-5)
        assert table.where(observed).equals(frame.where(observed))
    assert not np.allclose(tables[0], tables[1])
    impute(run, tmp_path / "x.csv.gz", "--draw", "--seed", 6, "--batch-size", 5, "-o", tmp_path / "z.csv.gz")
    assert gzip.decompress((tmp_path / "z.csv.gz").read_bytes()) == gzip.decompress(
        (tmp_path / "y-3.csv.gz").read_bytes()
    )


def test_bad_arguments_write_nothing(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    frame_of().to_csv(tmp_path / "x.csv", index=False)
    out = tmp_path / "y.csv"
    assert "-m writes several draws, found no --draw" in error_of(capsys, run, tmp_path / "x.csv", "-m", 2, "-o", out)
    (tmp_path / "y-2.csv").write_text("mine")
    assert "y-2.csv' exists already" in error_of(capsys, run, tmp_path / "x.csv", "--draw", "-m", 2, "-o", out)
    assert "y-2.csv' exists already" in error_of(capsys, run, tmp_path / "x.csv", "-o", tmp_path / "y-2.csv")
    frame_of().drop(columns="c").to_csv(tmp_path / "c.csv", index=False)
    assert "'c.csv' has no column 'c'" in error_of(capsys, run, tmp_path / "c.csv", "-o", out)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["c.csv", "x.csv", "y-2.csv"]
    assert (tmp_path / "y-2.csv").read_text() == "mine"


def test_a_complete_file_is_copied(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    frame_of().dropna().to_csv(tmp_path / "x.csv", index=False)
    impute(run, tmp_path / "x.csv", "-o", tmp_path / "y.csv")
    assert (tmp_path / "y.csv").read_bytes() == (tmp_path / "x.csv").read_bytes()
    assert "no value of" in capsys.readouterr().err
