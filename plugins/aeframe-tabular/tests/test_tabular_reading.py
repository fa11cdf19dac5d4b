"""Reading tables of mixed types: every format, dialect and kind of bad input."""

from __future__ import annotations

import gzip
import sqlite3
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest

from aeframe.errors import AeframeError
from aeframe_tabular.reading import RawTable, TableOptions, frame_of, read_frame


def write(folder: Path, content: str | bytes, name: str = "t.csv") -> Path:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def cells(raw: RawTable) -> dict[str, list[Any]]:
    """Return the values of each column, None where missing."""
    frame = raw.frame.astype(object)
    return {str(name): column.where(column.notna(), None).tolist() for name, column in frame.items()}


def error_of(path: Path, options: TableOptions = TableOptions()) -> str:  # noqa: B008
    with pytest.raises(AeframeError) as error:
        read_frame(path, options)
    return str(error.value)


XY = {"a": [1, 2], "b": ["x", "y"]}


@pytest.mark.parametrize(
    ("content", "name", "expected"),
    [
        ("a,b\n1,x\n2,y\n", "t.csv", XY),
        ("a,b\r\n1,x\r\n2,y\r\n", "t.csv", XY),
        ("a,b\r1,x\r2,y\r", "t.csv", XY),
        ("\n\na,b\n\n1,x\n\n2,y", "t.csv", XY),
        ("a;b\n1;x\n2;y\n", "t.csv", XY),
        ("sep=;\na;b\n1;x\n2;y\n", "t.csv", XY),
        ("a\tb\n1\tx\n2\ty\n", "t.tsv", XY),
        ("a|b\n1|x\n2|y\n", "t.txt", XY),
        ("a   b\n1 x\n2    y\n", "t.dat", XY),
        ("\ufeffa,b\n1,x\n2,y\n", "t.csv", XY),
        ("a,b\n1,x\n2,y\n".encode("utf-16"), "t.csv", XY),
        (gzip.compress(b"a,b\n1,x\n2,y\n", mtime=0), "t.csv.gz", XY),
        ("a,b\n1,\u00e9\n2,y\n".encode("latin-1"), "t.csv", {"a": [1, 2], "b": ["\u00e9", "y"]}),
        ('a,b\n1,"x, ""z"""\n2,"y\nw"\n', "t.csv", {"a": [1, 2], "b": ['x, "z"', "y\nw"]}),
        # Blanks around cells, also before quotation marks.
        ('a, b\n 1 , "x, z"\n2, y \n', "t.csv", {"a": [1, 2], "b": ["x, z", "y"]}),
        (",a\n0,7\n1,8\n", "t.csv", {"a": [7, 8]}),
    ],
)
def test_text_of_any_dialect_is_read(tmp_path: Path, content: str | bytes, name: str, expected: dict[str, Any]) -> None:
    assert cells(read_frame(write(tmp_path, content, name))) == expected


@pytest.mark.parametrize(
    ("column", "expected", "dtype"),
    [
        (["1", "-2", "+3"], [1, -2, 3], "int64"),
        (["1", "NA", " ? ", "", "n/a", "nan"], [1, None, None, None, None, None], "Int64"),
        (["1.5", "-", ".", "2."], [1.5, None, None, 2.0], "float64"),
        (["1e5", ".5"], [1e5, 0.5], "float64"),
        (["x", "-", "?"], ["x", "-", None], "string"),
        (["0x1F", "0x2F"], ["0x1F", "0x2F"], "string"),
        (["1_000", "2_000"], ["1_000", "2_000"], "string"),
        (["007", "12"], ["007", "12"], "string"),
        (["-0.5", "0.25", "0"], [-0.5, 0.25, 0.0], "float64"),
        (["1", "x"], ["1", "x"], "string"),
        ([str(2**53), "1"], [2**53, 1], "int64"),
        ([str(2**53 + 1), "1"], [str(2**53 + 1), "1"], "string"),
        ([str(10**24), "1.5"], [str(10**24), "1.5"], "string"),
        (["True", "false"], ["True", "false"], "string"),
        (["", "NA"], [None, None], "string"),
    ],
)
# Many rows are converted by their distinct cells.
@pytest.mark.parametrize("repeats", [1, 40])
def test_numbers_are_numbers_only_if_the_whole_column_allows_it(
    tmp_path: Path, column: list[str], expected: list[Any], dtype: str, repeats: int
) -> None:
    content = "a,b\n" + "".join(f'"{cell}",x\n' for cell in column * repeats)
    raw = read_frame(write(tmp_path, content), TableOptions(delimiter=","))
    assert str(raw.frame["a"].dtype) == dtype
    assert cells(raw)["a"] == expected * repeats


def test_each_column_may_have_its_own_decimal_mark(tmp_path: Path) -> None:
    raw = read_frame(write(tmp_path, "a;b;c\n1,5;1.5;x\n2,25;2;y\n"))
    assert cells(raw) == {"a": [1.5, 2.25], "b": [1.5, 2.0], "c": ["x", "y"]}
    raw = read_frame(write(tmp_path, 'a,b\n"1,234.50",x\n"2,345",y\n3.5,z\n'))
    assert cells(raw)["a"] == [1234.5, 2345.0, 3.5]
    assert raw.notes == ["'t.csv', column 'a' has separators of thousands"]


def test_user_marks_are_missing(tmp_path: Path) -> None:
    path = write(tmp_path, "a,b\n1,x\n-999,UNK\n-999.0,unk\n")
    assert cells(read_frame(path, TableOptions(missing=(-999, "unk")))) == {
        "a": [1, None, None],
        "b": ["x", None, None],
    }


def test_notes_name_the_line_of_what_is_unusual(tmp_path: Path) -> None:
    numbers = "".join(f"{number},{number}\n" for number in range(30))
    raw = read_frame(write(tmp_path, f"a,zip\n{numbers}forty,01\n"))
    assert raw.notes == [
        "'t.csv', column 'a' holds numbers and text, such as 'forty' (line 32), and is read as text",
        "'t.csv', column 'zip' has numbers with leading zeros, such as 01 (line 32), and is read as text",
    ]
    raw = read_frame(write(tmp_path, "1,x,2.5\n2,y,3.5\n"))
    assert "has no header" in raw.notes[0]
    assert list(raw.frame) == ["0", "1", "2"]


def test_how_a_file_is_written_is_returned(tmp_path: Path) -> None:
    raw = read_frame(write(tmp_path, "a\tb\n1,5\tx\n2,5\ty\n", "t.tsv"))
    assert (raw.options.delimiter, raw.options.decimal, raw.options.header) == ("tab", ",", True)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("", "is empty, expected rows of a table"),
        ("a,b\n", "has no rows below its header"),
        ("a,b\n1,x\n2\n", "line 3 has 1 cell (none for column 'b'), expected 2"),
        ("a,b\n1,x\n2,y,\n", "line 3 has 3 cells, expected 2"),
        ("a,b\n1,x,\n2,y,\n", "the header has 2 names, and the rows have 3 cells"),
        ('a,b\n1,x\n2,"y\n3,z\n', "line 3 has a quotation mark that is not closed"),
        ("a,b,a\n1,2,3\n", "has two columns named 'a' (columns 1 and 3)"),
        ("a,,b\n1,2,3\n", "column 2 of 't.csv' has no name"),
        ("a,b\n1,x\n2,y\ninf,z\n", "line 4, column 'a' is infinite"),
        (b"\x89PNG\r\n\0\0\0\rIHDR" * 20, "cannot be read as text"),
    ],
)
def test_bad_text_is_a_sentence_with_line_and_column(tmp_path: Path, content: str | bytes, sentence: str) -> None:
    message = error_of(write(tmp_path, content))
    assert "t.csv" in message
    assert sentence in message


def test_bad_rows_are_left_out_and_listed(tmp_path: Path) -> None:
    path = write(tmp_path, 'a,b\n1,x\n2\n"3",inf\n\n4,5,6\n5,1.5\nx,2.5\n')
    raw = read_frame(path, TableOptions(missing=("x",)), "skip")
    assert cells(raw) == {"a": [1, 5, None], "b": [None, 1.5, 2.5]}
    assert raw.bad == {
        3: "'t.csv', line 3 has 1 cell (none for column 'b'), expected 2",
        6: "'t.csv', line 6 has 3 cells, expected 2",
        4: "t.csv, line 4, column 'b' is infinite",
    }
    assert [raw.where(row) for row in range(3)] == ["t.csv, line 2", "t.csv, line 7", "t.csv, line 8"]


def test_columns_are_chosen_by_name(tmp_path: Path) -> None:
    path = write(tmp_path, "alpha,b,c\n1,x,2\n3,y,4\n")
    assert list(read_frame(path, TableOptions(columns=("c", "alpha"))).frame) == ["c", "alpha"]
    assert list(read_frame(path, TableOptions(exclude=("b",))).frame) == ["alpha", "c"]
    assert "no column 'alhpa' for data.columns, did you mean 'alpha'?" in error_of(
        path, TableOptions(columns=("alhpa",))
    )


def test_quick_and_careful_parsers_return_the_same(tmp_path: Path) -> None:
    rows = "".join(f'{number},"{number % 7}, x",{number / 8}\n' for number in range(500))
    quick = read_frame(write(tmp_path, f"a,b,c\n{rows}"))
    careful = read_frame(write(tmp_path, f"a,b,c\n{rows}".replace("\n", "\r")))
    pd.testing.assert_frame_equal(quick.frame, careful.frame)
    assert quick.where(300) == careful.where(300) == "t.csv, line 302"


FRAME = pd.DataFrame(
    {
        "whole": [1, 2, 3],
        "gaps": pd.array([1, None, 3], "Int64"),
        "real": [0.5, np.nan, 2.0],
        "flag": [True, False, True],
        "text": pd.array(["x", None, "\u00e9"], "string[pyarrow]"),
        "when": pd.to_datetime(["2020-01-01 00:00", None, "2020-03-01 10:30"]),
    }
)


@pytest.mark.parametrize("name", ["t.parquet", "t.feather", "t.xlsx"])
def test_files_with_types_keep_them(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    {".parquet": FRAME.to_parquet, ".feather": FRAME.to_feather}.get(
        path.suffix, lambda p: FRAME.to_excel(p, index=False)
    )(path)
    pd.testing.assert_frame_equal(read_frame(path).frame, FRAME)


@pytest.mark.parametrize(
    "convert", [lambda frame: frame, pl.from_pandas, lambda frame: pl.from_pandas(frame).to_arrow()]
)
def test_frames_in_memory_keep_their_types(convert: Any) -> None:
    before = FRAME.copy(deep=True)
    pd.testing.assert_frame_equal(frame_of(convert(FRAME)).frame, FRAME)
    pd.testing.assert_frame_equal(FRAME, before)


def test_columns_of_objects_are_read_by_what_they_hold() -> None:
    frame = pd.DataFrame(
        {
            "whole": pd.Series([1, None, 2], dtype=object),
            "mixed": [1, "x", 2.5],
            "nested": [[1], [2], [3]],
            "large": [2**60, 2**60 + 1, 3],
            "truth": pd.Series([True, None, False], dtype=object),
        }
    )
    raw = frame_of(frame)
    assert {name: str(dtype) for name, dtype in raw.frame.dtypes.items()} == {
        "whole": "Int64", "mixed": "string", "large": "string", "truth": "boolean",
    }  # fmt: skip
    assert cells(raw)["large"] == [str(2**60), str(2**60 + 1), "3"]
    assert raw.notes == [
        "the frame, column 'mixed' holds numbers and text, such as 'x' (row 1), and is read as text",
        "the frame, column 'nested' holds a list in each cell, and is left out",
        "the frame, column 'large' has integers beyond 2**53, and is read as text",
    ]


@pytest.mark.parametrize(
    ("x", "sentence"),
    [
        (3, "is of type int, expected a frame"),
        (pd.DataFrame({"a": []}), "has no rows"),
        ({"a": [1, 2], "b": [1]}, "differ in length"),
        (pd.DataFrame([[1, 2]], columns=["a", "a"]), "two columns named 'a'"),
        (pd.DataFrame({"a": [1.0, np.inf]}), "row 1, column 'a' is infinite"),
    ],
)
def test_bad_frames_are_a_sentence(x: Any, sentence: str) -> None:
    with pytest.raises(AeframeError, match=sentence):
        frame_of(x)


def test_excel_names_sheets_and_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "t.xlsx"
    with pd.ExcelWriter(path) as writer:
        FRAME.to_excel(writer, sheet_name="first", index=False)
        pd.DataFrame([[None, "title"], [None, None], ["a", "b"], [1, "1,5"], [2, "#N/A"]]).to_excel(
            writer, sheet_name="other sheet", index=False, header=False
        )
    assert "2 sheets (first, other sheet); choose one with data.sheet=first" in error_of(path)
    assert "no sheet 'frist', did you mean 'first'?" in error_of(path, TableOptions(sheet="frist"))
    raw = read_frame(path, TableOptions(sheet="other sheet"))
    assert cells(raw) == {"a": [1, 2], "b": [1.5, None]}
    assert raw.where(1) == "t.xlsx, row 5"
    assert raw.notes == [
        "'t.xlsx': the table begins in row 3 of sheet 'other sheet'",
        "'t.xlsx', column 'b' has a decimal comma",
    ]
    monkeypatch.setitem(sys.modules, "openpyxl", None)
    assert "needs openpyxl, which is not installed" in error_of(path)


def test_sqlite_reads_tables_and_queries_and_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "t.sqlite"
    connection = sqlite3.connect(path)
    connection.execute('create table "my rows" (a integer, b text, c real)')
    connection.executemany('insert into "my rows" values (?, ?, ?)', [(1, "x", 0.5), (None, None, 1.5), (3, "x", None)])
    connection.commit()
    before = path.read_bytes()
    raw = read_frame(path)
    assert cells(raw) == {"a": [1, None, 3], "b": ["x", None, "x"], "c": [0.5, 1.5, None]}
    assert str(raw.frame["a"].dtype) == "Int64"
    query = 'select b, count(*) as num from "my rows" group by b order by b'
    assert cells(read_frame(path, TableOptions(query=query))) == {"b": [None, "x"], "num": [1, 2]}
    assert "readonly" in error_of(path, TableOptions(query='delete from "my rows"'))
    assert "no such table: x" in error_of(path, TableOptions(query="select * from x"))
    connection.execute("create table other (a integer)")
    connection.commit()
    connection.close()
    assert "2 tables (my rows, other); choose one with 'data.table=my rows'" in error_of(path)
    assert "no table 'othr', did you mean 'other'?" in error_of(path, TableOptions(table="othr"))
    assert "exclude each other" in error_of(path, TableOptions(table="other", query=query))
    assert len(before) > 0


def test_npz_has_names(tmp_path: Path) -> None:
    path = tmp_path / "t.npz"
    np.savez(path, a=np.array([1, 2]), b=np.array(["x", "y"]))
    assert cells(read_frame(path)) == XY
    np.savez(path, rows=np.array([(1, "x"), (2, "y")], dtype=[("a", "i8"), ("b", "U3")]))
    assert cells(read_frame(path)) == XY
    np.savez(path, x=np.array([[1.5, 2.0], [3.0, 4.0]]), columns=["a", "b b"])
    assert cells(read_frame(path)) == {"a": [1.5, 3.0], "b b": [2.0, 4.0]}
    np.savez(path, x=np.ones((2, 2)), columns=["a"])
    assert "2 columns in 'x' and 1 names" in error_of(path)
    np.savez(path, x=np.ones((2, 2)))
    assert "without names" in error_of(path)
    np.savez(path, a=np.ones(2), b=np.ones(3))
    assert "columns of different lengths (a: 2, b: 3)" in error_of(path)


@pytest.mark.parametrize("name", ["t.parquet", "t.feather", "t.xlsx", "t.db", "t.npz"])
def test_damaged_files_are_a_sentence(tmp_path: Path, name: str) -> None:
    assert "t." in error_of(write(tmp_path, b"no table" * 100, name))


def test_missing_and_unknown_files_are_a_sentence(tmp_path: Path) -> None:
    write(tmp_path, "a\n1\n", "table.csv")
    assert "did you mean 'table.csv'?" in error_of(tmp_path / "tabel.csv")
    assert "save it as .xlsx" in error_of(write(tmp_path, "x", "t.xls"))
    (tmp_path / "f.csv").mkdir()
    assert "is a folder" in error_of(tmp_path / "f.csv")


def test_the_index_of_a_frame_is_kept(tmp_path: Path) -> None:
    frame = pd.DataFrame({"a": [1, 2]}, index=pd.Index(["r1", "r2"], name="key"))
    frame.to_parquet(tmp_path / "t.parquet")
    pd.testing.assert_frame_equal(read_frame(tmp_path / "t.parquet").frame, frame)
    pd.testing.assert_frame_equal(frame_of(frame).frame, frame)
