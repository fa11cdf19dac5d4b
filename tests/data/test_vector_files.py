"""Bad rows of files are refused or left out, and row ids and labels are kept, in training and after it."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import pytest
import torch

from aeframe.data.file_samples import columns_of, names_of
from aeframe.data.tables import read_rows, write_rows
from aeframe.data.tables.rows import Choice
from aeframe.data.tabular import Table
from aeframe.data.vector import Vector
from aeframe.errors import AeframeError


def lines(bad: dict[int, str], num: int = 40) -> str:
    """Return a CSV file with `num` rows, some of which are replaced."""
    rows = [bad.get(row, f"{row / 7:.3f},{row % 5}") for row in range(num)]
    return "\n".join(["a,b", *rows]) + "\n"


BAD = {3: "x,1", 10: "1", 11: "1,inf", 12: "1e39,2", 20: ",4"}
MESSAGES = {
    3: "line 5, column 'a': 'x' is not a number",
    10: "line 12: the row has 1 cells, expected 2 as above it",
    11: "line 13, column 'b': the value is infinite",
    12: "line 14, column 'a': 1e+39 is too large for single precision (at most 3.4e+38)",
    20: "line 22, column 'a': the value is missing (NaN)",
}


def test_bad_rows_of_training_are_left_out_and_listed(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text(lines(BAD))
    modality = Vector(on_error="skip")
    splits = modality.prepare(Table(path=path))
    sources = (splits.train, splits.validation, splits.test)
    index = torch.cat([source.batch(torch.arange(len(source))).index for source in sources])  # type: ignore[misc]
    assert sorted(index.tolist()) == [row for row in range(40) if row not in BAD]
    assert sorted(splits.skipped) == sorted(f"rows.csv, {message}" for message in MESSAGES.values())
    # The same file can be read after training.
    samples = modality.open(path, "skip")
    assert samples.skipped == [f"rows.csv, {message}" for message in MESSAGES.values()]
    assert samples.batch().index is not None
    assert samples.batch().index.tolist() == [row for row in range(40) if row not in BAD]  # type: ignore[union-attr]


@pytest.mark.parametrize("row", BAD)
def test_a_bad_row_is_refused(tmp_path: Path, row: int) -> None:
    path = tmp_path / "rows.csv"
    path.write_text(lines({row: BAD[row]}))
    with pytest.raises(AeframeError) as refused:
        Vector().prepare(Table(path=path))
    assert str(refused.value).startswith(f"rows.csv, {MESSAGES[row]}; ")
    assert "leave the row out with modality.on_error=skip" in str(refused.value)
    modality = Vector()
    path.write_text(lines({}))
    modality.prepare(Table(path=path))
    path.write_text(lines({row: BAD[row]}))
    with pytest.raises(AeframeError) as refused:
        modality.open(path, "raise")
    assert str(refused.value).startswith(f"rows.csv, {MESSAGES[row]}; ")
    # A trained model has no options of the modality.
    assert str(refused.value).endswith(", or leave the row out with on_error=skip")


def test_rows_outside_the_domain_are_left_out(tmp_path: Path) -> None:
    path = tmp_path / "rows.npy"
    values = np.random.default_rng(0).integers(0, 2, (30, 3)).astype(np.float32)
    values[[4, 9]] = 0.5
    np.save(path, values)
    modality = Vector(domain="binary", scale="none", on_error="skip")
    splits = modality.prepare(Table(path=path))
    assert len(splits.train) + len(splits.validation) + len(splits.test) == 28
    assert len(splits.skipped) == 2
    np.save(path, np.full((4, 3), 0.5))
    with pytest.raises(
        AeframeError, match=r"'rows.npy': all 4 rows are bad; the first: rows.npy, row 0, column 0: 0.5"
    ):
        modality.open(path, "skip")


def test_infinite_values_are_refused_where_missing_ones_are_masked(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text(lines({3: ",1", 11: "1,inf"}))
    modality = Vector(missing="mask", on_error="skip")
    splits = modality.prepare(Table(path=path))
    assert splits.skipped == ["rows.csv, line 13, column 'b': the value is infinite"]
    assert [*splits.notes] == ["'rows.csv': 1 of 80 numbers are missing"]
    batch = modality.open(path, "skip").batch()
    assert batch.mask is not None
    assert int((~batch.mask).sum()) == 1


def frame(num: int = 30) -> pd.DataFrame:
    values = np.random.default_rng(0).normal(size=(num, 3))
    return pd.DataFrame(values, columns=list("abc"), index=[f"s{row}" for row in range(num)])


@pytest.mark.parametrize("suffix", [".csv", ".parquet", ".feather", ".tsv"])
@pytest.mark.parametrize("index_name", [None, "sample"])
def test_row_ids_are_kept(tmp_path: Path, suffix: str, index_name: str | None) -> None:
    data, path = frame().rename_axis(index_name), tmp_path / f"rows{suffix}"
    options: dict[str, Any] = {}
    if suffix == ".parquet":
        data.to_parquet(path)
    elif suffix == ".feather":
        write_rows(path, data.to_numpy(), list("abc"), names=[*data.index], id_column=index_name or "")
    else:
        data.to_csv(path, sep="\t" if suffix == ".tsv" else ",")
        # In text nothing distinguishes a named index from a column.
        options = {} if index_name is None else {"id": index_name}
    modality = Vector()
    splits = modality.prepare(Table(path=path, **options))
    names = names_of(splits.test)
    index = splits.test.batch(torch.arange(len(splits.test))).index
    assert names is not None
    assert index is not None
    assert names == [f"s{row}" for row in index.tolist()]
    again = Vector()
    again.load_state(modality.state())
    samples = again.open(path, "raise")
    assert names_of(samples.source) == [*data.index]
    assert columns_of(samples.source, torch.tensor([2]))["name"].tolist() == ["s2"]
    copy = tmp_path / f"copy{suffix}"
    again.write(samples.batch().x, copy, names=names_of(samples.source))
    assert names_of(again.open(copy, "raise").source) == [*data.index]
    if suffix == ".csv":
        pd.testing.assert_frame_equal(pd.read_csv(copy, index_col=0).rename_axis(index_name), data, atol=1e-5)
    if suffix == ".parquet":
        pd.testing.assert_frame_equal(pd.read_parquet(copy), data, atol=1e-5, check_index_type=False)


def test_row_ids_of_an_npz(tmp_path: Path) -> None:
    path = tmp_path / "rows.npz"
    np.savez(path, x=frame().to_numpy(), who=np.array(frame().index, str))
    modality = Vector()
    splits = modality.prepare(Table(path=path, id="who"))
    assert names_of(splits.test) is not None
    samples = modality.open(path, "raise")
    assert names_of(samples.source) == [*frame().index]
    modality.write(samples.batch().x, tmp_path / "copy.npz", names=names_of(samples.source))
    assert np.load(tmp_path / "copy.npz")["who"].tolist() == [*frame().index]


@pytest.mark.parametrize("suffix", [".csv", ".parquet", ".npz"])
@pytest.mark.parametrize("kind", ["words", "whole", "negative"])
def test_missing_labels_are_no_class(tmp_path: Path, suffix: str, kind: Literal["words", "whole", "negative"]) -> None:
    values = {"words": ["p", "q"], "whole": [0, 2], "negative": [-1, 1]}[kind]
    labels: list[Any] = [values[row % 2] for row in range(30)]
    for row in (3, 8, 9, 20, 21):
        labels[row] = None
    data, path = frame().reset_index(drop=True).assign(lab=labels), tmp_path / f"rows{suffix}"
    if suffix == ".csv":
        data.to_csv(path, index=False)
    elif suffix == ".parquet":
        data.to_parquet(path, index=False)
    else:
        missing: Any = "" if kind == "words" else np.nan
        array = np.array([missing if label is None else label for label in labels])
        np.savez(path, x=data[["a", "b", "c"]].to_numpy(), lab=array)
    modality = Vector()
    splits = modality.prepare(Table(path=path, label="lab"))
    assert splits.label_names == {"words": ("p", "q"), "whole": None, "negative": ("-1", "1")}[kind]
    assert f"'{path.name}': 5 of 30 labels are missing; these samples have the label -1" in [*splits.notes]
    for batch in (
        *(source.batch(torch.arange(len(source))) for source in (splits.train, splits.validation, splits.test)),
        modality.open(path, "raise").batch(),
    ):
        assert batch.index is not None
        codes = {"words": [0, 1], "whole": [0, 2], "negative": [0, 1]}[kind]
        expected = [-1 if labels[row] is None else codes[row % 2] for row in batch.index.tolist()]
        assert batch.extras["label"].tolist() == expected


def test_options_of_training_hold_for_new_files(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("a;b\n" + "".join(f"{row},125;{-999 if row == 5 else row}\n" for row in range(1, 40)))
    modality = Vector(missing="mask")
    table = Table(path=path, decimal=",", missing=(-999,))
    assert [*modality.prepare(table).notes] == [
        "'rows.csv': cells are separated by semicolons", "'rows.csv': 1 of 78 numbers are missing"
    ]  # fmt: skip
    again = Vector(missing="mask")
    again.load_state(modality.state())
    batch = again.open(path, "raise").batch()
    assert batch.mask is not None
    assert (~batch.mask).nonzero().tolist() == [[4, 1]]
    np.testing.assert_allclose(again.restore_samples(batch.x)["a"], np.arange(1, 40) + 0.125, rtol=1e-5)


def test_marks_in_arrays_and_parquet(tmp_path: Path) -> None:
    values = np.array([[1.0, -999], [2, 3], [-999, 5]])
    np.save(tmp_path / "x.npy", values.astype(np.int64))
    pd.DataFrame(values, columns=["a", "b"]).to_parquet(tmp_path / "x.parquet")
    for name in ("x.npy", "x.parquet"):
        choice = Table(path=tmp_path / name, missing=(-999,)).choice
        rows = read_rows(tmp_path / name, choice, mapped=True)
        np.testing.assert_array_equal(rows.array, np.where(values == -999, np.nan, values))
        assert rows.notes == (f"'{name}': 2 of 6 numbers are missing",)
        assert read_rows(tmp_path / name, Choice()).notes == ()
