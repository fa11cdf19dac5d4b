"""Reading and writing files of texts, and their errors."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from aeframe import AeframeError
from aeframe.data.new_output import write_new
from aeframe_text import writing
from aeframe_text.files import FORMATS
from aeframe_text.reading import ReadOptions
from aeframe_text.text_files import TextFiles, read_texts

TEXTS = ["the cat sleeps", 'a "quoted", long one', "naïve $5"]


def write_texts(path: Path, texts: list[str], *, names: list[str] | None = None) -> list[Path]:
    def write(partial: Path) -> list[Path]:
        return writing.write_texts(partial, [[text] for text in texts], num=len(texts), names=names)

    return write_new(path, write)


def error_of(call: object, *arguments: object, **options: object) -> str:
    assert callable(call)
    with pytest.raises(AeframeError) as caught:
        call(*arguments, **options)
    return str(caught.value)


@pytest.mark.parametrize("suffix", FORMATS)
@pytest.mark.parametrize("compression", ["", ".gz", ".bz2", ".xz", ".zst"])
@pytest.mark.parametrize("named", [False, True])
def test_written_texts_can_be_read(suffix: str, compression: str, named: bool, tmp_path: Path) -> None:
    if suffix == ".parquet" or compression == ".zst":
        pytest.importorskip("pyarrow")
    path = tmp_path / "new" / f"a{suffix}{compression}"
    names = ["the first", "b/2", "c"] if named else None
    texts = ["CCO", "C[C@@H](N)C", "naïve日本"] if suffix == ".smi" else TEXTS
    if suffix == ".parquet" and compression:
        assert error_of(write_texts, path, texts).startswith("modality 'text' writes .txt, .smi")
        return
    assert write_texts(path, texts, names=names) == [path]
    lines = read_texts(path, ReadOptions(names="name") if named else ReadOptions())
    assert [line.text for line in lines] == texts
    if named and suffix != ".txt":
        assert [line.name for line in lines] == names
    elif suffix == ".txt":
        assert [line.name for line in lines] == [f"{path.name}:{number}" for number in (1, 2, 3)]
    assert error_of(write_texts, path, texts) == (
        f"'{path}' exists and is not overwritten; remove it, or choose another path"
    )


def test_line_breaks(tmp_path: Path) -> None:
    assert error_of(write_texts, tmp_path / "a.txt", ["one", "two\nlines"]) == (
        "modality 'text': sample 1 contains a line break, and .txt has one text per line; write .jsonl or .csv"
    )
    assert not (tmp_path / "a.txt").exists()
    for name in ("a.csv", "a.jsonl"):
        write_texts(tmp_path / name, ["one", "two\nlines"])
        assert [line.text for line in read_texts(tmp_path / name)] == ["one", "two\nlines"]


def test_unreadable_files_are_refused(tmp_path: Path) -> None:
    assert error_of(read_texts, tmp_path / "a.pdf") == (
        "modality 'text' reads .txt, .smi, .jsonl, .ndjson, .json, .csv, .tsv, .parquet files, also compressed (.gz, "
        ".bz2, .xz, .zst), and folders of them, not 'a.pdf'; convert it to one of these formats"
    )
    assert error_of(write_texts, tmp_path / "a.pdf", TEXTS) == (
        "modality 'text' writes .txt, .smi, .jsonl, .ndjson, .json, .csv, .tsv, .parquet files, also compressed (.gz, "
        ".bz2, .xz, .zst), and folders, not 'a.pdf'; choose one of them"
    )
    assert error_of(read_texts, tmp_path / "a.txt") == (
        f"there is no file '{tmp_path / 'a.txt'}'; correct data.path, or create the file"
    )
    (tmp_path / "a.txt").write_bytes(b"caf\xe9\n")
    assert error_of(read_texts, tmp_path / "a.txt") == (
        "'a.txt', line 1 is not UTF-8 (byte 4 of the line is 0xe9); set data.encoding, for example to cp1252, which "
        "reads 'café' there, or save the file as UTF-8"
    )
    (tmp_path / "b.txt").write_text("")
    assert error_of(read_texts, tmp_path / "b.txt") == "'b.txt' has no text; add at least one"


def test_each_unusable_row_has_its_line_number(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    rows = ['{"text": "good"}', '{"text": "torn', "[1]", '{"words": 1}', '{"text": 7}', '{"text": "  "}']
    path.write_text("\n".join(rows) + "\n\n")
    assert [(line.where, line.problem) for line in read_texts(path)] == [
        ("'a.jsonl', line 1", None),
        ("'a.jsonl', line 2", "is not JSON (character 10: Unterminated string starting)"),
        ("'a.jsonl', line 3", "is a list, expected an object"),
        ("'a.jsonl', line 4", "has no key 'text' (its keys are words; set data.column)"),
        ("'a.jsonl', line 5", "has a number under the key 'text', expected a string"),
        ("'a.jsonl', line 6", "is empty"),
    ]
    path = tmp_path / "a.csv"
    path.write_text("id,text\n1,good\n2\n\n3,\n")
    assert [(line.where, line.problem) for line in read_texts(path)] == [
        ("'a.csv', line 2", None),
        ("'a.csv', line 3", "has 1 values, expected 2 as in the header"),
        ("'a.csv', line 5", "is empty"),
    ]


def test_an_open_quotation_mark_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text('text\none\n"two\nthree\n' + "four\n" * 100_000)
    next_step = "look for a quotation mark that is not closed, or not doubled"
    assert error_of(read_texts, path) == (f"'a.csv', line 3 cannot be parsed (unexpected end of data); {next_step}")
    path.write_text('text\none\n"two\nthree\n')
    assert error_of(read_texts, path) == f"'a.csv', line 3 cannot be parsed (unexpected end of data); {next_step}"


def test_a_missing_column_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("id,texts\n1,good\n")
    assert error_of(read_texts, tmp_path / "a.csv") == (
        "'a.csv' has no column 'text', did you mean 'texts'?; its columns are id, texts; set data.column, or rename one"
    )
    assert error_of(read_texts, tmp_path / "a.csv", ReadOptions("texts", "subject")) == (
        "'a.csv' has no column 'subject'; its columns are id, texts; set data.label, or rename one"
    )


def test_splits(tmp_path: Path) -> None:
    path, test = tmp_path / "a.csv", tmp_path / "t.jsonl"
    path.write_text("kind,words\n" + "".join(f"k{n % 2},text {n}\n" for n in range(20)))
    test.write_text("".join(json.dumps({"words": f"test {n}", "kind": "k1"}) + "\n" for n in range(3)))
    options = {"path": str(path), "test_path": str(test), "column": "words", "label": "kind", "validation": 0.25}
    splits = TextFiles(**options).load()  # type: ignore[arg-type]
    assert [len(split) for split in (splits.train, splits.validation, splits.test)] == [15, 5, 3]
    assert sorted(line.text for line in (*splits.train, *splits.validation)) == sorted(f"text {n}" for n in range(20))
    assert {line.label for line in splits.train} == {"k0", "k1"}
    again = TextFiles(**options).load()  # type: ignore[arg-type]
    assert again == splits
    other = TextFiles(**options, split_seed=1).load()  # type: ignore[arg-type]
    assert other.validation != splits.validation
    assert error_of(TextFiles(path=str(test), column="words").load) == (
        "'t.jsonl' has too few texts, 3: 1 for validation and 1 for test leave 1 for training, which needs at least 2; "
        "add texts, or lower validation and test"
    )
    assert error_of(lambda: TextFiles(path=str(path), column="words", test=1.0)) == (
        "'a.csv' needs fractions validation and test above 0 with a sum below 1, found validation=0.1 and test=1"
    )
