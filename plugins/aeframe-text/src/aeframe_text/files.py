"""Texts in files: lines, JSONL and a column of CSV, read and written."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, TextIO

from aeframe.data import Dataset
from aeframe.data.random_split import RandomSplit
from aeframe.errors import AeframeError, did_you_mean
from aeframe_text.texts import Line, TextSplits, complete_splits

_COLUMNS = {".csv": ",", ".tsv": "\t"}
FORMATS = (".txt", ".smi", ".jsonl", *_COLUMNS)


class TextFiles(Dataset):
    """Texts of your own: one in each line of ``.txt`` or ``.smi``, of JSONL, or in a column of CSV or TSV.

    Args:
        path: The texts for training, and for what has no file of its own.
        validation_path: Those for validation; without it a fraction of `path` is set aside.
        test_path: Those for testing; likewise.
        column: The column, or the key of a JSON object, that holds the text.
        label: The column or key of a word for each text, which colours the latent map.
        validation: Fraction of the texts for validation.
        test: Fraction of the texts for testing.
        split_seed: Of the draw that shares texts out.
    """

    modality: ClassVar[str] = "text"

    def __init__(
        self,
        *,
        path: Path,
        validation_path: Path | None = None,
        test_path: Path | None = None,
        column: str = "text",
        label: str | None = None,
        validation: float = 0.1,
        test: float = 0.1,
        split_seed: int = 0,
    ) -> None:
        self.path = Path(path).expanduser()
        self.held_out = {
            name: None if given is None else Path(given).expanduser()
            for name, given in (("validation", validation_path), ("test", test_path))
        }
        self.column, self.label = column, label
        self.split = RandomSplit(f"'{self.path.name}'", "texts", validation=validation, test=test, seed=split_seed)

    def describe(self) -> Mapping[str, Any]:
        for path in (self.path, *self.held_out.values()):
            if path is not None:
                _check_file(path)
        return {}

    def load(self) -> TextSplits:
        present = {"train": read_texts(self.path, self.column, self.label)}
        for name, path in self.held_out.items():
            if path is not None:
                present[name] = read_texts(path, self.column, self.label)
        return complete_splits(present, self.split, self.split_record, column=self.column)


def read_texts(path: Path, column: str = "text", label: str | None = None) -> list[Line]:
    """Read every text of a file, also those that cannot be used.

    Raises:
        AeframeError: No such file, a suffix that is not one of `FORMATS`, no UTF-8, a column that is missing.
    """
    _check_file(path)
    suffix = path.suffix.lower()
    try:
        with path.open(encoding="utf-8-sig", newline="" if suffix in _COLUMNS else None) as file:
            if suffix in _COLUMNS:
                lines = list(_rows(file, path, _COLUMNS[suffix], column, label))
            elif suffix == ".jsonl":
                lines = [
                    _json(text.rstrip("\n"), _where(path, n), column, label) for n, text in enumerate(file, start=1)
                ]
            else:
                lines = [_line(text.rstrip("\n"), _where(path, n)) for n, text in enumerate(file, start=1)]
    except UnicodeDecodeError as error:
        raise AeframeError(
            f"'{path.name}' is no UTF-8 (byte {error.start} cannot be read); save it as UTF-8"
        ) from error
    if not lines:
        raise AeframeError(f"'{path.name}' has no text; give it at least one")
    return lines


def write_texts(path: Path, texts: Sequence[str], column: str = "text") -> list[Path]:
    """Write texts as the suffix says, in a new file; `column` is the key in JSONL, the header in CSV and TSV.

    Raises:
        AeframeError: Another suffix, a file that exists, a text with a line break in a file of lines.
    """
    suffix = path.suffix.lower()
    if suffix not in FORMATS:
        raise AeframeError(f"modality 'text' writes {', '.join(FORMATS)} files, not '{path.name}'; choose one of them")
    if path.exists():
        raise AeframeError(f"'{path}' exists, and nothing is overwritten; remove it, or write elsewhere")
    if suffix in (".txt", ".smi"):
        broken = next((row for row, text in enumerate(texts) if len(text.splitlines()) > 1), None)
        if broken is not None:
            raise AeframeError(
                f"modality 'text': sample {broken} has a line break in it, which a file of lines cannot hold; "
                "write .jsonl or .csv"
            )
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("x", encoding="utf-8", newline="") as file:
        if suffix in _COLUMNS:
            writer = csv.writer(file, delimiter=_COLUMNS[suffix], lineterminator="\n")
            writer.writerows([[column], *([text] for text in texts)])
        elif suffix == ".jsonl":
            file.writelines(json.dumps({column: text}, ensure_ascii=False) + "\n" for text in texts)
        else:
            file.writelines(f"{text}\n" for text in texts)
    return [path]


def _check_file(path: Path) -> None:
    if path.suffix.lower() not in FORMATS:
        raise AeframeError(f"modality 'text' reads {', '.join(FORMATS)} files, not '{path.name}'; convert it to one")
    if not path.is_file():
        raise AeframeError(f"there is no file '{path}'; correct data.path, or make it")


def _where(path: Path, number: int) -> str:
    return f"'{path.name}', line {number}"


def _line(text: str, where: str, label: str | None = None) -> Line:
    return Line(text, where, None if text.strip() else "is empty", label)


def _json(text: str, where: str, column: str, label: str | None) -> Line:
    try:
        found = json.loads(text)
    except json.JSONDecodeError as error:
        return Line("", where, f"is no JSON (character {error.pos + 1}: {error.msg.removesuffix(' at')})")
    if not isinstance(found, dict):
        return Line("", where, f"is a JSON {type(found).__name__}, expected an object")
    for key in (column, label):
        if key is not None and not isinstance(found.get(key), str):
            has = f"a {type(found[key]).__name__}" if key in found else "no such key"
            return Line("", where, f"needs a string under the key '{key}', and has {has}")
    return _line(found[column], where, None if label is None else found[label])


def _rows(file: TextIO, path: Path, delimiter: str, column: str, label: str | None) -> Iterator[Line]:
    reader = csv.reader(file, delimiter=delimiter, strict=True)
    rows = _parsed(reader, path)
    header = next(rows, [])
    places = []
    for option, name in (("column", column), ("label", label)):
        if name is not None and name not in header:
            raise AeframeError(
                f"'{path.name}' has no column '{name}'{did_you_mean(name, header)}; its columns are "
                f"{', '.join(header) or 'none'}; set data.{option}, or rename one"
            )
        places.append(None if name is None else header.index(name))
    at, labelled = places
    assert at is not None
    for row in rows:
        where = _where(path, reader.line_num)
        if len(row) != len(header):
            yield Line("", where, f"has {len(row)} values, expected {len(header)} as in the header")
        else:
            yield _line(row[at], where, None if labelled is None else row[labelled])


def _parsed(reader: Any, path: Path) -> Iterator[list[str]]:
    """Yield the rows of a reader of ``csv``; one that is broken hides those behind it, so there is no going on."""
    begins = 1
    try:
        for row in reader:
            yield row
            begins = reader.line_num + 1
    except csv.Error as error:
        raise AeframeError(
            f"{_where(path, begins)} cannot be read ({error}); "
            "look for a quotation mark that is not closed, or not doubled"
        ) from error
