"""Fill missing cells of tables of mixed types, and generate rows that fulfil comparisons."""

from __future__ import annotations

import datetime
import io
from pathlib import Path
from typing import Any

import numpy as np
import openpyxl
import pandas as pd
import pytest
import torch

import aeframe
from aeframe.cli.main import main
from aeframe.data.where import Where
from aeframe.errors import AeframeError
from aeframe.parts.losses.mixed import Mixed
from aeframe.types import Batch
from aeframe_tabular.coding import CodingOptions, TableCoding
from aeframe_tabular.column import Column
from aeframe_tabular.missing_cells import MissingCells

torch.set_num_threads(1)
SIZES = {"cat": 4.0, "dog": 20.0, "horse": 400.0}
MODELLED = ["animal", "weight", "legs", "fee", "born", "tame"]


def animals(num: int, seed: int) -> pd.DataFrame:
    """Return rows whose columns all depend on the animal; a fee of 0 is frequent."""
    rng = np.random.default_rng(seed)
    animal = rng.choice([*SIZES], num)
    is_horse = animal == "horse"
    frame = pd.DataFrame(
        {
            "chip": [f"{seed}-{number:04}" for number in range(num)],
            "animal": animal,
            "note": [f"seen on day {number}; by {rng.integers(1e9)}" for number in rng.permutation(num)],
            "weight": (pd.Series(animal).map(SIZES) * rng.normal(1, 0.05, num)).round(2),
            "legs": np.where(is_horse, 4, 3) + (animal == "dog") * 3,
            "fee": np.where(is_horse, rng.normal(90, 3, num).round(1), 0.0),
            "born": pd.Timestamp("2020-01-01") + pd.to_timedelta(is_horse * 900 + rng.integers(0, 60, num), unit="D"),
            "tame": ~is_horse,
        }
    )
    return frame


def with_gaps(frame: pd.DataFrame, share: float = 0.25, seed: int = 9) -> pd.DataFrame:
    """Return rows with missing cells in the columns of the model, but not in ``animal`` of every other row."""
    gaps = np.random.default_rng(seed).random((len(frame), len(MODELLED))) < share
    gaps[::2, 0] = False
    holed = frame.astype({"tame": "boolean", "legs": "Int64"})
    for number, name in enumerate(MODELLED):
        holed[name] = holed[name].mask(gaps[:, number])
    return holed


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a run on animals, of which some cells of ``animal`` and ``weight`` are missing."""
    folder = tmp_path_factory.mktemp("animals")
    train = animals(500, 0)
    train.loc[::17, "animal"] = None
    train.loc[3::17, "weight"] = None
    train.to_csv(folder / "train.csv", index=False)
    aeframe.fit(
        model="table_vae",
        data={"name": "table", "path": str(folder / "train.csv")},
        modality={"numbers": "quantile"},
        encoder={"hidden": [32]},
        latent={"dim": 4},
        max_epochs=50,
        batch_size=50,
        folder=str(folder / "run"),
        verbose=False,
        pictures=False,
        trainer={"threads": 1, "accelerator": "cpu"},
    )
    return folder / "run"


def verb(*argv: object) -> None:
    assert main([*map(str, argv)]) == 0


def error_of(capsys: pytest.CaptureFixture[str], *argv: object) -> str:
    assert main([*map(str, argv)]) == 2
    return " ".join(capsys.readouterr().err.split())


def coding_of(frame: pd.DataFrame, columns: list[Column]) -> TableCoding:
    coding = TableCoding(columns, CodingOptions(numbers="standard"))
    coding.learn(frame)
    return coding


def test_which_elements_are_missing_and_how_they_are_filled() -> None:
    kind = pd.Categorical(["u", None, "v", "u"], categories=["u", "v"])
    frame = pd.DataFrame({"kind": kind, "fee": [0.0, np.nan, 5.0, 0.0], "size": [1.0, 2.0, np.nan, 4.0]})
    coding = coding_of(
        frame,
        [
            Column("kind", "category", classes=("u", "v"), num_missing=1),
            Column("fee", "number", num_missing=1, spike=0.0),
            # No cell of training is missing: the column has no class for them.
            Column("size", "number", num_missing=0),
        ],
    )
    assert [element.name for element in coding.elements] == ["kind", "fee", "fee (spike or missing)", "size"]
    x, mask = (torch.from_numpy(array) for array in coding.encode(frame))
    missing, batch = MissingCells(coding), Batch(x, mask=mask)
    expected = [[False] * 4, [True, True, True, False], [False, False, False, True], [False] * 4]
    assert missing.elements(batch).tolist() == expected
    values = torch.tensor([[9.0, 9, 9, 9], [1, 0.7, 0, 9], [9, 9, 9, -0.5], [9, 9, 9, 9]])
    filled = missing.filled(batch, values)
    assert filled.mask is not None
    assert filled.x[1].tolist() == pytest.approx([1, 0.7, 0, float(x[1, 3])])
    assert filled.x[2].tolist() == pytest.approx([1, float(x[2, 1]), 0, -0.5])
    assert filled.mask[1:3].all()
    assert torch.equal(filled.x[[0, 3]], x[[0, 3]])
    assert torch.equal(filled.mask[[0, 3]], mask[[0, 3]])
    # A cell that becomes a spike has no real element.
    spike = missing.filled(batch, torch.tensor([[0.0, 0.7, 1, 0]]).expand(4, 4))
    assert spike.mask is not None
    assert spike.x[1, 1:3].tolist() == [0, 1]
    assert spike.mask[1].tolist() == [True, False, True, True]


def test_missing_has_probability_0_when_cells_are_filled() -> None:
    column = Column("kind", "category", classes=("u", "v"), num_missing=1)
    frame = pd.DataFrame({"kind": pd.Categorical(["u", "v", None], categories=["u", "v"]), "size": [1.0, 2.0, 3.0]})
    coding = coding_of(frame, [column, Column("size", "number")])
    loss = Mixed(aeframe.types.Domain.mixed(coding.classes))
    output = torch.tensor([0.0, 0.5, 9.0, 0.3]).expand(400, 1, 4)
    assert loss.mean(output)[0, 0] == 2
    possible = MissingCells(coding).without_missing(output)
    assert loss.mean(possible)[0].tolist() == pytest.approx([1, 0.3])
    assert set(loss.sample(possible)[:, 0].tolist()) == {0, 1}
    assert torch.equal(output[0, 0], torch.tensor([0.0, 0.5, 9.0, 0.3]))


def test_cells_follow_from_the_others(run: Path) -> None:
    truth = animals(300, 1)
    frame = with_gaps(truth)
    filled = aeframe.impute(aeframe.load(run), frame)
    assert list(filled.columns) == list(truth.columns)
    assert not filled.isna().any(axis=None)
    for name in MODELLED:
        observed = frame[name].notna().to_numpy()
        assert filled[name][observed].tolist() == truth[name][observed].tolist(), name
    for name in ("animal", "tame", "legs"):
        gaps = frame[name].isna().to_numpy()
        assert (filled[name][gaps].to_numpy() == truth[name][gaps].to_numpy()).mean() > 0.85, name
    gaps = frame["weight"].isna().to_numpy()
    assert np.median(np.abs(filled["weight"] / truth["weight"] - 1)[gaps]) < 0.15
    assert (filled["fee"][frame["fee"].isna() & (truth["animal"] == "cat") & frame["animal"].notna()] == 0).mean() > 0.9


def test_draws_differ_and_are_a_function_of_seed_and_row(run: Path) -> None:
    model, frame = aeframe.load(run), with_gaps(animals(60, 1))
    first = aeframe.impute(model, frame, draw=True, seed=1)
    assert first.equals(aeframe.impute(model, frame, draw=True, seed=1))
    assert not first.equals(aeframe.impute(model, frame, draw=True, seed=2))
    again = aeframe.impute(model, frame, draw=True, seed=1, batch_size=7)
    # Rounding differs with the size of a batch, so that a draw from nearly equal classes may too.
    assert (again == first).mean(axis=None) > 0.99


def test_a_text_file_keeps_everything_else(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    truth = animals(40, 1)
    frame = with_gaps(truth)[["note", "tame", "weight", "chip", "born", "legs", "fee", "animal"]]
    frame.insert(2, "extra", np.where(np.arange(40) % 3, "", "x; y"))
    text = frame.to_csv(index=False, sep=";", decimal=",", quoting=0).replace("cat", " cat ").replace(";dog", ';"dog"')
    path, out = tmp_path / "new.csv", tmp_path / "filled.csv"
    path.write_text(text)
    verb("impute", run, path, "-o", out)
    printed = capsys.readouterr().err
    counts = {name: int(frame[name].isna().sum()) for name in MODELLED}
    assert f"filled {sum(counts.values())} missing values of 40 samples" in printed
    assert all(f"{name} {count}" in printed for name, count in counts.items())
    before, after = text.splitlines(), out.read_text().splitlines()
    assert len(after) == len(before)
    complete = frame[MODELLED].notna().all(axis=1)
    assert [a == b for a, b in zip(before, after, strict=True)] == [True, *complete]
    cells = pd.read_csv(out, sep=";", decimal=",", dtype=str, keep_default_na=False)
    old = pd.read_csv(path, sep=";", decimal=",", dtype=str, keep_default_na=False)
    assert list(cells.columns) == list(old.columns)
    for name in old.columns:
        kept = (old[name] != "") | (name not in MODELLED)
        assert cells[name][kept].equals(old[name][kept]), name
        assert name not in MODELLED or (cells[name] != "").all()
    expected = aeframe.impute(aeframe.load(run), with_gaps(truth))
    assert cells["animal"].str.strip().tolist() == expected["animal"].tolist()
    weights = cells["weight"].str.replace(",", ".").astype(float)
    assert weights.to_numpy() == pytest.approx(expected["weight"].to_numpy(float), rel=1e-6)
    assert cells["born"].tolist() == expected["born"].dt.strftime("%Y-%m-%d").tolist()


@pytest.mark.parametrize("suffix", [".parquet", ".feather"])
def test_columns_keep_their_types(run: Path, tmp_path: Path, suffix: str) -> None:
    truth = animals(50, 1)
    frame = with_gaps(truth).astype({"animal": pd.CategoricalDtype(["horse", "cat", "dog", "cow"], ordered=True)})
    frame = frame.astype({"weight": "float32", "born": "datetime64[ms]"})
    getattr(frame, f"to_{suffix[1:]}")(tmp_path / f"x{suffix}")
    verb("impute", run, tmp_path / f"x{suffix}", "-o", tmp_path / f"y{suffix}")
    table = getattr(pd, f"read_{suffix[1:]}")(tmp_path / f"y{suffix}")
    before = getattr(pd, f"read_{suffix[1:]}")(tmp_path / f"x{suffix}")
    assert table.dtypes.tolist() == before.dtypes.tolist()
    assert list(table["animal"].cat.categories) == ["horse", "cat", "dog", "cow"]
    assert not table.isna().any(axis=None)
    for name in table.columns:
        observed = before[name].notna()
        assert table[name][observed].tolist() == before[name][observed].tolist(), name
    expected = aeframe.impute(aeframe.load(run), with_gaps(truth))
    assert table["animal"].tolist() == expected["animal"].tolist()
    assert table["born"].tolist() == expected["born"].tolist()


def test_a_workbook_keeps_formulas_and_other_sheets(run: Path, tmp_path: Path) -> None:
    frame = with_gaps(animals(12, 1)).astype(object)
    book = openpyxl.Workbook()
    sheet: Any = book.active
    sheet.title = "animals"
    sheet.append([])
    sheet.append(["", *frame.columns, "double"])
    for number, row in enumerate(frame.itertuples(index=False), start=3):
        cells = [None if pd.isna(cell) else cell for cell in row]
        sheet.append(["", *cells, f"=2*E{number}"])
    sheet["E3"].number_format = "0.000"
    book.save(tmp_path / "x.xlsx")
    verb("impute", run, tmp_path / "x.xlsx", "-o", tmp_path / "y.xlsx")
    before, after = (openpyxl.load_workbook(tmp_path / name)["animals"] for name in ("x.xlsx", "y.xlsx"))
    assert after["E3"].number_format == "0.000"
    assert after.max_row == 14
    for old, new in zip(before.iter_rows(), after.iter_rows(), strict=True):
        for one, other in zip(old, new, strict=True):
            assert one.value is None or one.value == other.value
    values = [[cell.value for cell in row] for row in after.iter_rows(min_row=3, min_col=2, max_col=9)]
    assert all(value is not None for row in values for value in row)
    assert isinstance(values[0][6], datetime.datetime)


def test_another_format_has_all_columns(run: Path, tmp_path: Path) -> None:
    frame = with_gaps(animals(20, 1))
    frame.to_csv(tmp_path / "x.csv", index=False)
    verb("impute", run, tmp_path / "x.csv", "-o", tmp_path / "y.parquet")
    table = pd.read_parquet(tmp_path / "y.parquet")
    assert list(table.columns) == list(frame.columns)
    assert table["chip"].tolist() == frame["chip"].tolist()
    assert not table[MODELLED].isna().any(axis=None)


def test_rows_that_were_skipped_stay(run: Path, tmp_path: Path) -> None:
    frame = with_gaps(animals(20, 1))
    lines = frame.to_csv(index=False).splitlines()
    infinite = frame.iloc[[4]].assign(weight=np.inf).to_csv(index=False, header=False).strip()
    lines[3:3], lines[8:8] = ["too,short"], [infinite]
    (tmp_path / "x.csv").write_text("\n".join(lines) + "\n")
    verb("impute", run, tmp_path / "x.csv", "--on-error", "skip", "-o", tmp_path / "y.csv")
    after = (tmp_path / "y.csv").read_text().splitlines()
    assert (after[3], after[8], len(after)) == ("too,short", infinite, 23)
    del after[8], after[3]
    found = pd.read_csv(io.StringIO("\n".join(after)))
    expected = aeframe.impute(aeframe.load(run), frame)
    assert found["animal"].tolist() == expected["animal"].tolist()
    assert found["weight"].to_numpy() == pytest.approx(expected["weight"].to_numpy(float), rel=1e-6)


def test_rows_are_generated_by_rejection(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "new.csv"
    comparisons = ["animal!=horse", "weight>=3.5", "born<2021-01-01", "tame=True", "legs<=6"]
    words = [word for text in comparisons for word in ("--where", text)]
    verb("generate", run, "-n", 50, "--seed", 1, *words, "-o", out)
    table = pd.read_csv(out)
    assert len(table) == 50
    assert set(table["animal"]) <= {"cat", "dog"}
    assert table["weight"].min() >= 3.5
    assert table["born"].max() < "2021-01-01"
    assert table["tame"].all()
    assert "by rejection, 50 of" in capsys.readouterr().err
    out = tmp_path / "other.csv"
    for text, message in (
        ("animal=cats", "which is none of its classes, did you mean 'cat'?"),
        ("animals=cat", "which samples do not have, did you mean 'animal'?"),
        ("animal<cat", "whose classes have no order; use = or !=, or train with data.kinds.animal=ordinal"),
        ("born<soon", "which is no date; write it as 2024-06-30"),
        ("weight<heavy", "which is no number"),
    ):
        assert message in error_of(capsys, "generate", run, "--where", text, "-o", out)
    assert not out.exists()


def test_comparisons_of_every_kind() -> None:
    from aeframe_tabular.comparisons import compare

    levels = ("low", "mid", "high")
    ordinal = pd.Series(pd.Categorical(["mid", None, "high", "low"], categories=levels, ordered=True))
    column = Column("level", "ordinal", classes=levels)
    for text, expected in (("level>=mid", [1, 0, 1, 0]), ("level!=low", [1, 0, 1, 0]), ("level<mid", [0, 0, 0, 1])):
        assert compare(ordinal, column, Where.parse(text)).tolist() == [bool(each) for each in expected], text
    years = pd.Series(pd.Categorical(["9", "10", None], categories=["9", "10"]))
    column = Column("years", "category", classes=("9", "10"))
    assert compare(years, column, Where.parse("years<10")).tolist() == [True, False, False]
    dates = pd.Series(np.array(["2020-01-01", "NaT", "2021-05-05T12:00"], "datetime64[us]"))
    column = Column("day", "date")
    assert compare(dates, column, Where.parse("day>2021-05-05T11:59")).tolist() == [False, False, True]
    assert compare(dates, column, Where.parse("day!=2021-01-01")).tolist() == [True, False, True]


def test_columns_of_the_condition_are_set(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    animals(300, 0).to_csv(tmp_path / "train.csv", index=False)
    aeframe.fit(
        model="table_vae",
        data={"name": "table", "path": str(tmp_path / "train.csv"), "condition": ["animal", "legs"]},
        modality={"numbers": "standard"},
        encoder={"hidden": [32]},
        latent={"dim": 2},
        max_epochs=25,
        batch_size=50,
        folder=str(tmp_path / "run"),
        verbose=False,
        pictures=False,
        trainer={"threads": 1, "accelerator": "cpu"},
    )
    out = tmp_path / "horses.csv"
    where = ("--where", "animal=horse", "--where", "legs=4", "--where", "weight>300")
    verb("generate", tmp_path / "run", "-n", 30, "--seed", 0, *where, "-o", out)
    written, trained = pd.read_csv(out), pd.read_csv(tmp_path / "train.csv")
    assert written["weight"].min() > 300
    # The columns of the condition have the values asked for, in the order and types of the training table.
    assert list(written.columns) == [name for name in trained.columns if name in written.columns]
    assert {"animal", "legs"} < {*written.columns}
    assert written["animal"].tolist() == ["horse"] * 30
    assert written["legs"].tolist() == [4] * 30
    assert written["legs"].dtype == trained["legs"].dtype
    verb("reconstruct", tmp_path / "run", tmp_path / "train.csv", "-o", tmp_path / "again.csv")
    again = pd.read_csv(tmp_path / "again.csv")
    pd.testing.assert_frame_equal(again[["animal", "legs"]], trained[["animal", "legs"]])
    printed = capsys.readouterr().err
    assert "animal=horse, legs=4: by the condition that the model was trained with" in printed
    assert "weight>300: by rejection, 30 of" in printed
    message = error_of(capsys, "generate", tmp_path / "run", "--where", "animal=horse", "-o", tmp_path / "x.csv")
    assert "found no value for 'legs'; add --where 'legs=VALUE'" in message
    with pytest.raises(AeframeError, match="expected one of the 3 classes"):
        aeframe.load(tmp_path / "run").decode(torch.zeros(1, 2), condition={"animal": "hors", "legs": 4})
