"""The modality ``table``: from a file to a model, and back to a file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

import aeframe
from aeframe.data.file_samples import names_of
from aeframe.errors import AeframeError
from aeframe_tabular.dataset import TableFile
from aeframe_tabular.modality import TableModality
from aeframe_tabular.simulated import TableSimulated

torch.set_num_threads(1)
SMALL = {"encoder": {"hidden": [16]}, "latent": {"dim": 4}, "max_epochs": 1, "trainer": {"threads": 1}}


@pytest.fixture(scope="module")
def customers() -> pd.DataFrame:
    frame = TableSimulated(rows=300).frame()
    frame.insert(0, "customer", [f"C{number:05}" for number in range(len(frame))])
    frame["country"] = "NL"
    return frame


@pytest.fixture(scope="module")
def file(customers: pd.DataFrame, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("customers") / "customers.csv"
    customers.to_csv(path, index=False)
    return path


@pytest.fixture(scope="module")
def run(file: Path) -> aeframe.TrainedModel:
    return aeframe.fit(
        model="table_vae", data={"name": "table", "path": file}, folder=file.parent / "run", **SMALL
    ).model


def test_samples_have_an_element_for_each_number_and_class(file: Path) -> None:
    modality = TableModality(numbers="standard")
    splits = modality.prepare(TableFile(path=file))
    batch = splits.train.batch(torch.arange(len(splits.train)))
    spec = modality.spec(TableFile(path=file))
    assert not spec.domain.violations(torch.where(batch.mask, batch.x, 0.0)).any()
    names = [element.name for element in modality.rows.x.elements]
    assert names == [
        "age", "income", "income (missing)", "visits", "spend", "spend (spike)", "city", "plan", "newsletter",
        "satisfaction", "joined",
    ]  # fmt: skip
    assert any("country" in note for note in splits.notes)


def test_restored_samples_are_the_rows_of_the_file(file: Path, customers: pd.DataFrame) -> None:
    modality = TableModality()
    splits = modality.prepare(TableFile(path=file))
    index = torch.arange(len(splits.validation))
    restored = modality.restore_samples(splits.validation.batch(index).x)
    names = splits.validation.columns(index)["name"]  # type: ignore[attr-defined]
    expected = customers.set_index("customer").loc[names]
    assert restored["plan"].tolist() == expected["plan"].tolist()
    assert restored["city"].isna().tolist() == expected["city"].isna().tolist()
    np.testing.assert_allclose(restored["income"], expected["income"], rtol=1e-5)
    assert restored["joined"].astype("datetime64[us]").tolist() == expected["joined"].tolist()
    assert (restored["country"] == "NL").all()


def test_new_rows_have_the_columns_and_types_of_the_file(run: aeframe.TrainedModel, file: Path, tmp_path: Path) -> None:
    written = run.modality.write(run.sample(50, seed=0), tmp_path / "new.csv")
    found, original = pd.read_csv(written[0]), pd.read_csv(file)
    assert list(found.columns) == [name for name in original.columns if name != "customer"]
    assert found["age"].dtype == original["age"].dtype
    assert set(found["plan"]) <= set(original["plan"])
    assert found["age"].between(original["age"].min(), original["age"].max()).all()
    again = run.modality.write(run.sample(50, seed=0), tmp_path / "again.csv")
    assert again[0].read_bytes() == written[0].read_bytes()


def test_new_rows_are_draws_and_not_means(run: aeframe.TrainedModel) -> None:
    z = run.sample_codes(1).expand(200, -1)
    torch.manual_seed(0)
    drawn = run.decode(z, draw=True)
    assert len(drawn.unique(dim=0)) > 100
    assert len(run.decode(z).unique(dim=0)) == 1
    assert len(run.sample(200, seed=1).unique(dim=0)) > 190


def test_a_file_without_a_column_is_refused(run: aeframe.TrainedModel, customers: pd.DataFrame, tmp_path: Path) -> None:
    customers.drop(columns="plan").rename(columns={"city": "citty"}).to_csv(tmp_path / "other.csv", index=False)
    with pytest.raises(AeframeError, match=r"'?city'?.*citty"):
        run.modality.read(tmp_path / "other.csv")


def test_columns_that_training_left_out_are_no_news(run: aeframe.TrainedModel, file: Path) -> None:
    assert len(run.modality.read(file)) == 300
    assert not any("left out" in note for note in run.modality.notes)


def test_the_condition_is_no_part_of_x(file: Path) -> None:
    modality, dataset = TableModality(), TableFile(path=file, condition=("plan", "age"))
    spec = modality.spec(dataset)
    splits = modality.prepare(dataset)
    batch = splits.train.batch(torch.arange(5))
    assert spec.condition == 4
    assert batch.condition is not None
    assert batch.condition.shape == (5, 4)
    assert {"plan", "age"}.isdisjoint(column.name for column in modality.rows.x.columns)
    encoded = modality.encode_condition("x", {"age": [30], "plan": ["family"]})
    assert encoded is not None
    assert encoded[0, :3].sum() == 1


def test_a_frame_of_mixed_types_in_memory_selects_the_modality(customers: pd.DataFrame, tmp_path: Path) -> None:
    run = aeframe.fit(customers, model="table_ae", y="plan", folder=tmp_path / "run", **SMALL)
    assert isinstance(run.model.modality, TableModality)
    codes = run.model.encode(run.model.prepare(customers.head(7)))
    assert codes.shape == (7, 4)
    restored = run.model.modality.restore_samples(run.model.sample(3, seed=0))
    assert list(restored.columns) == [name for name in customers.columns if name not in ("customer", "plan")]


def test_a_run_reports_its_columns_and_compares_new_rows(run: aeframe.TrainedModel, file: Path) -> None:
    from aeframe.runs.folder import RunFolder
    from aeframe.runs.report.contents import read_contents
    from aeframe.runs.report.page import make_page

    folder = RunFolder.open(file.parent / "run")
    assert folder.read_tables()["columns"].columns["column"][:3] == ["age", "income", "visits"]
    comparison = folder.read_comparison()
    assert comparison is not None
    assert "column shapes" in comparison.samples
    assert {path.stem for path in folder.pictures.glob("*.png")} >= {"marginals", "associations", "pairs"}
    page = make_page(read_contents(folder.path, lambda *_: None))
    assert all(text in page for text in ("error_of_baseline", "column shapes", 'alt="Marginals"', 'alt="Pairs"'))
    assert "| column shapes |" in (folder.model / "card.md").read_text(encoding="utf-8")


def test_columns_of_the_condition_and_the_label_are_restored_from_their_numbers(file: Path) -> None:
    frame = pd.read_csv(file)
    modality, dataset = TableModality(), TableFile(path=file, condition=("age",), label="plan")
    splits = modality.prepare(dataset)
    batch = splits.train.batch(torch.arange(len(splits.train)))
    assert batch.condition is not None
    num_labels = len(modality.rows.label_names or ())
    one_hot = torch.nn.functional.one_hot(batch.extras["label"].clamp(min=0), num_labels)
    rows = modality.rows.restored(batch.x, condition=torch.cat([batch.condition, one_hot], 1))
    assert [name for name in rows.columns if name != "name"] == [name for name in frame.columns if name in rows.columns]
    plain = modality.rows.restored(batch.x, condition=batch.condition)
    assert "age" in plain
    assert "plan" not in plain
    original = frame.set_index("customer").loc[list(names_of(splits.train) or ())]
    np.testing.assert_allclose(rows["age"].astype(float), original["age"])
    labelled = (batch.extras["label"] >= 0).numpy()
    assert rows["plan"][labelled].tolist() == original["plan"][labelled].tolist()


def test_the_format_of_doubtful_dates_of_a_frame_can_be_set() -> None:
    days = [f"0{1 + number % 9}/0{1 + number % 7}/2021" for number in range(60)]
    frame = pd.DataFrame({"day": days, "plan": ["a", "b", "c"] * 20})
    with pytest.raises(AeframeError, match="day and month cannot be told apart"):
        aeframe.build(frame)
    _, data = aeframe.build(frame, data={"date_formats": {"day": "%d/%m/%Y"}})
    assert len(data.splits.train) == 48
