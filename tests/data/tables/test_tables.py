from __future__ import annotations

import gzip
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from aeframe.data.tables import (
    Choice,
    Header,
    TextOptions,
    encode_labels,
    options_like,
    read_header,
    read_rows,
    write_rows,
)
from aeframe.errors import AeframeError

SUFFIXES = (".csv", ".csv.gz", ".CSV.bz2", ".csv.xz", ".tsv", ".dat", ".npy", ".npz", ".parquet", ".feather")


def error_of(path: Path, choice: Choice | None = None, *, header: bool = False) -> str:
    with pytest.raises(AeframeError) as caught:
        (read_header if header else read_rows)(path, choice or Choice())
    return str(caught.value)


def text(folder: Path, content: str, name: str = "rows.csv") -> Path:
    path = folder / name
    path.write_text(content, encoding="utf-8")
    return path


# -- every format ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_round_trip_is_exact(tmp_path: Path, suffix: str, dtype: type) -> None:
    values = np.random.default_rng(0).normal(size=(7, 3)).astype(dtype) * dtype(1e-3)
    values[2, 1] = np.nan
    path = tmp_path / f"rows{suffix}"
    names = None if suffix.startswith(".np") else ("a", "b c", 'd, "e"')
    write_rows(path, np.array_split(values, 2), len(values), names)
    rows = read_rows(path, Choice())
    np.testing.assert_array_equal(rows.values.astype(dtype), values)
    assert rows.columns == names
    assert read_header(path, Choice()) == rows.header == Header((3,), names)


@pytest.mark.parametrize("suffix", [".npy", ".npz"])
def test_arrays_keep_their_shape(tmp_path: Path, suffix: str) -> None:
    values = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
    write_rows(tmp_path / f"x{suffix}", np.array_split(values, 2), len(values), None)
    assert read_header(tmp_path / f"x{suffix}", Choice()) == Header((3, 4))
    rows = read_rows(tmp_path / f"x{suffix}", Choice())
    assert rows.values.dtype == np.uint8
    np.testing.assert_array_equal(rows.values, values)


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_text_and_parquet_store_vectors_only(tmp_path: Path, suffix: str) -> None:
    with pytest.raises(AeframeError) as caught:
        write_rows(tmp_path / f"x{suffix}", [np.zeros((2, 3, 4))], 2, None)
    assert str(caught.value) == (f"'x{suffix}' can store rows of shape (D,), found shape (3, 4); write .npy or .npz")
    assert not list(tmp_path.iterdir())


def test_errors_of_paths(tmp_path: Path) -> None:
    text(tmp_path, "a\n1\n", "measurements.csv")
    assert error_of(tmp_path / "measurement.csv") == (
        f"there is no file '{tmp_path}/measurement.csv', did you mean 'measurements.csv'?"
    )
    assert error_of(tmp_path / "no" / "where.csv") == f"there is no file '{tmp_path}/no/where.csv'"
    suffixes = ".csv, .tsv, .tab, .txt, .dat, .data, .npy, .npz, .parquet, .feather"
    assert error_of(tmp_path) == f"'{tmp_path}' is a folder, expected a file ending in {suffixes}"
    assert error_of(text(tmp_path, "1", "rows.xlsx")) == (
        f"'rows.xlsx' has suffix '.xlsx', expected one of {suffixes}; text may be compressed "
        "(.gz, .bz2, .xz, .zst, .zip)"
    )


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_empty_files(tmp_path: Path, suffix: str) -> None:
    path = text(tmp_path, "", f"rows{suffix}")
    assert error_of(path) == error_of(path, header=True) == f"'{path}' is empty, expected rows of numbers"


@pytest.mark.parametrize("suffix", [".csv", ".csv.gz", ".npy", ".npz", ".parquet"])
def test_errors_of_damaged_files(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"rows{suffix}"
    path.write_bytes(b"\x93\xff\xfe not\0what it seems")
    for header in (True, False):
        message = error_of(path, header=header)
        assert message.startswith(f"'{path}' cannot be read ")
        assert "\n" not in message


# -- CSV -------------------------------------------------------------------------------------------------------------


def test_a_header_is_a_line_without_numbers(tmp_path: Path) -> None:
    named = read_rows(text(tmp_path, "\ufeffheight,weight\r\n1,2\r\n\r\n3,4.5\r\n"), Choice())
    assert named.columns == ("height", "weight")
    np.testing.assert_array_equal(named.values, [[1, 2], [3, 4.5]])
    assert named.where(1, [0]) == "rows.csv, line 4, column 'height'"
    bare = read_rows(text(tmp_path, "1,2\n3,4.5\n"), Choice())
    assert bare.columns is None
    np.testing.assert_array_equal(bare.values, [[1, 2], [3, 4.5]])
    assert bare.where(1, [0]) == "rows.csv, line 2, column 0"


def test_a_header_is_read_without_the_rows(tmp_path: Path) -> None:
    path = text(tmp_path, "a,b,species\n1,2,x\n" + "3,4,y\n" * 3 + "not,even")
    assert read_header(path, Choice(label="species")) == Header((2,), ("a", "b"))


def test_columns_and_label_are_chosen_by_name(tmp_path: Path) -> None:
    path = text(tmp_path, "id,b,species,a\nx1,2,cat,1\nx2,4,dog,3\n")
    rows = read_rows(path, Choice(columns=("a", "b"), label="species"))
    np.testing.assert_array_equal(rows.values, [[1, 2], [3, 4]])
    assert rows.columns == ("a", "b")
    assert rows.label is not None
    assert rows.label.tolist() == ["cat", "dog"]
    # Without a header a column is called by its number.
    bare = read_rows(text(tmp_path, "5.1,3.5,setosa\n4.9,3.0,virginica\n"), Choice(label="2"))
    assert bare.values.shape == (2, 2)
    assert bare.columns is None


def test_missing_cells_are_nan(tmp_path: Path) -> None:
    rows = read_rows(text(tmp_path, "a,b\n1,\nNA,2\n nan ,n/a\n"), Choice())
    np.testing.assert_array_equal(rows.values, [[1, np.nan], [np.nan, 2], [np.nan, np.nan]])


def test_numbers_that_pandas_cannot_parse(tmp_path: Path) -> None:
    rows = read_rows(text(tmp_path, "a,b_c\n1000,1e400\n\u0661,-0\n\n nAn ,1\n"), Choice())
    np.testing.assert_array_equal(rows.values, [[1000, np.inf], [1, -0.0], [np.nan, 1]])
    assert np.signbit(rows.values[1, 1])
    assert rows.where(2, [0]) == "rows.csv, line 5, column 'a'"


@pytest.mark.parametrize("separator", ["\n", "\r\n", "\r"])
def test_quoted_cells_and_line_ends(tmp_path: Path, separator: str) -> None:
    content = separator.join(['"a","b"', '"1","x, y"', '2,"two\nlines"', "3,"])
    rows = read_rows(text(tmp_path, content), Choice(label="b"))
    np.testing.assert_array_equal(rows.values, [[1], [2], [3]])
    assert rows.label is not None
    assert rows.label.tolist() == ["x, y", "two\nlines", None]
    assert [rows.where(row) for row in range(3)] == [f"rows.csv, line {line}" for line in (2, 4, 5)]


def test_numbers_are_the_nearest_doubles(tmp_path: Path) -> None:
    values = np.random.default_rng(0).integers(0, 1 << 63, (500, 2), dtype=np.uint64).view(np.float64)
    values = values[np.isfinite(values).all(1)]
    longer = [[f"{value:.60e}" for value in row] for row in values.tolist()]
    rows = read_rows(text(tmp_path, "\n".join(map(",".join, longer))), Choice())
    assert rows.values.tobytes() == values.tobytes()


@pytest.mark.parametrize(
    ("content", "choice", "message"),
    [
        ("a,b\n", Choice(), "'{path}' has no rows below its header, expected rows of a table"),
        ("\n\n", Choice(), "'{path}' has no rows, expected rows of a table"),
        (
            "a,b\n1,2\n3,?x\n", Choice(),
            "rows.csv, line 3, column 'b': '?x' is not a number; leave it out with data.exclude=[b], use a column as "
            "data.label or data.id, or name marks for missing values with data.missing",
        ),
        ("a,b\n1,2\n\n3\n", Choice(), "rows.csv, line 4: the row has 1 cells, expected 2 as above it"),
        ("1,2\n3,4,5\n", Choice(), "rows.csv, line 2: the row has 3 cells, expected 2 as above it"),
        (
            "age,b\n1,2\n", Choice(label="agee"),
            "'rows.csv' has no column 'agee' for label, did you mean 'age'?; its columns are age, b",
        ),
        ("a,b\n1,2\n", Choice(columns=("b", "z")), "'rows.csv' has no column 'z' for columns; its columns are a, b"),
        (
            "a,b\n1,2\n", Choice(columns=("a", "b"), label="b"),
            "column 'b' of 'rows.csv' is both the label and one of columns; take it from one",
        ),
        ("a\n1\n", Choice(label="a"), "'rows.csv' has no column left for x; its columns are a"),
        ("a,b,a\n1,2,3\n", Choice(), "'rows.csv' has two columns named 'a'; rename one"),
        (
            ",a\n0.5,1\n", Choice(),
            "column 0 of 'rows.csv' has no name in the header; name it, or leave it out with exclude=['']",
        ),
    ],
)  # fmt: skip
def test_errors_of_csv(tmp_path: Path, content: str, choice: Choice, message: str) -> None:
    path = text(tmp_path, content)
    assert error_of(path, choice) == message.format(path=path)


NUMBERS = "".join(f"{0.37 * n:.2f},{1 - n / 7:.4f},{n * n + 0.5}\n" for n in range(8))


@pytest.mark.parametrize(
    ("content", "names"),
    [
        ("name,2019,2020\n1,2,3\n4,5,6\n", ("name", "2019", "2020")),  # text above numbers
        ("True,False\n1,0\n", None),
        ("NA,1,2\n3,4,5\n", None),
        ("0,0,0\n" + NUMBERS, None),  # a recording that starts at zero
        ("1,2\n3,4.5\n", None),
        ("7,5,9\n7,5,8\n" * 3, None),
        ("3.5,setosa\n3.0,virginica\n", None),
    ],
)
def test_whether_the_first_line_is_a_header(tmp_path: Path, content: str, names: tuple[str, ...] | None) -> None:
    path = text(tmp_path, content)
    label = "1" if "setosa" in content else None
    assert read_rows(path, Choice(label=label)).columns == names


@pytest.mark.parametrize(
    ("first", "shown"),
    [
        ("0,1,2", "0, 1, 2"),
        ("2019,2020,2021", "2019, 2020, 2021"),
        ("10,30,20", "10, 30, 20"),  # whole numbers above fractions
        ("400.5,401.0,402.25", "400.5, 401.0, 402.25"),  # wavelengths, far outside the columns
    ],
)
def test_a_header_of_numbers_is_doubtful(tmp_path: Path, first: str, shown: str) -> None:
    path = text(tmp_path, f"{first}\n{NUMBERS}")
    message = (
        f"'rows.csv': the first line ({shown}) can be a header of numbers or a row of them; set data.header to true or "
        "false, or give the columns names that are not numbers"
    )
    assert error_of(path) == message
    assert error_of(path, header=True) == message
    named, bare = (read_rows(path, Choice(text=TextOptions(header=header))) for header in (True, False))
    assert named.columns == tuple(first.split(","))
    assert (len(named), len(bare)) == (8, 9)
    assert bare.columns is None
    np.testing.assert_array_equal(bare.values[1:], named.values)
    assert options_like(path, first.split(","), TextOptions()).header is True
    assert options_like(path, ["400"], TextOptions()).header is None


def test_an_index_of_pandas_is_no_column_of_numbers_by_mistake(tmp_path: Path) -> None:
    frame = pd.DataFrame(np.arange(6.0).reshape(3, 2) / 4)
    frame.to_csv(tmp_path / "rows.csv")
    rows = read_rows(tmp_path / "rows.csv", Choice())
    assert read_header(tmp_path / "rows.csv", Choice()) == rows.header
    assert rows.columns == ("0", "1")
    assert rows.names is not None
    assert rows.names.tolist() == ["0", "1", "2"]
    assert rows.id_column == ""
    assert rows.notes == (
        "'rows.csv': the first column (without a name: 0, ...) identifies the rows, and is no column of x",
    )
    np.testing.assert_array_equal(rows.values, frame.to_numpy())


@pytest.mark.parametrize("spelling", [str, str.lower, str.upper])
def test_truth_values_are_numbers(tmp_path: Path, spelling: Callable[[str], str]) -> None:
    rows = read_rows(text(tmp_path, f"a,b,c\n1,{spelling('True')},2\n2,{spelling('False')},True\n"), Choice())
    np.testing.assert_array_equal(rows.values, [[1, 1, 2], [2, 0, 1]])


def test_words_for_missing_values(tmp_path: Path) -> None:
    words = ["", "nan", "NaN", "NA", "N/A", "n/a", "null", "NULL", "None", "none", "#N/A", "#NA", "<NA>"]
    words += ["?", " na ", ".", "-"]
    rows = read_rows(text(tmp_path, "a,b\n" + "".join(f"1,{word}\n" for word in words)), Choice())
    assert np.isnan(rows.values[:, 1]).all()
    assert rows.notes == (f"'rows.csv': {len(words)} of {2 * len(words)} numbers are missing",)
    assert "column 'b': '*' is not a number" in error_of(text(tmp_path, "a,b\n1,2\n1,*\n"))
    rows = read_rows(text(tmp_path, "a,b\n1,*\n-999.0,-999\n"), Choice(text=TextOptions(missing=("*", -999))))
    np.testing.assert_array_equal(rows.values, [[1, np.nan], [np.nan, np.nan]])
    assert rows.notes == ("'rows.csv': 3 of 4 numbers are missing",)


def test_columns_are_left_out_by_name(tmp_path: Path) -> None:
    path = text(tmp_path, "id,a,day,b\nx1,1,monday,2\n")
    rows = read_rows(path, Choice(exclude=("id", "day")))
    assert rows.columns == ("a", "b")
    assert "has no column 'dya' for exclude, did you mean 'day'?" in error_of(path, Choice(exclude=("dya",)))


def test_truncated_gzip(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv.gz"
    path.write_bytes(gzip.compress(b"a,b\n" + b"1,2\n" * 5000)[:-20])
    assert error_of(path) == (
        f"'{path}' cannot be read as .gz (Compressed file ended before the end-of-stream marker was reached); "
        "copy it again"
    )


# -- NumPy -----------------------------------------------------------------------------------------------------------


def test_an_array_of_an_npz_is_chosen_by_key(tmp_path: Path) -> None:
    path = tmp_path / "data.npz"
    np.savez(path, first=np.zeros((4, 2)), second=np.ones((4, 5)), kind=np.array(list("abca")))
    assert read_header(path, Choice(key="second")) == Header((5,))
    rows = read_rows(path, Choice(key="second", label="kind"))
    assert rows.values.mean() == 1
    assert rows.label is not None
    assert rows.label.tolist() == list("abca")
    assert rows.where(3, [1]) == "data.npz, array 'second', row 3, column 1"
    assert error_of(path) == "'data.npz' has the arrays first, second, kind; choose one with key"
    assert error_of(path, Choice(key="secnd")) == (
        "'data.npz' has no array 'secnd', did you mean 'second'?; its arrays are first, second, kind"
    )
    assert error_of(path, Choice(key="kind")) == "array 'kind' of 'data.npz' has dtype <U1, expected numbers"
    assert error_of(path, Choice(key="first", columns=("a",))) == (
        "'data.npz' has no named columns; leave columns out, or use CSV or Parquet"
    )
    assert error_of(path, Choice(key="first", label="second")) == (
        "label 'second' of 'data.npz' has shape (4, 5) and type float64, "
        "expected (4,) numbers or strings, one for each row"
    )


@pytest.mark.parametrize("header", [True, False])
def test_errors_of_numpy(tmp_path: Path, header: bool) -> None:
    path = tmp_path / "x.npy"
    np.save(path, np.zeros(5))
    assert error_of(path, header=header) == "'x.npy' has shape (5,), expected (samples, values) or more dimensions"
    np.save(path, np.zeros((5, 2), complex))
    assert error_of(path, header=header) == "'x.npy' has dtype complex128, expected numbers"
    np.save(path, np.array([[{}]]), allow_pickle=True)
    assert "numbers" in error_of(path, header=True)
    assert "cannot be read" in error_of(path)
    if not header:
        np.save(path, np.zeros((0, 2)))
        assert error_of(path) == "'x.npy' holds no samples (an array of shape (0, 2)), expected rows of numbers"
        assert error_of(path, Choice(label="y")) == "'x.npy' holds one array and no label 'y'; put both into an .npz"


def test_describing_an_array_reads_its_header_only(tmp_path: Path) -> None:
    path = tmp_path / "x.npy"
    np.save(path, np.zeros((1000, 20)))
    path.write_bytes(path.read_bytes()[:200])
    assert read_header(path, Choice()) == Header((20,))
    message = error_of(path)
    assert message.startswith(f"'{path}' cannot be read (")
    assert message.endswith("); save it again with numpy.save, without objects")


# -- Parquet ---------------------------------------------------------------------------------------------------------


def test_numeric_columns_of_parquet(tmp_path: Path) -> None:
    path = tmp_path / "rows.parquet"
    columns = {"i": [1, None, 3], "f": [0.5, 1.5, None], "b": [True, False, True], "name": ["u", "v", "u"]}
    pq.write_table(pa.table(columns), path)
    rows = read_rows(path, Choice(label="name"))
    np.testing.assert_array_equal(rows.values, [[1, 0.5, 1], [np.nan, 1.5, 0], [3, np.nan, 1]])
    assert rows.columns == ("i", "f", "b")
    assert rows.label is not None
    assert rows.label.tolist() == ["u", "v", "u"]
    assert read_header(path, Choice(label="name")) == rows.header
    assert error_of(path) == (
        "'rows.parquet': column 'name' (string) holds no numbers; leave it out with data.exclude=[name], or use a "
        "column as data.label or data.id"
    )


def test_parquet_without_pyarrow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = text(tmp_path, "PAR1", "rows.parquet")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    assert error_of(path) == (
        "'rows.parquet' needs pyarrow, which is not installed; install it with pip install 'aeframe[parquet]'"
    )


def test_a_wide_table_is_read_quickly(tmp_path: Path) -> None:
    names = [f"gene {column}" for column in range(20_000)]
    rows = [",".join(["Oslo", *["1.5"] * 20_000])] * 2
    path = text(tmp_path, "\n".join([",".join(["city", *names]), *rows]) + "\n")
    start = time.process_time()
    rows_read = read_rows(path, Choice(label="city"))
    # Processor time; looking up each column in a list took 7 s.
    assert time.process_time() - start < 4
    assert rows_read.values.shape == (2, 20_000)


# -- labels ----------------------------------------------------------------------------------------------------------


def test_labels_are_encoded_alike_in_every_split() -> None:
    (train, test), names = encode_labels(np.array(["b", "c", "b"]), np.array(["a", "c"]))
    assert names == ("a", "b", "c")
    assert train.tolist() == [1, 2, 1]
    assert test.tolist() == [0, 2]
    (whole,), names = encode_labels(np.array([1.0, 7.0]))
    assert whole.dtype == np.int64
    assert names is None
    (ages,), _ = encode_labels(np.array([1.5, np.nan]))
    assert ages.dtype == np.float32
    (mixed, words), names = encode_labels(np.array([1, 2]), np.array(["x"]))
    assert names == ("1", "2", "x")
    assert [*mixed.tolist(), *words.tolist()] == [0, 1, 2]
