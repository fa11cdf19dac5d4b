"""Every command on a model that was trained on a CSV file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

import aeframe
from aeframe.cli.main import main
from aeframe_tabular.simulated import TableSimulated


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the run ``run``, the file it was trained on, and ``new.csv`` of 12 other rows."""
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("customers")
    for name, seed, num in (("customers.csv", 0, 300), ("new.csv", 1, 12)):
        frame = TableSimulated(rows=max(num, 20), seed=seed).frame().iloc[:num]
        frame.insert(0, "customer", [f"C{seed}{number:05}" for number in range(num)])
        frame["country"] = "NL"
        frame["remark"] = [
            f"Customer {number} wrote to us on day {number * 7}, and was content." for number in range(num)
        ]
        frame.to_csv(folder / name, index=False)
    data = {"name": "table", "path": folder / "customers.csv"}
    options = {"encoder": {"hidden": [16]}, "latent": {"dim": 4}, "max_epochs": 2, "trainer": {"threads": 1}}
    aeframe.fit(model="table_vae", data=data, folder=folder / "run", **options)
    return folder


@pytest.fixture
def new(folder: Path) -> pd.DataFrame:
    return pd.read_csv(folder / "new.csv")


def run(*arguments: object) -> None:
    assert main([str(argument) for argument in arguments]) == 0


def test_codes_have_the_ids_of_the_rows(folder: Path, new: pd.DataFrame, tmp_path: Path) -> None:
    run("encode", folder / "run", folder / "new.csv", "-o", tmp_path / "codes.npz")
    with np.load(tmp_path / "codes.npz", allow_pickle=False) as codes:
        assert codes["name"].tolist() == new["customer"].tolist()
        assert codes["z"].shape == (12, 4)


@pytest.mark.parametrize("suffix", [".csv", ".parquet", ".xlsx"])
def test_reconstructions_are_a_file_like_that_of_training(
    suffix: str, folder: Path, new: pd.DataFrame, tmp_path: Path
) -> None:
    out = tmp_path / f"out{suffix}"
    run("reconstruct", folder / "run", folder / "new.csv", "-o", out)
    found = {".csv": pd.read_csv, ".parquet": pd.read_parquet, ".xlsx": pd.read_excel}[suffix](out)
    # The free text is not modelled; the id and the column of one value are.
    assert list(found.columns) == [name for name in new.columns if name != "remark"]
    assert found["customer"].tolist() == new["customer"].tolist()
    assert (found["country"] == "NL").all()
    assert found["age"].dtype == np.int64


def test_decoded_codes_are_rows_of_the_file(folder: Path, tmp_path: Path) -> None:
    run("encode", folder / "run", folder / "new.csv", "-o", tmp_path / "codes.npz")
    run("decode", folder / "run", tmp_path / "codes.npz", "-o", tmp_path / "decoded.csv")
    decoded = pd.read_csv(tmp_path / "decoded.csv")
    model = aeframe.load(folder / "run")
    expected = model.restore(model.decode(model.encode(model.modality.read(folder / "new.csv"))))
    columns = ["age", "plan", "joined"]
    assert decoded[columns].astype(str).to_numpy().tolist() == expected[columns].astype(str).to_numpy().tolist()


def test_generated_rows_are_read_again(folder: Path, tmp_path: Path) -> None:
    run("generate", folder / "run", "-n", 20, "-o", tmp_path / "rows.tsv.gz")
    run("encode", folder / "run", tmp_path / "rows.tsv.gz", "-o", tmp_path / "codes.npz")
    with np.load(tmp_path / "codes.npz") as codes:
        assert codes["z"].shape == (20, 4)


def test_an_unusual_cell_is_found_and_its_column_named(folder: Path, new: pd.DataFrame, tmp_path: Path) -> None:
    new["age"] = 35
    new.loc[7, "age"] = 5000
    new.to_csv(tmp_path / "odd.csv", index=False)
    run("anomalies", folder / "run", tmp_path / "odd.csv", "-o", tmp_path / "scores.csv")
    scores = pd.read_csv(tmp_path / "scores.csv")
    assert scores["name"].tolist() == new["customer"].tolist()
    assert scores["score"].idxmax() == 7
    assert scores["where"][7].split(",")[0].split(" ")[0] == "age"
    assert set(" ".join(scores["where"]).replace(",", " ").split()) & {"age", "plan", "city", "spend"}


def test_neighbours_are_named_by_the_ids(folder: Path, new: pd.DataFrame, tmp_path: Path) -> None:
    run("neighbours", folder / "run", folder / "new.csv", "-k", 2, "-o", tmp_path / "near.csv")
    text = (tmp_path / "near.csv").read_text()
    assert new["customer"][3] in text
    assert "C0" in text


def test_paths_are_rows(folder: Path, new: pd.DataFrame, tmp_path: Path) -> None:
    run(
        "interpolate",
        folder / "run",
        folder / "new.csv",
        "--from",
        0,
        "--to",
        5,
        "--steps",
        6,
        "-o",
        tmp_path / "a.csv",
    )
    run("traverse", folder / "run", folder / "new.csv", "--sample", 0, "-o", tmp_path / "b.csv")
    path, traversal = pd.read_csv(tmp_path / "a.csv"), pd.read_csv(tmp_path / "b.csv")
    assert len(path) == 6
    assert set(traversal["plan"]) <= {"basic", "plus", "family"}


def test_samples_are_evaluated(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run("evaluate", folder / "run", "--samples", "-n", 100)
    printed = capsys.readouterr().out
    assert "class_accuracy" in printed or "shape" in printed


def test_the_card_and_the_report_list_the_columns_left_out(folder: Path, tmp_path: Path) -> None:
    run("report", folder / "run", "-o", tmp_path / "report.html")
    for text in ((tmp_path / "report.html").read_text(), (folder / "run" / "model" / "card.md").read_text()):
        assert "remark (text)" in text.replace("\\", "")
        assert "country (constant)" in text.replace("\\", "")
        assert "customer identifies the rows" in text.replace("\\", "")


def test_an_export_computes_the_codes_of_rows(folder: Path, tmp_path: Path) -> None:
    run("export", folder / "run", "--format", "torch-export", "-o", tmp_path / "program")
    assert any((tmp_path / "program").iterdir())
