"""Write texts, with their names where the format has a place for them."""

from __future__ import annotations

import csv
import itertools
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from aeframe.data.tables.parquet import import_pyarrow, write_tables
from aeframe.errors import AeframeError
from aeframe_text.files import DELIMITERS, FORMATS, JSON_LINES
from aeframe_text.reading import ReadOptions
from aeframe_text.streams import COMPRESSIONS, create_text, format_of

_NAME = "name"
# Characters that a file name must not have on some system.
_UNSAFE = re.compile(r'[<>:"|?*\\\x00-\x1f\x7f]')
_LONGEST_NAME = 200
_GROUP = 1 << 14
"""Texts of a row group of a Parquet file."""


def write_texts(
    path: Path,
    batches: Iterable[Sequence[str]],
    reading: ReadOptions | None = None,
    *,
    num: int,
    names: Sequence[str] | None = None,
) -> list[Path]:
    """Write texts to a new file in the format of its suffix, or to a new folder of ``.txt`` files; return the files.

    Args:
        path: The file, or a folder if it has no suffix.
        batches: The texts of each batch, which are written while they are computed.
        reading: Its column is the key of JSON, and the header of CSV, TSV and Parquet; so is its `names`.
        num: The number of texts in all batches.
        names: The name of each text: a column or key, the words after a SMILES, or the name of a file in a folder.
            ``.txt`` files have no place for names.

    Raises:
        AeframeError: A suffix outside `FORMATS`, a text with a line break in ``.txt`` or ``.smi``, or with whitespace
            in ``.smi``.
    """
    reading = reading or ReadOptions()
    suffix = format_of(path)
    if not path.suffix:
        return _write_folder(path, batches, file_names(names, num, ".txt"))
    is_compressed = path.suffix.lower() in COMPRESSIONS
    if suffix not in FORMATS or (is_compressed and suffix == ".parquet"):
        raise AeframeError(
            f"modality 'text' writes {', '.join(FORMATS)} files, also compressed ({', '.join(COMPRESSIONS)}), and "
            f"folders, not '{path.name}'; choose one of them"
        )
    column, name_column = reading.column, reading.names or _NAME
    if name_column == column:
        name_column = f"{column}_{_NAME}"
    header = [column] if names is None else [name_column, column]
    # Of each text its name, if texts have names, and the text.
    rows = _rows(batches, names)
    if suffix == ".parquet":
        _write_parquet(path, header, rows)
        return [path]
    with create_text(path) as file:
        if suffix in DELIMITERS:
            writer = csv.writer(file, delimiter=DELIMITERS[suffix], lineterminator="\n")
            writer.writerow(header)
            writer.writerows(rows)
        elif suffix in (".txt", ".smi"):
            file.writelines(_line(suffix, number, row) for number, row in enumerate(rows))
        else:
            records = (json.dumps(dict(zip(header, row, strict=True)), ensure_ascii=False) for row in rows)
            if suffix in JSON_LINES:
                file.writelines(f"{record}\n" for record in records)
            else:
                file.writelines(f"{',' if number else '['}\n{record}" for number, record in enumerate(records))
                file.write("\n]\n")
    return [path]


def _rows(batches: Iterable[Sequence[str]], names: Sequence[str] | None) -> Iterator[tuple[str, ...]]:
    """Yield each text after its name, if texts have names."""
    texts = itertools.chain.from_iterable(batches)
    return zip(texts) if names is None else zip(names, texts, strict=True)


def _line(suffix: str, number: int, row: tuple[str, ...]) -> str:
    """Return a text as the line of a format with one text on each line, which not all texts fit in.

    Raises:
        AeframeError: A line break, or whitespace in ``.smi``.
    """
    *name, text = row
    if "\n" in text or "\r" in text:
        raise AeframeError(
            f"modality 'text': sample {number} contains a line break, and {suffix} has one text per line; write .jsonl "
            "or .csv"
        )
    if suffix == ".smi" and len(text.split()) > 1:
        raise AeframeError(
            f"modality 'text': sample {number} contains whitespace, after which .smi has a name; write .txt, .jsonl or "
            ".csv"
        )
    if suffix == ".smi" and name:
        # A name alone would be read as a molecule.
        return f"{text}\t{' '.join(name[0].split())}".rstrip() * bool(text) + "\n"
    return f"{text}\n"


def file_names(names: Sequence[str] | None, num: int, suffix: str) -> list[str]:
    """Return different relative paths of `num` files, from their names as far as these allow it.

    A path never leaves the folder: absolute paths and ``..`` lose what leads out. Without names, files are numbered.
    """
    width = max(6, len(str(num)))
    taken: set[str] = set()
    paths = []
    for number in range(num):
        parts = [] if names is None else names[number].split("/")
        safe = [_UNSAFE.sub("_", part).strip(" .")[:_LONGEST_NAME] for part in parts]
        *folders, file = [part for part in safe if part] or [""]
        # A folder of the name of a file would be in its way.
        folders = [f"{each}_" if each.endswith(suffix) else each for each in folders]
        stem = "/".join([*folders, file.removesuffix(suffix) or f"{number:0{width}}"])
        unique, copy = stem, 2
        # Some systems do not distinguish capital letters.
        while unique.lower() in taken:
            unique, copy = f"{stem}-{copy}", copy + 1
        taken.add(unique.lower())
        paths.append(unique + suffix)
    return paths


def _write_folder(folder: Path, batches: Iterable[Sequence[str]], names: Sequence[str]) -> list[Path]:
    paths = [folder / name for name in names]
    for path, text in zip(paths, itertools.chain.from_iterable(batches), strict=True):
        path.parent.mkdir(parents=True, exist_ok=True)
        with create_text(path) as file:
            file.write(f"{text}\n")
    return paths


def _write_parquet(path: Path, header: Sequence[str], rows: Iterator[tuple[str, ...]]) -> None:
    pa = import_pyarrow(path)
    schema = pa.schema([(name, pa.string()) for name in header])
    groups = iter(lambda: list(itertools.islice(rows, _GROUP)), [])
    write_tables(
        path, (pa.table([[*column] for column in zip(*group, strict=True)], schema=schema) for group in groups)
    )
