"""Bad rows and files, from the dataset to the commands on a trained model: nothing is lost or changed in silence."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

import aeframe
from aeframe.cli.main import main
from aeframe.errors import AeframeError
from aeframe_tabular.dataset import TableFile
from aeframe_tabular.modality import TableModality
from aeframe_tabular.simulated import TableSimulated

torch.set_num_threads(1)


def customers(num: int = 60, seed: int = 0) -> pd.DataFrame:
    return TableSimulated(rows=num, seed=seed).frame()


def prepared(frame: pd.DataFrame, folder: Path) -> tuple[TableModality, TableFile]:
    """Return the modality and the dataset of a frame as a CSV file, the former with its state."""
    frame.to_csv(folder / "table.csv", index=False)
    modality, dataset = TableModality(numbers="standard"), TableFile(path=folder / "table.csv")
    modality.prepare(dataset)
    return modality, dataset


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("customers")
    customers(80).to_csv(folder / "customers.csv", index=False)
    options = {"encoder": {"hidden": [8]}, "latent": {"dim": 2}, "batch_size": 32, "trainer": {"threads": 1}}
    data = {"name": "table", "path": folder / "customers.csv"}
    aeframe.fit(model="table_ae", data=data, folder=folder / "run", max_epochs=1, pictures=False, **options)
    return folder / "run"


def refusal(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    assert main([str(argument) for argument in arguments]) == 2
    return " ".join(capsys.readouterr().err.split())


def test_a_class_that_training_did_not_have(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    frame = customers(20, seed=1)
    frame["city"] = frame["city"].fillna("Delft")
    frame.loc[4, "city"] = "Delfft"
    frame.to_csv(tmp_path / "new.csv", index=False)
    message = refusal(capsys, "encode", run, tmp_path / "new.csv", "-o", tmp_path / "codes.npz")
    assert "line 6, column 'city'" in message
    assert "'Delfft'" in message
    assert "Delft" in message.replace("Delfft", "")
    assert "unknown=missing" in message
    assert not (tmp_path / "codes.npz").exists()
    option = ["--option", "unknown=missing"]
    assert main(["encode", str(run), str(tmp_path / "new.csv"), "-o", str(tmp_path / "codes.npz"), *option]) == 0
    with np.load(tmp_path / "codes.npz") as codes:
        assert len(codes["z"]) == 20
    # What was changed is stated.
    assert "Delfft" in capsys.readouterr().err


def test_columns_of_another_file_are_matched_by_name(run: Path, tmp_path: Path) -> None:
    model, frame = aeframe.load(run), customers(20, seed=1)
    frame.to_csv(tmp_path / "a.csv", index=False)
    other = frame[list(frame.columns[::-1])].assign(extra=1.5)
    other.to_csv(tmp_path / "b.csv", index=False)
    other.to_parquet(tmp_path / "c.parquet")
    expected = model.encode(model.modality.read(tmp_path / "a.csv"))
    for name in ("b.csv", "c.parquet"):
        torch.testing.assert_close(model.encode(model.modality.read(tmp_path / name)), expected)
        assert any(f"{name}: a column not of the model left out (extra)" in note for note in model.modality.notes)


def test_missing_columns_are_named(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    customers(20).drop(columns=["plan", "age"]).to_csv(tmp_path / "new.csv", index=False)
    message = refusal(capsys, "anomalies", run, tmp_path / "new.csv", "-o", tmp_path / "scores.csv")
    assert "new.csv has no columns age, plan, on which the model was trained" in message


def test_one_row_is_encoded_and_none_is_refused(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    customers(20).head(1).to_csv(tmp_path / "one.csv", index=False)
    assert main(["encode", str(run), str(tmp_path / "one.csv"), "-o", str(tmp_path / "codes.npz")]) == 0
    customers(20).head(0).to_csv(tmp_path / "none.csv", index=False)
    message = refusal(capsys, "encode", run, tmp_path / "none.csv", "-o", tmp_path / "other.npz")
    assert "none.csv" in message
    assert "no rows" in message


@pytest.mark.parametrize("num", [0, 1])
def test_too_few_rows_to_train(num: int, tmp_path: Path) -> None:
    with pytest.raises(AeframeError, match=r"table\.csv"):
        prepared(customers(20).head(num), tmp_path)


def test_a_column_of_missing_cells_is_left_out_and_stated(tmp_path: Path) -> None:
    modality, dataset = prepared(customers().assign(empty=np.nan), tmp_path)
    assert "empty" not in [column.name for column in modality.rows.x.columns]
    splits = modality.prepare(dataset)
    assert any("empty" in note for note in splits.notes)


def test_a_column_that_is_missing_in_a_new_file_is_encoded(run: Path, tmp_path: Path) -> None:
    model = aeframe.load(run)
    # Training had missing cells in income, and none in age.
    batch = model.prepare(customers(20).assign(income=np.nan))
    assert bool(model.encode(batch).isfinite().all())


def test_a_missing_cell_where_training_had_none(run: Path) -> None:
    model, frame = aeframe.load(run), customers(20).astype({"age": float})
    frame.loc[3, "age"] = np.nan
    batch = model.prepare(frame)
    assert batch.mask is not None
    assert not batch.mask[3].all()
    assert bool(model.encode(batch).isfinite().all())


def test_infinite_and_huge_numbers(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    frame = customers(20).astype({"visits": float})
    frame.loc[2, "income"] = np.inf
    frame.to_csv(tmp_path / "inf.csv", index=False)
    message = refusal(capsys, "encode", run, tmp_path / "inf.csv", "-o", tmp_path / "codes.npz")
    assert "line 4, column 'income'" in message


def test_a_word_in_a_column_of_numbers(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    frame = customers(20).astype({"age": object})
    frame.loc[2, "age"] = "old"
    frame.to_csv(tmp_path / "new.csv", index=False)
    message = refusal(capsys, "reconstruct", run, tmp_path / "new.csv", "-o", tmp_path / "out.csv")
    assert "line 4, column 'age'" in message
    assert "'old'" in message
    assert not (tmp_path / "out.csv").exists()


def test_labels_and_conditions_that_do_not_exist(tmp_path: Path) -> None:
    customers().to_csv(tmp_path / "table.csv", index=False)
    with pytest.raises(AeframeError, match=r"no column 'plann' for data.label, did you mean 'plan'"):
        TableFile(path=tmp_path / "table.csv", label="plann").load()
    with pytest.raises(AeframeError, match=r"two of the roles"):
        TableFile(path=tmp_path / "table.csv", label="plan", condition=("plan",)).load()
