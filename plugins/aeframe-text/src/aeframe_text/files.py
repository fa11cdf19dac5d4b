"""Read and write texts as lines, JSONL or a CSV column; the dataset ``text_files``."""

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

_DELIMITERS = {".csv": ",", ".tsv": "\t"}
FORMATS = (".txt", ".smi", ".jsonl", *_DELIMITERS)


class TextFiles(Dataset):
    """Texts from a file: the lines of ``.txt`` or ``.smi``, a key of JSONL, or a column of CSV or TSV.

    Args:
        path: The file of the training texts, and of the texts of each split that has no file of its own.
        validation_path: The file of the validation texts; null takes a random fraction of the texts in `path`.
        test_path: The file of the test texts; null takes a random fraction of the texts in `path`.
        column: The column, or the key of a JSON object, that holds the text.
        label: The column or key with a class name for each text; it colours the plot of the latent space.
        validation: Fraction of the texts for validation, if there is no `validation_path`.
        test: Fraction of the texts for testing, if there is no `test_path`.
        split_seed: Seed of the random split.
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
            name: None if held_out is None else Path(held_out).expanduser()
            for name, held_out in (("validation", validation_path), ("test", test_path))
        }
        self.column, self.label = column, label
        self.split = RandomSplit(f"'{self.path.name}'", "texts", validation=validation, test=test, seed=split_seed)

    def describe(self) -> Mapping[str, Any]:
        # The modality learns shape and vocabulary from the texts, so only the files are checked here.
        for path in (self.path, *self.held_out.values()):
            if path is not None:
                _check_file(path)
        return {}

    def load(self) -> TextSplits:
        present = {"train": read_texts(self.path, self.column, self.label)}
        for name, path in self.held_out.items():
            if path is not None:
                present[name] = read_texts(path, self.column, self.label)
        # `split_record` is inherited; it stores the drawn split, so that a resumed run uses the same one.
        return complete_splits(present, self.split, self.split_record, column=self.column, label=self.label)


def read_texts(path: Path, column: str = "text", label: str | None = None) -> list[Line]:
    """Return all texts of a file; unusable ones have `Line.problem` set.

    Raises:
        AeframeError: No such file, a suffix outside `FORMATS`, a file that is not UTF-8, a missing column.
    """
    _check_file(path)
    suffix = path.suffix.lower()
    try:
        with path.open(encoding="utf-8-sig", newline="" if suffix in _DELIMITERS else None) as file:
            if suffix in _DELIMITERS:
                lines = list(_read_table(file, path, _DELIMITERS[suffix], column, label))
            elif suffix == ".jsonl":
                lines = [
                    _parse_json(text.rstrip("\n"), _where(path, n), column, label)
                    for n, text in enumerate(file, start=1)
                ]
            else:
                lines = [_line(text.rstrip("\n"), _where(path, n)) for n, text in enumerate(file, start=1)]
    except UnicodeDecodeError as error:
        raise AeframeError(
            f"'{path.name}' is not UTF-8 (byte {error.start} cannot be decoded); save it as UTF-8"
        ) from error
    if not lines:
        raise AeframeError(f"'{path.name}' has no text; add at least one")
    return lines


def write_texts(path: Path, texts: Sequence[str], column: str = "text") -> list[Path]:
    """Write texts to a new file in the format of its suffix; return the file.

    Args:
        path: The file.
        texts: The texts to write.
        column: The key in JSONL, the header in CSV and TSV.

    Raises:
        AeframeError: A suffix outside `FORMATS`, a file that exists, a text with a line break in ``.txt`` or ``.smi``.
    """
    suffix = path.suffix.lower()
    if suffix not in FORMATS:
        raise AeframeError(f"modality 'text' writes {', '.join(FORMATS)} files, not '{path.name}'; choose one of them")
    if path.exists():
        raise AeframeError(f"'{path}' exists and is not overwritten; remove it, or choose another path")
    if suffix in (".txt", ".smi"):
        multiline = next((row for row, text in enumerate(texts) if len(text.splitlines()) > 1), None)
        if multiline is not None:
            raise AeframeError(
                f"modality 'text': sample {multiline} contains a line break, and {suffix} has one text per line; "
                "write .jsonl or .csv"
            )
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("x", encoding="utf-8", newline="") as file:
        if suffix in _DELIMITERS:
            writer = csv.writer(file, delimiter=_DELIMITERS[suffix], lineterminator="\n")
            writer.writerows([[column], *([text] for text in texts)])
        elif suffix == ".jsonl":
            file.writelines(json.dumps({column: text}, ensure_ascii=False) + "\n" for text in texts)
        else:
            file.writelines(f"{text}\n" for text in texts)
    return [path]


def _check_file(path: Path) -> None:
    if path.suffix.lower() not in FORMATS:
        raise AeframeError(
            f"modality 'text' reads {', '.join(FORMATS)} files, not '{path.name}'; convert it to one of these formats"
        )
    if not path.is_file():
        raise AeframeError(f"there is no file '{path}'; correct data.path, or create the file")


def _where(path: Path, number: int) -> str:
    return f"'{path.name}', line {number}"


def _line(text: str, where: str, label: str | None = None) -> Line:
    return Line(text, where, None if text.strip() else "is empty", label)


def _parse_json(text: str, where: str, column: str, label: str | None) -> Line:
    try:
        value = json.loads(text)
    except json.JSONDecodeError as error:
        return Line("", where, f"is not JSON (character {error.pos + 1}: {error.msg.removesuffix(' at')})")
    if not isinstance(value, dict):
        return Line("", where, f"is a JSON {type(value).__name__}, expected an object")
    for key in (column, label):
        if key is not None and not isinstance(value.get(key), str):
            found = f"a {type(value[key]).__name__}" if key in value else "no such key"
            return Line("", where, f"needs a string under the key '{key}', found {found}")
    return _line(value[column], where, None if label is None else value[label])


def _read_table(file: TextIO, path: Path, delimiter: str, column: str, label: str | None) -> Iterator[Line]:
    reader = csv.reader(file, delimiter=delimiter, strict=True)
    rows = _parse_rows(reader, path)
    header = next(rows, [])
    positions = []
    for option, name in (("column", column), ("label", label)):
        if name is not None and name not in header:
            raise AeframeError(
                f"'{path.name}' has no column '{name}'{did_you_mean(name, header)}; its columns are "
                f"{', '.join(header) or 'none'}; set data.{option}, or rename one"
            )
        positions.append(None if name is None else header.index(name))
    text_position, label_position = positions
    assert text_position is not None
    for row in rows:
        where = _where(path, reader.line_num)
        if len(row) != len(header):
            yield Line("", where, f"has {len(row)} values, expected {len(header)} as in the header")
        else:
            yield _line(row[text_position], where, None if label_position is None else row[label_position])


def _parse_rows(reader: Any, path: Path) -> Iterator[list[str]]:
    """Yield the rows of a ``csv`` reader.

    Raises:
        AeframeError: A row with a broken quotation. The rows after it cannot be found, so it cannot be skipped.
    """
    row_start = 1
    try:
        for row in reader:
            yield row
            row_start = reader.line_num + 1
    except csv.Error as error:
        raise AeframeError(
            f"{_where(path, row_start)} cannot be parsed ({error}); "
            "look for a quotation mark that is not closed, or not doubled"
        ) from error
