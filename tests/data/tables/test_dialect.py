"""Delimiters, decimal marks, encodings and compressions of text tables are found out, and stated in notes."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from aeframe.data.tables import Choice, Header, TextOptions, options_like, read_header, read_rows
from aeframe.data.tables.dialect import DialectError
from aeframe.errors import AeframeError

VALUES = [[1.5, -2.25], [300.0, 0.125], [-0.5, 7.0]]
PLAIN = "a,b\n1.5,-2.25\n300,0.125\n-0.5,7\n"
"""`VALUES` in the usual dialect."""


def written(path: Path, content: str, encoding: str = "utf-8") -> Path:
    path.write_bytes(content.encode(encoding))
    return path


def with_commas(delimiter: str) -> str:
    """Return `PLAIN` with another delimiter and decimal commas."""
    return PLAIN.replace(",", delimiter).replace(".", ",")


@pytest.mark.parametrize(
    ("content", "notes"),
    [
        (PLAIN, []),
        (PLAIN.replace(",", ", "), []),
        (PLAIN.replace(",", ";"), ["cells are separated by semicolons"]),
        (PLAIN.replace(",", "\t"), ["cells are separated by tabs"]),
        (PLAIN.replace(",", "|"), ["cells are separated by '|'"]),
        (PLAIN.replace(",", "   "), ["cells are separated by blanks"]),
        ("".join(f"  {line} \n" for line in PLAIN.replace(",", " \t").splitlines()), ["cells are separated by tabs"]),
        (with_commas(";"), ["cells are separated by semicolons", "numbers have a decimal comma"]),
        (with_commas("\t"), ["cells are separated by tabs", "numbers have a decimal comma"]),
        ('a,b\n"1,5","-2,25"\n300,"0,125"\n"-0,5",7\n', ["numbers have a decimal comma"]),
        (f"sep=;\n{with_commas(';')}", [
            "the first line states that cells are separated by semicolons", "numbers have a decimal comma"
        ]),
        (f'\n"sep=,"\n{PLAIN}', ["the first line states that cells are separated by commas"]),
    ],
)  # fmt: skip
def test_a_dialect_is_found_and_noted(tmp_path: Path, content: str, notes: list[str]) -> None:
    path = written(tmp_path / "rows.csv", content)
    rows = read_rows(path, Choice())
    np.testing.assert_array_equal(rows.values, VALUES)
    assert rows.columns == ("a", "b")
    assert read_header(path, Choice()) == Header((2,), ("a", "b"))
    assert rows.notes == tuple(f"'rows.csv': {note}" for note in notes)
    first = content[: content.index("-2")].count("\n") + 1
    assert [rows.where(row) for row in range(3)] == [f"rows.csv, line {first + row}" for row in range(3)]


def test_rows_without_a_header_may_have_decimal_commas(tmp_path: Path) -> None:
    rows = read_rows(written(tmp_path / "rows.csv", with_commas(";").partition("\n")[2]), Choice())
    np.testing.assert_array_equal(rows.values, VALUES)
    assert rows.columns is None


def test_the_suffix_states_the_usual_delimiter(tmp_path: Path) -> None:
    assert read_rows(written(tmp_path / "rows.tsv", PLAIN.replace(",", "\t")), Choice()).notes == ()
    rows = read_rows(written(tmp_path / "rows.tsv", PLAIN), Choice())
    assert rows.notes == ("'rows.tsv': cells are separated by commas",)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("a;b\n1,234;2,500\n3,000;4,125\n", (
            "'rows.csv': the comma in '1,234' can be a decimal mark or separate thousands; set data.decimal to ',' or "
            "'.', and remove separators of thousands"
        )),
        ("1;2|3\n4;5|6\n", (
            "'rows.csv': cells can be separated by semicolons or by '|'; set data.delimiter, such as data.delimiter=';'"
        )),
    ],
)  # fmt: skip
def test_doubtful_dialects_are_refused(tmp_path: Path, content: str, message: str) -> None:
    path = written(tmp_path / "rows.csv", content)
    with pytest.raises(DialectError) as refused:
        read_header(path, Choice())
    assert str(refused.value) == message


@pytest.mark.parametrize(
    ("options", "values"),
    [
        (TextOptions(delimiter=";", decimal=","), [[1.234, 2.5], [3, 4.125]]),
        (TextOptions(decimal=","), [[1.234, 2.5], [3, 4.125]]),
        (TextOptions(delimiter=",", header=True), None),
    ],
)
def test_what_is_stated_is_not_guessed(tmp_path: Path, options: TextOptions, values: list[list[float]] | None) -> None:
    path = written(tmp_path / "rows.csv", "a;b\n1,234;2,500\n3,000;4,125\n")
    if values is None:
        with pytest.raises(AeframeError, match="line 2: the row has 3 cells, expected 1 as above it"):
            read_rows(path, Choice(text=options))
        return
    rows = read_rows(path, Choice(text=options))
    np.testing.assert_array_equal(rows.values, values)


@pytest.mark.parametrize(
    ("cell", "problem"),
    [
        ("1,234", "'1,234', with a separator of thousands or another decimal mark, is not a number"),
        ("12%", "'12%', a percentage, is not a number"),
        ("1_000", "'1_000' is not a number"),
        ("x" * 60, f"'{'x' * 37}...' is not a number"),
    ],
)
def test_cells_that_are_almost_numbers(tmp_path: Path, cell: str, problem: str) -> None:
    path = written(tmp_path / "rows.csv", f'a,b\n1.5,2.5\n1.5,2.5\n"{cell}",3.5\n')
    with pytest.raises(AeframeError) as refused:
        read_rows(path, Choice())
    assert str(refused.value).startswith(f"rows.csv, line 4, column 'a': {problem}; leave it out with data.exclude=[a]")


def test_a_point_is_no_decimal_mark_beside_a_decimal_comma(tmp_path: Path) -> None:
    path = written(tmp_path / "rows.csv", "a;b\n" + "1,5;2,5\n" * 200 + "1.234;2,5\n")
    with pytest.raises(AeframeError, match=r"line 202, column 'a': '1.234' is not a number"):
        read_rows(path, Choice())


@pytest.mark.parametrize(
    ("encoding", "note"),
    [
        ("utf-8-sig", None),
        ("utf-16", "'rows.csv' was read as UTF-16"),
        ("utf-16-le", "'rows.csv' was read as UTF-16-LE"),
        ("utf-16-be", "'rows.csv' was read as UTF-16-BE"),
        ("utf-32", "'rows.csv' was read as UTF-32"),
        ("latin-1", (
            "'rows.csv' is not UTF-8, and was read as Windows-1252 (Western European); set data.encoding if it is "
            "another"
        )),
    ],
)  # fmt: skip
@pytest.mark.parametrize("decimal", [".", ","])
def test_an_encoding_is_found_and_noted(tmp_path: Path, encoding: str, note: str | None, decimal: str) -> None:
    content = (PLAIN if decimal == "." else with_commas(";")).replace("a", "größe", 1)
    path = written(tmp_path / "rows.csv", content, encoding)
    rows = read_rows(path, Choice())
    assert rows.columns == ("größe", "b")
    np.testing.assert_array_equal(rows.values, VALUES)
    assert rows.notes[: len(rows.notes) - 2 * (decimal == ",")] == (() if note is None else (note,))


def test_an_encoding_that_is_stated(tmp_path: Path) -> None:
    path = written(tmp_path / "rows.csv", "вес,b\n1,2\n", "cp1251")
    rows = read_rows(path, Choice(text=TextOptions(encoding="cp1251")))
    assert rows.columns == ("вес", "b")
    assert rows.notes == ()
    for encoding, message in (
        ("utf-8", f"'{path}' cannot be read as utf-8 (byte 0 is 0xe2); set data.encoding to its encoding, such as"),
        ("utf8000", "data.encoding is 'utf8000', which Python does not know; set utf-8, utf-16 or cp1252"),
    ):
        with pytest.raises(AeframeError) as refused:
            read_rows(path, Choice(text=TextOptions(encoding=encoding)))
        assert str(refused.value).startswith(message)


def zipped(content: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("rows.csv", content)
        archive.writestr("__MACOSX/._rows.csv", b"\0\1")
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("suffix", "compress"),
    [
        (".gz", gzip.compress),
        (".bz2", bz2.compress),
        (".xz", lzma.compress),
        (".zip", zipped),
        (".zst", lambda content: pa.compress(content, "zstd", asbytes=True)),
    ],
)
def test_compressed_files(tmp_path: Path, suffix: str, compress: Callable[[bytes], bytes]) -> None:
    path = tmp_path / f"rows.csv{suffix}"
    path.write_bytes(compress(PLAIN.encode()))
    np.testing.assert_array_equal(read_rows(path, Choice()).values, VALUES)
    path.write_bytes(compress(PLAIN.encode() * 3000)[:-30])
    with pytest.raises(AeframeError, match="cannot be read"):
        read_rows(path, Choice())


def test_a_file_that_expands_beyond_the_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AEFRAME_MAX_GB", "0.002")
    path = tmp_path / "rows.csv.gz"
    path.write_bytes(gzip.compress(b"1,2\n" * 1_000_000))
    with pytest.raises(AeframeError, match=r"'rows.csv.gz': its content would occupy .* and the limit is 2 MB"):
        read_rows(path, Choice())


def test_quotation_marks_that_are_not_closed(tmp_path: Path) -> None:
    path = written(tmp_path / "rows.csv", 'a,b\n1,x\n2,"y\n3,z\n')
    for choice in (Choice(label="b"), Choice()):
        with pytest.raises(AeframeError) as refused:
            read_rows(path, choice)
        assert "line 3 has a quotation mark that is not closed; close or remove it" in str(refused.value)
    written(path, 'a,b\n1,x\n2,"y\n' + "3,z\n" * 50_000)
    with pytest.raises(AeframeError) as refused:
        read_rows(path, Choice(label="b"))
    assert str(refused.value) == (
        "'rows.csv', line 3 cannot be read (field larger than field limit (131072)); look for a quotation mark that is "
        "not closed"
    )


def test_all_columns_of_words_are_named_at_once(tmp_path: Path) -> None:
    path = written(tmp_path / "rows.csv", "age,sex,my town,true\n3,male,Oslo,1\n4,female,Rome,0\n")
    with pytest.raises(AeframeError) as refused:
        read_rows(path, Choice())
    assert str(refused.value) == (
        "'rows.csv' has 2 columns that are no numbers: 'sex' ('male' in line 2), 'my town' ('Oslo' in line 2); leave "
        "them out with data.exclude='[sex,\"my town\"]', use a column as data.label or data.id, or name marks for "
        "missing values with data.missing"
    )
    assert read_rows(path, Choice(exclude=("sex", "my town"))).columns == ("age", "true")


def test_rows_that_cannot_be_read_may_be_kept(tmp_path: Path) -> None:
    path = written(tmp_path / "rows.csv", "a,b\n1,2\n3,x\n4\n5,6\n7,8\n9,10\n")
    rows = read_rows(path, Choice(), keep_bad=True)
    assert rows.bad == {
        1: "rows.csv, line 3, column 'b': 'x' is not a number",
        2: "rows.csv, line 4: the row has 1 cells, expected 2 as above it",
    }
    np.testing.assert_array_equal(rows.values[[0, 3, 5]], [[1, 2], [5, 6], [9, 10]])
    with pytest.raises(AeframeError, match=r"column 'b' \('x' in line 2\) holds no numbers"):
        read_rows(written(path, "a,b\n1,x\n3,y\n4,5\n"), Choice(), keep_bad=True)


def test_a_new_file_is_read_as_it_is_written(tmp_path: Path) -> None:
    trained = TextOptions(delimiter=";", decimal=",", missing=(-999,))
    path = written(tmp_path / "new.csv", PLAIN)
    assert options_like(path, ("a", "b"), trained) == TextOptions(header=True, missing=(-999,))
    # The options of training decide what is doubtful.
    written(path, "a;b\n1,234;2,500\n")
    assert options_like(path, ("a", "b"), trained) == TextOptions(True, ";", ",", None, (-999,))
    with pytest.raises(DialectError):
        options_like(path, ("a", "b"), TextOptions())


@pytest.mark.parametrize(
    ("content", "ids"),
    [
        (",a,b\n0,1.5,2\n1,2.5,3\n", ["0", "1"]),
        (",a,b\nx7,1.5,2\nx9,2.5,3\n", ["x7", "x9"]),
        ("Unnamed: 0,a,b\n7,1.5,2\n9,2.5,3\n", ["7", "9"]),
    ],
)
def test_a_first_column_without_a_name_identifies_the_rows(tmp_path: Path, content: str, ids: list[str]) -> None:
    path = written(tmp_path / "rows.csv", content)
    rows = read_rows(path, Choice())
    assert read_header(path, Choice()) == rows.header == Header((2,), ("a", "b"))
    assert rows.names is not None
    assert rows.names.tolist() == ids
    assert rows.notes[0].endswith("identifies the rows, and is no column of x")
    chosen = read_rows(path, Choice(columns=("a",), id="b"))
    assert chosen.names is not None
    assert (chosen.names.tolist(), chosen.id_column) == (["2", "3"], "b")


@pytest.mark.parametrize("name", ["id", "b"])
def test_whole_numbers_that_would_be_rounded_are_refused(tmp_path: Path, name: str) -> None:
    path = written(tmp_path / "rows.csv", f"a,{name}\n1,9007199254740993\n2,1e20\n")
    with pytest.raises(AeframeError) as refused:
        read_rows(path, Choice())
    assert str(refused.value) == (
        "'rows.csv': whole numbers beyond 2**53 cannot be stored exactly, and are identifiers rather than values: "
        f"column '{name}' (9007199254740993 in line 2); leave it out with data.exclude=[{name}], use one as data.id, "
        "or write the values with a decimal point"
    )
    np.testing.assert_array_equal(read_rows(written(path, "a,b\n1,1e30\n"), Choice()).values, [[1, 1e30]])
    labels = read_rows(written(path, "a,b\n1,9007199254740993\n2,9007199254740992\n"), Choice(label="b")).label
    assert labels is not None
    assert labels.tolist() == [9007199254740993, 9007199254740992]
