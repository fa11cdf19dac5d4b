"""Reading and writing files of texts, and their errors."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from aeframe import AeframeError
from aeframe_text.files import TextFiles, read_texts, write_texts

TEXTS = ["the cat sleeps", 'a "quoted", long one', "naïve $5"]


def error_of(call: object, *arguments: object, **options: object) -> str:
    assert callable(call)
    with pytest.raises(AeframeError) as caught:
        call(*arguments, **options)
    return str(caught.value)


@pytest.mark.parametrize("name", ["a.txt", "a.smi", "a.jsonl", "a.csv", "a.tsv"])
def test_written_texts_can_be_read(name: str, tmp_path: Path) -> None:
    path = tmp_path / "new" / name
    assert write_texts(path, TEXTS) == [path]
    assert [line.text for line in read_texts(path)] == TEXTS
    assert error_of(write_texts, path, TEXTS) == (
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
        "modality 'text' reads .txt, .smi, .jsonl, .csv, .tsv files, not 'a.pdf'; convert it to one of these formats"
    )
    assert error_of(write_texts, tmp_path / "a.pdf", TEXTS) == (
        "modality 'text' writes .txt, .smi, .jsonl, .csv, .tsv files, not 'a.pdf'; choose one of them"
    )
    assert error_of(read_texts, tmp_path / "a.txt") == (
        f"there is no file '{tmp_path / 'a.txt'}'; correct data.path, or create the file"
    )
    (tmp_path / "a.txt").write_bytes(b"caf\xe9\n")
    assert error_of(read_texts, tmp_path / "a.txt") == (
        "'a.txt' is not UTF-8 (byte 3 cannot be decoded); save it as UTF-8"
    )
    (tmp_path / "b.txt").write_text("")
    assert error_of(read_texts, tmp_path / "b.txt") == "'b.txt' has no text; add at least one"


def test_each_unusable_row_has_its_line_number(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    rows = ['{"text": "good"}', '{"text": "torn', "[1]", '{"words": 1}', '{"text": 7}', '{"text": "  "}']
    path.write_text("\n".join(rows) + "\n")
    assert [(line.where, line.problem) for line in read_texts(path)] == [
        ("'a.jsonl', line 1", None),
        ("'a.jsonl', line 2", "is not JSON (character 10: Unterminated string starting)"),
        ("'a.jsonl', line 3", "is a JSON list, expected an object"),
        ("'a.jsonl', line 4", "needs a string under the key 'text', found no such key"),
        ("'a.jsonl', line 5", "needs a string under the key 'text', found a int"),
        ("'a.jsonl', line 6", "is empty"),
    ]
    path = tmp_path / "a.csv"
    path.write_text("id,text\n1,good\n2\n3,\n")
    assert [(line.where, line.problem) for line in read_texts(path)] == [
        ("'a.csv', line 2", None),
        ("'a.csv', line 3", "has 1 values, expected 2 as in the header"),
        ("'a.csv', line 4", "is empty"),
    ]


def test_an_open_quotation_mark_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text('text\none\n"two\nthree\n' + "four\n" * 100_000)
    next_step = "look for a quotation mark that is not closed, or not doubled"
    assert error_of(read_texts, path) == (
        f"'a.csv', line 3 cannot be parsed (field larger than field limit (131072)); {next_step}"
    )
    path.write_text('text\none\n"two\nthree\n')
    assert error_of(read_texts, path) == f"'a.csv', line 3 cannot be parsed (unexpected end of data); {next_step}"


def test_a_missing_column_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("id,texts\n1,good\n")
    assert error_of(read_texts, tmp_path / "a.csv") == (
        "'a.csv' has no column 'text', did you mean 'texts'?; its columns are id, texts; set data.column, or rename one"
    )
    assert error_of(read_texts, tmp_path / "a.csv", "texts", "subject") == (
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
        "'t.jsonl' has 3 texts, too few to set aside validation=0.1 and test=0.1 of them and leave two; add texts, or "
        "change the fractions"
    )
    assert error_of(TextFiles(path=str(path), column="words", test=1.0).load) == (
        "data.test=1 is a fraction of the texts and must lie between 0 and 1"
    )
