"""Bad rows of files are refused or left out, and row ids and labels are kept, in training and after it."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import pytest
import torch

from aeframe.data.file_samples import columns_of, names_of
from aeframe.data.in_memory import SampleSplits
from aeframe.data.samples import Samples
from aeframe.data.tables import read_rows, write_rows
from aeframe.data.tables.rows import Choice
from aeframe.data.tabular import Numbers
from aeframe.data.vector import Vector
from aeframe.data.vector_in_memory import VectorInMemory
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
    splits = modality.prepare(Numbers(path=path))
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
        Vector().prepare(Numbers(path=path))
    assert str(refused.value).startswith(f"rows.csv, {MESSAGES[row]}; ")
    assert "leave the row out with modality.on_error=skip" in str(refused.value)
    modality = Vector()
    path.write_text(lines({}))
    modality.prepare(Numbers(path=path))
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
    splits = modality.prepare(Numbers(path=path))
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
    splits = modality.prepare(Numbers(path=path))
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
        write_rows(path, [data.to_numpy()], len(data), list("abc"), names=[*data.index], id_column=index_name or "")
    else:
        data.to_csv(path, sep="\t" if suffix == ".tsv" else ",")
        # In text nothing distinguishes a named index from a column.
        options = {} if index_name is None else {"id": index_name}
    modality = Vector()
    splits = modality.prepare(Numbers(path=path, **options))
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
    copy = tmp_path / f"new{suffix}"
    again.write(samples.batch().x, copy, names=names_of(samples.source))
    assert names_of(again.open(copy, "raise").source) == [*data.index]
    if index_name is None:
        again.write(samples.batch().x, tmp_path / "copy.csv", names=names_of(samples.source))
        assert (tmp_path / "copy.csv").read_text().startswith(",a,b,c\ns0,")
    if suffix == ".csv":
        pd.testing.assert_frame_equal(pd.read_csv(copy, index_col=0).rename_axis(index_name), data, atol=1e-5)
    if suffix == ".parquet":
        pd.testing.assert_frame_equal(pd.read_parquet(copy), data, atol=1e-5, check_index_type=False)


def test_row_ids_of_an_npz(tmp_path: Path) -> None:
    path = tmp_path / "rows.npz"
    np.savez(path, x=frame().to_numpy(), who=np.array(frame().index, str))
    modality = Vector()
    splits = modality.prepare(Numbers(path=path, id="who"))
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
    splits = modality.prepare(Numbers(path=path, label="lab"))
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
    table = Numbers(path=path, decimal=",", missing=(-999,))
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
        choice = Numbers(path=tmp_path / name, missing=(-999,)).choice
        rows = read_rows(tmp_path / name, choice, mapped=True)
        np.testing.assert_array_equal(rows.array, np.where(values == -999, np.nan, values))
        assert rows.notes == (f"'{name}': 2 of 6 numbers are missing",)
        assert read_rows(tmp_path / name, Choice()).notes == ()


def npy(header: str, content: bytes = bytes(64)) -> bytes:
    """Return an NPY file with any header."""
    padded = header.encode().ljust(117) + b"\n"
    return b"\x93NUMPY\x01\x00" + len(padded).to_bytes(2, "little") + padded + content


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ("{'descr': '<f8', 'fortran_order': False, 'shape': (1000000000000, 8), }", (
            "cannot be read (array '{array}' of shape (1000000000000, 8) needs 64000000000000 bytes, and the file has "
            "64)"
        )),
        ("{'descr': '<f8', 'fortran_order': False, 'shape': (-1, 8), }", "its header states the shape (-1, 8)"),
        ("{'descr': '<f8', 'fortran_order': False, 'shape': __import__('os').getcwd(), }", "cannot be read ("),
        ("{'descr': '<f8', 'fortran_order': False, 'shape': ((((", "cannot be read ("),
        ("{'descr': '<q99', 'fortran_order': False, 'shape': (4, 2), }", "cannot be read ("),
    ],
)  # fmt: skip
@pytest.mark.parametrize("suffix", [".npy", ".npz"])
def test_hostile_headers_of_arrays(tmp_path: Path, header: str, message: str, suffix: str) -> None:
    path = tmp_path / f"x{suffix}"
    if suffix == ".npy":
        path.write_bytes(npy(header))
    else:
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("x.npy", npy(header))
    for mapped in (True, False):
        with pytest.raises(AeframeError) as refused:
            read_rows(path, Choice(), mapped=mapped)
        assert message.format(array="x" if suffix == ".npz" else "arr_0") in str(refused.value)
        assert "\n" not in str(refused.value)


def test_an_archive_that_expands_beyond_the_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    np.savez_compressed(tmp_path / "x.npz", x=np.zeros((100_000, 10)))
    pd.DataFrame(np.zeros((100_000, 10))).rename(columns=str).to_parquet(tmp_path / "x.parquet")
    monkeypatch.setenv("AEFRAME_MAX_GB", "0.001")
    for name, what in (("x.npz", "array 'x' of shape (100000, 10)"), ("x.parquet", "100000 rows of 10 columns")):
        with pytest.raises(AeframeError) as refused:
            read_rows(tmp_path / name, Choice())
        assert f"{what} would occupy 8 MB of memory, and the limit is 1 MB" in str(refused.value)


# -- samples in memory -----------------------------------------------------------------------------------------------


def in_memory(x: Any, **columns: Any) -> VectorInMemory:
    return VectorInMemory(SampleSplits({"train": Samples(x, **columns)}))


def test_the_index_of_a_data_frame_names_its_rows() -> None:
    splits = Vector().prepare(in_memory(frame()))
    names = names_of(splits.test)
    index = splits.test.batch(torch.arange(len(splits.test))).index
    assert index is not None
    assert names == [f"s{row}" for row in index.tolist()]
    assert names_of(Vector().prepare(in_memory(frame().reset_index(drop=True))).test) is None


@pytest.mark.parametrize(
    ("labels", "codes", "names"),
    [
        (["p", None, "q", np.nan, ""], [0, -1, 1, -1, -1], ("p", "q")),
        ([0, None, 2, np.nan, 1], [0, -1, 2, -1, 1], None),
        ([0.0, np.nan, 2, np.nan, 1], [0, -1, 2, -1, 1], None),
        ([-1, None, 1, None, 1], [0, -1, 1, -1, 1], ("-1", "1")),
    ],
)
def test_missing_labels_in_memory_are_no_class(labels: Any, codes: list[int], names: tuple[str, ...] | None) -> None:
    data = frame().assign(lab=labels * 6)
    modality, dataset = Vector(), in_memory(data, y="lab")
    splits = modality.prepare(dataset)
    assert splits.label_names == names
    assert f"{6 * codes.count(-1)} of 30 labels are missing; these samples have the label -1" in [*splits.notes]
    batch = splits.train.batch(torch.arange(len(splits.train)))
    assert batch.index is not None
    assert batch.extras["label"].tolist() == [codes[row % 5] for row in batch.index.tolist()]
    again = modality.prepare_samples(data)
    assert again.extras["label"].tolist() == codes * 6


def test_all_columns_of_words_in_memory_are_named_at_once() -> None:
    data = frame().assign(city="Oslo", day=pd.Timestamp("2020-01-01"))
    with pytest.raises(AeframeError) as refused:
        in_memory(data)
    assert str(refused.value).startswith("x has columns 'city' of ")
    assert str(refused.value).endswith(
        "expected numbers; leave them out with x.drop(columns=['city', 'day']), encode them as numbers, or name one as "
        "y or condition"
    )
    with pytest.raises(AeframeError, match=r"x has whole numbers beyond 2\*\*53 in 'key'"):
        in_memory(frame().assign(key=2**53 + 1))


def test_a_missing_condition_is_refused() -> None:
    fractions: Any = [1.5, np.nan, 2.5] * 10
    words: Any = ["a", None, "b"] * 10
    for condition, message in ((fractions, r"row 1 has no condition \(NaN\)"), (words, "row 1 has no label")):
        with pytest.raises(AeframeError, match=message):
            in_memory(frame(), condition=condition)
