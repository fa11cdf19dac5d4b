"""Write texts, with their names where the format has a place for them."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Sequence
from pathlib import Path

from aeframe.data.tables.parquet import import_pyarrow
from aeframe.errors import AeframeError
from aeframe_text.files import DELIMITERS, FORMATS, JSON_LINES
from aeframe_text.reading import ReadOptions
from aeframe_text.streams import COMPRESSIONS, create_text, format_of

_NAME = "name"
# Characters that a file name must not have on some system.
_UNSAFE = re.compile(r'[<>:"|?*\\\x00-\x1f\x7f]')
_LONGEST_NAME = 200


def write_texts(
    path: Path, texts: Sequence[str], reading: ReadOptions | None = None, *, names: Sequence[str] | None = None
) -> list[Path]:
    """Write texts to a new file in the format of its suffix, or to a new folder of ``.txt`` files; return the files.

    Args:
        path: The file, or a folder if it has no suffix.
        texts: The texts to write.
        reading: Its column is the key of JSON, and the header of CSV, TSV and Parquet; so is its `names`.
        names: The name of each text: a column or key, the words after a SMILES, or the name of a file in a folder.
            ``.txt`` files have no place for names.

    Raises:
        AeframeError: A suffix outside `FORMATS`, a file that exists, a text with a line break in ``.txt`` or ``.smi``,
            or with whitespace in ``.smi``.
    """
    reading = reading or ReadOptions()
    suffix = format_of(path)
    if not path.suffix:
        return _write_folder(path, texts, names)
    is_compressed = path.suffix.lower() in COMPRESSIONS
    if suffix not in FORMATS or (is_compressed and suffix == ".parquet"):
        raise AeframeError(
            f"modality 'text' writes {', '.join(FORMATS)} files, also compressed ({', '.join(COMPRESSIONS)}), and "
            f"folders, not '{path.name}'; choose one of them"
        )
    if path.exists():
        raise AeframeError(f"'{path}' exists and is not overwritten; remove it, or choose another path")
    _check_lines(suffix, texts)
    path.parent.mkdir(parents=True, exist_ok=True)
    column, name_column = reading.column, reading.names or _NAME
    if name_column == column:
        name_column = f"{column}_{_NAME}"
    if suffix == ".parquet":
        _write_parquet(path, {**({} if names is None else {name_column: names}), column: texts})
        return [path]
    with create_text(path) as file:
        if suffix in DELIMITERS:
            writer = csv.writer(file, delimiter=DELIMITERS[suffix], lineterminator="\n")
            if names is None:
                writer.writerows([[column], *([text] for text in texts)])
            else:
                writer.writerows([[name_column, column], *zip(names, texts, strict=True)])
        elif suffix == ".smi" and names is not None:
            lines = zip(texts, names, strict=True)
            # A name alone would be read as a molecule.
            file.writelines(f"{text}\t{' '.join(name.split())}".rstrip() * bool(text) + "\n" for text, name in lines)
        elif suffix in (".txt", ".smi"):
            file.writelines(f"{text}\n" for text in texts)
        else:
            named = [{}] * len(texts) if names is None else [{name_column: name} for name in names]
            records = (
                json.dumps({**each, column: text}, ensure_ascii=False) for each, text in zip(named, texts, strict=True)
            )
            if suffix in JSON_LINES:
                file.writelines(f"{record}\n" for record in records)
            else:
                file.write("[\n" + ",\n".join(records) + "\n]\n")
    return [path]


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


def _write_folder(folder: Path, texts: Sequence[str], names: Sequence[str] | None) -> list[Path]:
    if folder.exists():
        raise AeframeError(f"'{folder}' exists and is not overwritten; remove it, or choose another path")
    paths = [folder / name for name in file_names(names, len(texts), ".txt")]
    for path, text in zip(paths, texts, strict=True):
        path.parent.mkdir(parents=True, exist_ok=True)
        with create_text(path) as file:
            file.write(f"{text}\n")
    return paths


def _write_parquet(path: Path, columns: dict[str, Sequence[str]]) -> None:
    pa = import_pyarrow(path)
    import pyarrow.parquet as pq

    table = pa.table({name: pa.array(list(values), pa.string()) for name, values in columns.items()})
    with path.open("xb") as file:
        pq.write_table(table, file)


def _check_lines(suffix: str, texts: Sequence[str]) -> None:
    """Raise an error for texts that a format with one text on each line cannot hold."""
    if suffix not in (".txt", ".smi"):
        return
    for number, text in enumerate(texts):
        if "\n" in text or "\r" in text:
            raise AeframeError(
                f"modality 'text': sample {number} contains a line break, and {suffix} has one text per line; "
                "write .jsonl or .csv"
            )
        if suffix == ".smi" and len(text.split()) > 1:
            raise AeframeError(
                f"modality 'text': sample {number} contains whitespace, after which .smi has a name; write .txt, "
                ".jsonl or .csv"
            )
