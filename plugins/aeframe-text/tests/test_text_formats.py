"""Formats, encodings and records of files of texts: what is read, named, noted and refused."""

from __future__ import annotations

import gzip
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from aeframe import AeframeError
from aeframe.data.new_output import write_new
from aeframe.data.notes import Notes
from aeframe_text import streams, writing
from aeframe_text.reading import ReadOptions
from aeframe_text.text_files import TextFiles, open_texts, read_texts
from aeframe_text.texts import Line
from aeframe_text.writing import file_names


def write_texts(path: Path, texts: list[str], *, names: list[str] | None = None) -> list[Path]:
    def write(partial: Path) -> list[Path]:
        return writing.write_texts(partial, [[text] for text in texts], num=len(texts), names=names)

    return write_new(path, write)


def read(path: Path, **options: Any) -> tuple[list[Line], list[str]]:
    """Return the texts and notes of a file."""
    notes = Notes()
    return read_texts(path, ReadOptions(**options), notes), list(notes)


def error_of(path: Path, **options: Any) -> str:
    with pytest.raises(AeframeError) as caught:
        read(path, **options)
    return str(caught.value)


def write_json(path: Path, records: Sequence[object]) -> Path:
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path


# -- records ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "label"),
    [("pos", "pos"), (3, "3"), (-1, "-1"), (2.0, "2"), (True, "true"), (False, "false"), (None, None), ("", None),
     (float("nan"), None)],
)  # fmt: skip
def test_labels_are_names_whole_numbers_and_truth_values(value: object, label: str | None, tmp_path: Path) -> None:
    path = write_json(tmp_path / "a.jsonl", [{"text": "a cat", "y": value}, {"text": "a dog"}])
    lines, _ = read(path, label="y")
    assert [(line.problem, line.label) for line in lines] == [(None, label), (None, None)]


@pytest.mark.parametrize(
    ("value", "found"), [(0.5, "0.5"), ([1, 2], "a list"), ({"a": 1}, "an object"), (float("inf"), "inf")]
)
def test_what_is_no_class_is_a_problem(value: object, found: str, tmp_path: Path) -> None:
    (line,), _ = read(write_json(tmp_path / "a.jsonl", [{"text": "a cat", "y": value}]), label="y")
    assert line.problem == f"has under the label 'y' {found}, expected the name of a class"
    # A trained model needs no label.
    reading = ReadOptions.from_state(ReadOptions(label="y").state())
    assert [line.problem for line in open_texts(tmp_path / "a.jsonl", reading, Notes())] == [None]


def test_missing_labels_are_counted_and_labels_that_no_text_has_are_refused(tmp_path: Path) -> None:
    records: list[dict[str, Any]] = [{"text": f"text {n}", "y": None if n % 4 else n % 3} for n in range(20)]
    path = write_json(tmp_path / "a.jsonl", records)
    dataset = TextFiles(path=path, label="y")
    dataset.load()
    assert list(dataset.notes) == ["'a.jsonl': 15 of 20 texts have no label under 'y'; their label is -1"]
    with pytest.raises(AeframeError) as caught:
        TextFiles(path=path, label="z").load()
    assert str(caught.value) == "'a.jsonl' has no label under 'z' in any of 20 texts; set data.label"


def test_keys_may_be_paths(tmp_path: Path) -> None:
    records = [{"data": {"text": "a cat", "k": 1}, "id": 7}, {"data.text": "literal", "data": {"text": "nested"}}]
    lines, _ = read(write_json(tmp_path / "a.jsonl", records), column="data.text", label="data.k", names="id")
    assert [(line.text, line.label, line.name) for line in lines] == [
        ("a cat", "1", "7"),
        ("literal", None, "a.jsonl:2"),
    ]
    (line, _), _ = read(tmp_path / "a.jsonl", column="txt")
    assert (
        line.problem
        == "has no key 'txt', did you mean 'data.text'? (its keys are data.text, data.k, id; set data.column)"
    )


MESSAGES = [{"role": "user", "content": "Hello"}, {"role": "bot", "content": [{"type": "text", "text": "Hi."}]}]


@pytest.mark.parametrize(
    ("messages", "text", "problem"),
    [
        ("contents", "Hello\nHi.", None),
        ("roles", "user: Hello\nbot: Hi.", None),
        (None, "", "has a list of 2 objects under the key 'messages', expected a string (data.messages=contents or "
         "roles joins them)"),
    ],
)  # fmt: skip
def test_chat_messages_are_joined_by_option(messages: Any, text: str, problem: str | None, tmp_path: Path) -> None:
    path = write_json(tmp_path / "a.jsonl", [{"messages": MESSAGES}])
    (line,), _ = read(path, column="messages", messages=messages)
    assert (line.text, line.problem) == (text, problem)
    path = write_json(tmp_path / "b.jsonl", [{"messages": [*MESSAGES, {"role": "user", "content": None}]}])
    if messages is not None:
        (line,), _ = read(path, column="messages", messages=messages)
        assert line.problem == "has a message without text under the key 'messages', number 3 of 3"


def test_share_gpt_messages_have_other_keys(tmp_path: Path) -> None:
    path = write_json(tmp_path / "a.jsonl", [{"conversations": [{"from": "human", "value": "Hello"}]}])
    assert read(path, column="conversations", messages="roles")[0][0].text == "human: Hello"


def test_json_arrays_and_json_lines_of_the_suffix_json(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(' [{"text": "a"}, "b", {"text": 3}]')
    assert [(line.where, line.text) for line in read(tmp_path / "a.json")[0]] == [
        ("'a.json', object 1", "a"), ("'a.json', object 2", "b"), ("'a.json', object 3", ""),
    ]  # fmt: skip
    (tmp_path / "b.json").write_text('{"text": "a"}\n\n{"text": "b\\u2028c"}\n{"text": "torn')
    lines, _ = read(tmp_path / "b.json")
    assert [(line.where, line.text) for line in lines] == [
        ("'b.json', line 1", "a"), ("'b.json', line 3", "b\u2028c"), ("'b.json', line 4", ""),
    ]  # fmt: skip
    (tmp_path / "c.json").write_text('{\n  "text": ["a", "b"]\n}\n')
    assert error_of(tmp_path / "c.json") == (
        "'c.json' is no JSON array, and its first line is no object; expected an array of objects, or one object on "
        "each line"
    )
    (tmp_path / "d.json").write_text("[" * 100_000)
    assert error_of(tmp_path / "d.json").startswith("'d.json' is not JSON that can be read (nested too deeply)")


def test_json_that_python_refuses_is_a_problem(tmp_path: Path) -> None:
    rows = ["[" * 100_000, '{"text": "a", "n": ' + "1" * 5000 + "}", '{"text": "a\\ud800"}']
    (tmp_path / "a.jsonl").write_text("\n".join(rows))
    assert [line.problem for line in read(tmp_path / "a.jsonl")[0]] == [
        "is not JSON that can be read (nested too deeply)",
        "is not JSON that can be read (a number has too many digits)",
        "has a lone surrogate, character 2",
    ]


def test_parquet(tmp_path: Path) -> None:
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    table = {
        "text": ["a cat", None, " "],
        "y": [1, None, 2],
        "d": [{"t": "x"}, {"t": "y"}, None],
        "m": [MESSAGES[:1]] * 3,
    }
    pq.write_table(pa.table(table), tmp_path / "a.parquet")
    lines, _ = read(tmp_path / "a.parquet", label="y")
    assert [(line.where, line.name, line.problem, line.label) for line in lines] == [
        ("'a.parquet', row 0", "a.parquet:0", None, "1"),
        ("'a.parquet', row 1", "a.parquet:1", "has no text under the key 'text'", None),
        ("'a.parquet', row 2", "a.parquet:2", "is empty", "2"),
    ]
    assert [line.text for line in read(tmp_path / "a.parquet", column="d.t")[0]] == ["x", "y", ""]
    assert read(tmp_path / "a.parquet", column="m", messages="roles")[0][0].text == "user: Hello"
    assert read(tmp_path / "a.parquet", column="y")[0][0].problem == "has a number under the key 'y', expected a string"
    assert error_of(tmp_path / "a.parquet", column="txt") == (
        "'a.parquet' has no column 'txt', did you mean 'text'?; its columns are text, y, d, m; set data.column, or "
        "rename one"
    )
    strings = pa.Array.from_buffers(
        pa.string(), 2, [*pa.array(["good", "bad"]).buffers()[:2], pa.py_buffer(b"good\xff\xfe ")]
    )
    pq.write_table(pa.table({"text": strings}), tmp_path / "c.parquet")
    assert [line.problem for line in read(tmp_path / "c.parquet")[0]] == [None, "is not UTF-8"]
    (tmp_path / "b.parquet").write_bytes(b"PAR1" + b"\0" * 20)
    assert error_of(tmp_path / "b.parquet").startswith("'b.parquet' cannot be read as .parquet (")


# -- tables, molecules and lines -------------------------------------------------------------------------------------


def test_long_fields_are_no_open_quotes(tmp_path: Path) -> None:
    long = "x " * 100_000 + "y"
    (tmp_path / "a.csv").write_text(f'text\nshort\n"{long}"\n')
    assert [line.text for line in read(tmp_path / "a.csv")[0]] == ["short", long]


@pytest.mark.parametrize(("delimiter", "shown"), [(";", "';'"), ("\t", "a tab"), ("|", "'|'")])
def test_another_delimiter_is_found_by_the_column(delimiter: str, shown: str, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(f'id{delimiter}text\n1{delimiter}"a, b"\n')
    lines, notes = read(tmp_path / "a.csv")
    assert [line.text for line in lines] == ["a, b"]
    assert notes == [f"'a.csv': columns are separated by {shown}, with which the header has the column 'text'"]
    assert read(tmp_path / "a.csv", delimiter=delimiter)[1] == []
    with pytest.raises(AeframeError, match="has no column 'text'"):
        read(tmp_path / "a.csv", delimiter=",")


@pytest.mark.parametrize("separator", ["\t", " ", "   "])
def test_smiles_have_names_and_maybe_a_header(separator: str, tmp_path: Path) -> None:
    rows = ["SMILES" + separator + "id", "CCO" + separator + "ethyl alcohol", "", "CCN"]
    (tmp_path / "m.smi").write_text("\n".join(rows) + "\n")
    lines, notes = read(tmp_path / "m.smi")
    assert [(line.text, line.name) for line in lines] == [("CCO", "ethyl alcohol"), ("CCN", "m.smi:4")]
    assert notes == [f"'m.smi': line 1, '{rows[0]}', is taken for a header and left out".replace("\t", "\\t")]
    path = tmp_path / "out.smi"
    write_texts(path, ["CCO", "", "CCN"], names=["ethyl\nalcohol", "lost", "m.smi:4"])
    assert path.read_text() == "CCO\tethyl alcohol\n\nCCN\tm.smi:4\n"


def test_blank_lines_at_the_end_are_counted(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("a\n\nb\u2028c\n\n  \n")
    lines, notes = read(tmp_path / "a.txt")
    assert [(line.text, line.problem) for line in lines] == [("a", None), ("", "is empty"), ("b\u2028c", None)]
    assert notes == ["'a.txt': 2 blank lines at its end are left out"]


# -- encodings and compression ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("encoding", "options", "note"),
    [
        ("utf-8-sig", {}, None),
        ("utf-16", {}, "'a.txt' is read as UTF-16, as its byte order mark states"),
        ("utf-32", {}, "'a.txt' is read as UTF-32, as its byte order mark states"),
        ("cp1252", {"encoding": "cp1252"}, None),
        ("utf-16-le", {"encoding": "utf-16-le"}, None),
        ("utf-8-sig", {"encoding": "cp1252"}, "'a.txt' is read as UTF-8, as its byte order mark states"),
    ],
)
def test_encodings(encoding: str, options: dict[str, Any], note: str | None, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes("café\nnaïve\n".encode(encoding))
    lines, notes = read(tmp_path / "a.txt", **options)
    assert [line.text for line in lines] == ["café", "naïve"]
    assert notes == ([] if note is None else [note])


def test_a_trained_model_reads_the_encoding_of_training_and_utf_8(tmp_path: Path) -> None:
    reading = ReadOptions.from_state(ReadOptions(encoding="cp1252").state())
    for encoding in ("cp1252", "utf-8", "utf-16"):
        (tmp_path / "a.txt").write_bytes("café\n".encode(encoding))
        assert [line.text for line in open_texts(tmp_path / "a.txt", reading, Notes())] == ["café"]
    (tmp_path / "a.txt").write_bytes(b"caf\xe9\n")
    with pytest.raises(AeframeError) as caught:
        list(open_texts(tmp_path / "a.txt", ReadOptions(is_trained=True), Notes()))
    assert str(caught.value) == "'a.txt', line 1 is not UTF-8 (byte 4 of the line is 0xe9); save the file as UTF-8"


ZEROS = (
    "'a.txt' has a zero in every second byte, and seems to be UTF-16 without a byte order mark; set data.encoding={}, "
    "or save it as UTF-8"
)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("a b c\n".encode("utf-16-le"), ZEROS.format("utf-16-le")),
        ("a b c\n".encode("utf-16-be"), ZEROS.format("utf-16-be")),
        (gzip.compress(b"a", mtime=0), "'a.txt' is a gzip file, not text; name it 'a.txt.gz'"),
        (b"PK\3\4zip", "'a.txt' is a zip archive, not text; convert it to text"),
        (b"", "'a.txt' has no text; add at least one"),
    ],
)  # fmt: skip
def test_what_is_no_utf_8_text_is_refused(content: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(content)
    assert error_of(tmp_path / "a.txt") == message


def test_invalid_read_options_are_refused() -> None:
    for name in ("utf8x", "hex"):
        with pytest.raises(AeframeError, match=f"^data.encoding '{name}' is no encoding of text"):
            ReadOptions(encoding=name)
    with pytest.raises(AeframeError, match=r"^data\.delimiter is one character, and no quotation mark or line break"):
        ReadOptions(delimiter="::")


@pytest.mark.parametrize("suffix", [".gz", ".bz2", ".xz", ".zst"])
def test_a_damaged_compressed_file_is_one_sentence(suffix: str, tmp_path: Path) -> None:
    if suffix == ".zst":
        pytest.importorskip("pyarrow")
    path = tmp_path / f"a.txt{suffix}"
    write_texts(path, [f"text {n}" for n in range(1000)])
    content = path.read_bytes()
    for damaged in (content[: len(content) // 2], b"no " + content):
        path.write_bytes(damaged)
        assert error_of(path).startswith(f"'a.txt{suffix}' cannot be decompressed as {suffix} (")


def test_a_file_that_inflates_beyond_the_limits_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.txt.gz"
    path.write_bytes(gzip.compress(b"x" * 3_000_000, mtime=0))
    monkeypatch.setenv("AEFRAME_MAX_GB", "0.001")
    assert error_of(path).startswith("'a.txt.gz': its text would occupy 1.")
    monkeypatch.delenv("AEFRAME_MAX_GB")
    monkeypatch.setattr(streams, "MAX_CHARACTERS", 1_000_000)
    assert error_of(path) == (
        "'a.txt.gz', line 1 has more than 1,000,000 characters; check that the file is text, or divide the line"
    )
    assert error_of(path, unit="file") == (
        "'a.txt.gz' has more than 1,000,000 characters; divide it into files of fewer characters"
    )


# -- folders ---------------------------------------------------------------------------------------------------------


def folder(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


def test_a_folder_has_one_text_a_file_with_class_and_name(tmp_path: Path) -> None:
    names = [f"{kind}/{n:02d}.txt" for kind in ("neg", "pos") for n in range(6)]
    root = folder(
        tmp_path / "d", {name: f"the text\nof {name}\n" for name in names} | {"a.md": "", "b.md": "", "LIES": ""}
    )
    dataset = TextFiles(path=root, validation=0.2, test=0.2)
    splits = dataset.load()
    lines = [*splits.train, *splits.validation, *splits.test]
    assert sorted(line.name or "" for line in lines) == names
    assert all(line.label == str(line.name)[:3] and line.text == f"the text\nof {line.name}" for line in lines)
    assert list(dataset.notes) == ["'d': 3 files with another suffix left out (2 .md, 1 no suffix)"]
    # Files that are added do not change the split.
    folder(root, {"neg/000.txt": "new"})
    again = TextFiles(path=root, validation=0.2, test=0.2)
    again.split_record.saved = dataset.split_record.keys
    assert [line.name for line in again.load().test] == [line.name for line in splits.test]


def test_a_folder_may_have_splits_and_shards(tmp_path: Path) -> None:
    shard = '{"text": "a"}\n{"text": "b"}\n{"text": "c"}\n'
    root = folder(tmp_path / "d", {"train/1.jsonl": shard, "train/2.jsonl": shard, "test/1.jsonl": shard})
    splits = TextFiles(path=root, validation=0.2).load()
    assert [len(splits.train), len(splits.validation), len(splits.test)] == [5, 1, 3]
    assert [line.name for line in splits.test] == [f"test/1.jsonl:{n}" for n in (1, 2, 3)]


def test_a_folder_of_several_formats_is_refused(tmp_path: Path) -> None:
    root = folder(tmp_path / "d", {"a.txt": "a", "b.jsonl": "{}", "c.txt": "c"})
    message = (
        "'d' has files of several formats, 1 .jsonl, 2 .txt, expected one; move those that are no texts out of the "
        "folder"
    )
    assert error_of(root) == message
    (tmp_path / "e").mkdir()
    assert error_of(tmp_path / "e").startswith("'e' has no texts; expected .txt, .smi, ")


def test_lines_of_the_files_of_a_folder(tmp_path: Path) -> None:
    root = folder(tmp_path / "d", {"a.txt": "one\ntwo\n", "b.txt": "three\n"})
    assert [(line.text, line.name) for line in read(root, unit="line")[0]] == [
        ("one", "a.txt:1"), ("two", "a.txt:2"), ("three", "b.txt:1"),
    ]  # fmt: skip
    assert read(root / "a.txt", unit="file")[0] == [Line("one\ntwo", read(root)[0][0].origin)]


def test_a_file_of_a_folder_that_cannot_be_decoded_is_one_bad_text(tmp_path: Path) -> None:
    root = folder(tmp_path / "d", {"a.txt": "one", "b.txt": "two"})
    (root / "b.txt").write_bytes(b"caf\xe9")
    first, second = read(root)[0]
    assert first.problem is None
    assert (second.problem or "").startswith(
        "cannot be read: 'b.txt', line 1 is not UTF-8 (byte 4 of the line is 0xe9)"
    )


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (None, ["000000.txt", "000001.txt"]),
        (["a/b.txt", "c"], ["a/b.txt", "c.txt"]),
        (["../../etc/passwd", "/root/x"], ["etc/passwd.txt", "root/x.txt"]),
        (["a", "A"], ["a.txt", "A-2.txt"]),
        (["t.txt:12", "..\\x"], ["t.txt_12.txt", "_x.txt"]),
        (["a.txt", "a.txt/b"], ["a.txt", "a.txt_/b.txt"]),
        (["", ".."], ["000000.txt", "000001.txt"]),
        (["x" * 400, "a\0b\n"], ["x" * 200 + ".txt", "a_b_.txt"]),
    ],
)
def test_names_of_files_never_leave_the_folder(names: list[str] | None, expected: list[str], tmp_path: Path) -> None:
    assert file_names(names, 2, ".txt") == expected
    written = write_texts(tmp_path / "out", ["one", "two\nlines"], names=names)
    assert [path.relative_to(tmp_path / "out").as_posix() for path in written] == expected
    assert [path.read_text() for path in written] == ["one\n", "two\nlines\n"]
    with pytest.raises(AeframeError, match="exists and is not overwritten"):
        write_texts(tmp_path / "out", ["one"])
