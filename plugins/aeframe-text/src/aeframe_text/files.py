"""Read texts from files: lines, JSON, columns of CSV, TSV and Parquet, SMILES with names, compressed or not."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, TextIO

from aeframe.data.limits import check_memory
from aeframe.data.notes import Notes
from aeframe.data.tables.parquet import import_pyarrow
from aeframe.errors import AeframeError, did_you_mean
from aeframe_text.reading import ReadOptions
from aeframe_text.records import json_problem, label_of, line_of, parse_json
from aeframe_text.streams import (
    COMPRESSIONS,
    MAX_CHARACTERS,
    bounded_lines,
    bounded_text,
    encoding_note,
    format_of,
    open_text,
)
from aeframe_text.texts import Line, Origin, problem_of

DELIMITERS = {".csv": ",", ".tsv": "\t"}
JSON_LINES = (".jsonl", ".ndjson")
FORMATS = (".txt", ".smi", *JSON_LINES, ".json", *DELIMITERS, ".parquet")
SMILES_HEADERS = frozenset({"smiles", "canonical_smiles", "isomeric_smiles", "smile", "#smiles"})
_BATCH = 256


def iter_texts(path: Path, reading: ReadOptions, notes: Notes, *, name: str | None = None) -> Iterator[Line]:
    """Yield all texts of a file; unusable ones have `Line.problem` set.

    Args:
        path: The file.
        reading: How to read it.
        notes: Receives what is left out or guessed.
        name: The name of the file in messages and in names of texts, such as its path in a folder.

    Raises:
        AeframeError: No such file, a suffix outside `FORMATS`, a wrong encoding, a missing column.
    """
    check_file(path, reading)
    name = name or path.name
    suffix = format_of(path)
    if suffix == ".parquet":
        yield from _read_parquet(path, Origin(f"'{name}', row", name), reading)
        return
    if (note := encoding_note(path, reading)) is not None:
        notes.add(note)
    with open_text(path, reading, newline="" if suffix in DELIMITERS else None) as file:
        origin = Origin(f"'{name}', line", name)
        if suffix in DELIMITERS:
            yield from _read_table(file, path, origin, reading, notes)
        elif suffix == ".json":
            yield from _read_json(file, path, name, reading)
        elif suffix in JSON_LINES:
            yield from _read_json_lines(bounded_lines(file, path), origin, reading)
        elif suffix == ".smi":
            yield from _read_smiles(file, path, origin, notes)
        elif reading.unit == "file":
            text = bounded_text(file, path, "divide it into files of fewer characters").strip("\n")
            yield Line(text, Origin(f"'{name}'", name), None, problem_of(text))
        else:
            yield from _read_lines(file, path, origin, notes)


def check_file(path: Path, reading: ReadOptions) -> None:
    """Check that a file exists and has a suffix of `FORMATS`, or one of them and that of a compression.

    Raises:
        AeframeError: It does not.
    """
    suffix = path.suffix.lower()
    if format_of(path) not in FORMATS or (suffix in COMPRESSIONS and format_of(path) == ".parquet"):
        raise AeframeError(
            f"modality 'text' reads {', '.join(FORMATS)} files, also compressed ({', '.join(COMPRESSIONS)}), and "
            f"folders of them, not '{path.name}'; convert it to one of these formats"
        )
    if not path.is_file():
        remedy = "correct the path" if reading.is_trained else "correct data.path, or create the file"
        raise AeframeError(f"there is no file '{path}'; {remedy}")


def _read_lines(file: TextIO, path: Path, origin: Origin, notes: Notes) -> Iterator[Line]:
    """Yield the lines of a text file, without blank ones at its end."""
    blank: list[Line] = []
    for number, line in enumerate(bounded_lines(file, path), start=1):
        text = line.rstrip("\n")
        if not text or text.isspace():
            blank.append(Line("", origin, number, "is empty"))
            continue
        yield from blank
        blank.clear()
        yield Line(text, origin, number, problem_of(text))
    if blank:
        notes.add(f"'{origin.name}': {_blank_lines(len(blank))} left out")


def _read_smiles(file: TextIO, path: Path, origin: Origin, notes: Notes) -> Iterator[Line]:
    """Yield the SMILES of a file, each with the name that follows it after whitespace."""
    for number, line in enumerate(bounded_lines(file, path), start=1):
        smiles, *name = line.split(None, 1)[:2] or [""]
        if number == 1 and smiles.lower() in SMILES_HEADERS:
            notes.add(f"'{path.name}': line 1, '{line.strip()}', is taken for a header and left out")
        elif smiles:
            own_name = name[0].strip() if name else ""
            yield Line(smiles, origin, number, problem_of(smiles), own_name=own_name or None)


def _read_json_lines(lines: Iterable[str], origin: Origin, reading: ReadOptions) -> Iterator[Line]:
    """Yield the texts of JSONL; blank lines are no texts."""
    for number, line in enumerate(lines, start=1):
        if line.strip():
            yield parse_json(line, origin, number, reading)


def _read_json(file: TextIO, path: Path, name: str, reading: ReadOptions) -> Iterator[Line]:
    """Yield the texts of an array of objects, or of JSONL that has the suffix ``.json``."""
    text = bounded_text(file, path, "write it as .jsonl, which is read line by line").lstrip()
    if not text.startswith("["):
        first = text.partition("\n")[0]
        if first and not _is_object(first):
            raise AeframeError(
                f"'{name}' is no JSON array, and its first line is no object; expected an array of objects, or one "
                "object on each line"
            )
        yield from _read_json_lines(io.StringIO(text), Origin(f"'{name}', line", name), reading)
        return
    try:
        values = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise AeframeError(f"'{name}' {json_problem(error)}; correct the file") from None
    origin = Origin(f"'{name}', object", name)
    for number, value in enumerate(values, start=1):
        yield line_of(value, origin, number, reading)


def _is_object(text: str) -> bool:
    try:
        return isinstance(json.loads(text), dict)
    except (ValueError, RecursionError):
        return False


def _read_parquet(path: Path, origin: Origin, reading: ReadOptions) -> Iterator[Line]:
    """Yield the texts of a column, a batch of rows at a time."""
    pa = import_pyarrow(path)
    import pyarrow.parquet as pq

    number = 0
    try:
        with pq.ParquetFile(path) as file:
            columns = _parquet_columns(path, [column.path for column in file.schema], reading)
            for group in range(file.num_row_groups):
                # The header states sizes, which decompression would allocate.
                row_group = file.metadata.row_group(group)
                check_memory(f"'{path.name}'", row_group.total_byte_size, f"row group {group}")
            for batch in file.iter_batches(_BATCH, columns=columns):
                for record in _records(batch):
                    problem = "is not UTF-8" if record is None else None
                    yield Line("", origin, number, problem) if problem else line_of(record, origin, number, reading)
                    number += 1
    except (pa.ArrowException, OSError) as error:
        raise AeframeError(f"'{path.name}' cannot be read as .parquet ({error}); write it again") from None


def _records(batch: Any) -> Iterator[dict[str, Any] | None]:
    """Yield the rows of a batch of pyarrow; None for a row with bytes that are not UTF-8."""
    try:
        yield from batch.to_pylist()
    except UnicodeDecodeError:
        if batch.num_rows == 1:
            yield None
        else:
            for row in range(batch.num_rows):
                yield from _records(batch.slice(row, 1))


def _parquet_columns(path: Path, leaves: list[str], reading: ReadOptions) -> list[str]:
    """Return the columns to read, as pyarrow names them: of a list, its leaves are ``a.list.element``."""
    columns = []
    for option, name in (("column", reading.column), ("label", reading.label), ("names", reading.names)):
        if name is None:
            continue
        found = [leaf for leaf in leaves if leaf == name or leaf.startswith(f"{name}.")]
        if found:
            columns.append(name)
        elif option == "column" or not reading.is_trained:
            tops = list(dict.fromkeys(leaf.partition(".")[0] for leaf in leaves))
            raise no_column(path.name, option, name, tops, reading)
    return columns


def no_column(file: str, option: str, name: str, known: list[str], reading: ReadOptions) -> AeframeError:
    """Return the error for a column that a file does not have."""
    remedy = "rename one" if reading.is_trained else f"set data.{option}, or rename one"
    shown = ", ".join(known[:12]) + (f", ... ({len(known)} in all)" if len(known) > 12 else "")
    return AeframeError(
        f"'{file}' has no column '{name}'{did_you_mean(name, known)}; its columns are {shown or 'none'}; {remedy}"
    )


def _read_table(file: TextIO, path: Path, origin: Origin, reading: ReadOptions, notes: Notes) -> Iterator[Line]:
    """Yield the texts of a column of CSV or TSV; blank lines are no rows."""
    previous = csv.field_size_limit(MAX_CHARACTERS)
    try:
        lines = bounded_lines(file, path)
        first = next(lines, "")
        delimiter = _delimiter(first, path, reading, notes)
        reader = csv.reader(_chain(first, lines), delimiter=delimiter, strict=True)
        rows = _parse_rows(reader, path)
        header = next(rows, [])
        positions: list[int | None] = []
        for option, name in (("column", reading.column), ("label", reading.label), ("names", reading.names)):
            position = None if name is None or name not in header else header.index(name)
            if name is not None and position is None and (option == "column" or not reading.is_trained):
                raise no_column(path.name, option, name, header, reading)
            positions.append(position)
        text_at, label_at, name_at = positions
        assert text_at is not None
        for row in rows:
            if not row:
                continue
            number = reader.line_num
            if len(row) != len(header):
                yield Line("", origin, number, f"has {len(row)} values, expected {len(header)} as in the header")
                continue
            label, _ = (None, None) if label_at is None else label_of(row[label_at])
            name = None if name_at is None else row[name_at]
            yield Line(row[text_at], origin, number, problem_of(row[text_at]), label, name or None)
    finally:
        csv.field_size_limit(previous)


def _delimiter(first: str, path: Path, reading: ReadOptions, notes: Notes) -> str:
    """Return the delimiter of the options or of the suffix, or another one with which the header has the column."""
    default = reading.delimiter or DELIMITERS[format_of(path)]
    if reading.delimiter is not None and not reading.is_trained:
        return default

    def has_column(delimiter: str) -> bool:
        cells = next(csv.reader([first.rstrip("\r\n")], delimiter=delimiter), [])
        return reading.column in cells

    if has_column(default):
        return default
    other = next((each for each in (",", ";", "\t", "|") if each != default and has_column(each)), None)
    if other is None:
        return default
    shown = "a tab" if other == "\t" else f"'{other}'"
    notes.add(
        f"'{path.name}': columns are separated by {shown}, with which the header has the column '{reading.column}'"
    )
    return other


def _chain(first: str, lines: Iterator[str]) -> Iterator[str]:
    if first:
        yield first
    yield from lines


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
            f"'{path.name}', line {row_start} cannot be parsed ({error}); "
            "look for a quotation mark that is not closed, or not doubled"
        ) from error


def _blank_lines(count: int) -> str:
    return "1 blank line at its end is" if count == 1 else f"{count} blank lines at its end are"
