"""The dataset ``text_files``: texts in a file, or in the files of a folder."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

from torch import Tensor

from aeframe.data import Dataset
from aeframe.data.folders import class_folders, folder_splits, path_keys, visible_files
from aeframe.data.notes import Notes
from aeframe.data.random_split import RandomSplit
from aeframe.errors import AeframeError
from aeframe_text.files import FORMATS, check_file, iter_texts
from aeframe_text.reading import Messages, ReadOptions, Unit
from aeframe_text.streams import format_of
from aeframe_text.texts import Line, Origin, TextSplits, complete_splits


class TextFiles(Dataset):
    """Texts from a file, or from the files of a folder, also compressed (``.gz``, ``.bz2``, ``.xz``, ``.zst``).

    The texts are the lines of ``.txt``, the first words of the lines of ``.smi``, a key of JSON (``.jsonl``,
    ``.ndjson``, and ``.json``, an array), or a column of CSV, TSV or Parquet. In a folder, each ``.txt`` file is one
    text; sub-folders ``train``, ``val`` and ``test`` are splits, and class folders are labels, see
    `aeframe.data.folders.folder_splits`.

    Args:
        path: The file or folder of the training texts, and of the texts of each split that has none of its own.
        validation_path: The file or folder of the validation texts; null takes a random fraction of those in `path`.
        test_path: The file or folder of the test texts; null takes a random fraction of those in `path`.
        column: The column, or the key of a JSON object, that holds the text; ``a.b`` is the key b of the object at a.
        label: The column or key with a class for each text: a name, a whole number or a truth value. It colours the
            plot of the latent space; texts without label have -1.
        names: The column or key with a name for each text, which outputs keep; null names texts by file and line.
        messages: The column holds chat messages, objects with ``role`` and ``content``: ``contents`` joins their
            contents by line breaks, ``roles`` puts ``ROLE: `` before each; null refuses messages.
        encoding: The encoding of the files, such as ``cp1252``; null takes that of the byte order mark, and UTF-8
            without one.
        delimiter: What separates the columns of ``.csv`` and ``.tsv``; null takes commas and tabs, or another character
            with which the header has the column.
        unit: What is one text of ``.txt``: a ``line`` or the whole ``file``; null takes lines, and in a folder files.
        validation: Fraction of the texts for validation, if there is no `validation_path`.
        test: Fraction of the texts for testing, if there is no `test_path`.
        split_seed: Seed of the random split.

    Raises:
        AeframeError: An unknown encoding, a delimiter of several characters, fractions out of range.
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
        names: str | None = None,
        messages: Messages | None = None,
        encoding: str | None = None,
        delimiter: str | None = None,
        unit: Unit | None = None,
        validation: float = 0.1,
        test: float = 0.1,
        split_seed: int = 0,
    ) -> None:
        self.path = Path(path).expanduser()
        self.held_out = {
            split: Path(held_out).expanduser()
            for split, held_out in (("validation", validation_path), ("test", test_path))
            if held_out is not None
        }
        self.reading = ReadOptions(column, label, names, messages, encoding, delimiter, unit)
        self.split = RandomSplit(f"'{self.path.name}'", "texts", validation=validation, test=test, seed=split_seed)

    def describe(self) -> Mapping[str, object]:
        # The modality learns shape and vocabulary from the texts, so only the files are checked here.
        for path in (self.path, *self.held_out.values()):
            if not path.is_dir():
                check_file(path, self.reading)
        return {}

    def load(self) -> TextSplits:
        present, keys = self._load_path()
        for split, path in self.held_out.items():
            present[split] = read_texts(path, self.reading, self.notes)
            keys = None
        for split, lines in present.items():
            self._note_missing_labels(self.held_out.get(split, self.path).name, lines)
        # `split_record` is inherited; it stores the drawn split, so that a resumed run uses the same one.
        return complete_splits(present, self.split, self.split_record, reading=self.reading, keys=keys)

    def _load_path(self) -> tuple[dict[str, list[Line]], dict[str, Tensor] | None]:
        """Return the texts of each split in `path`, and their keys; None for the positions of the texts."""
        if not self.path.is_dir():
            return {"train": read_texts(self.path, self.reading, self.notes)}, None
        splits = folder_splits(
            self.path, who="data 'text_files'", what="texts", find=_text_paths, expected=f"{', '.join(FORMATS)} files"
        )
        _check_formats(self.path, [path for split in splits.values() for path in split.paths])
        _note_others(self.path, self.notes)
        present = {}
        for split, found in splits.items():
            labels = None
            if found.labels is not None and found.label_names is not None:
                labels = [found.label_names[code] for code in found.labels.tolist()]
            present[split] = list(_iter_files(self.path, found.paths, labels, self.reading, self.notes))
        if any(len(present[split]) != len(found.paths) for split, found in splits.items()):
            return present, None
        return present, {split: path_keys(self.path, found.paths) for split, found in splits.items()}

    def _note_missing_labels(self, file: str, lines: list[Line]) -> None:
        """Add a note with the number of texts of a file or folder without label.

        Raises:
            AeframeError: No text has one.
        """
        label = self.reading.label
        if label is None:
            return
        usable = [line for line in lines if line.problem is None]
        num_missing = sum(line.label is None for line in usable)
        if not num_missing:
            return
        if num_missing == len(usable):
            raise AeframeError(f"'{file}' has no label under '{label}' in any of {len(usable)} texts; set data.label")
        self.notes.add(
            f"'{file}': {num_missing} of {len(usable)} texts have no label under '{label}'; their label is -1"
        )


def read_texts(path: Path, reading: ReadOptions | None = None, notes: Notes | None = None) -> list[Line]:
    """Return all texts of a file or folder, see `open_texts`.

    Raises:
        AeframeError: There is no text.
    """
    lines = list(open_texts(path, reading or ReadOptions(), Notes() if notes is None else notes))
    if not lines:
        raise AeframeError(f"'{path.name}' has no text; add at least one")
    return lines


def open_texts(path: Path, reading: ReadOptions, notes: Notes) -> Iterator[Line]:
    """Return an iterator over all texts of a file, or of the files of a folder; unusable ones have `Line.problem` set.

    The labels of a folder are its class folders, if all files lie in one.

    Args:
        path: The file or folder.
        reading: How to read it.
        notes: Receives what is left out or guessed.

    Raises:
        AeframeError: See `iter_texts`; a folder has no texts, or texts in files of several formats.
    """
    if not path.is_dir():
        return iter_texts(path, reading, notes)
    paths = _text_paths(path)
    if not paths:
        raise AeframeError(f"'{path.name}' has no texts; expected {', '.join(FORMATS)} files")
    _check_formats(path, paths)
    _note_others(path, notes)
    return _iter_files(path, paths, class_folders(path, paths), reading, notes)


def _iter_files(
    folder: Path, paths: list[Path], labels: list[str] | None, reading: ReadOptions, notes: Notes
) -> Iterator[Line]:
    if reading.unit is None:
        reading = replace(reading, unit="file")
    for number, path in enumerate(paths):
        name = path.relative_to(folder).as_posix()
        try:
            for line in iter_texts(path, reading, notes, name=name):
                is_labelled = labels is not None and reading.label is None
                yield replace(line, label=labels[number]) if is_labelled and labels is not None else line
        except AeframeError as error:
            if reading.unit != "file" or format_of(path) != ".txt":
                raise
            # One text, which can be skipped.
            yield Line("", Origin(f"'{name}'", name), None, f"cannot be read: {error}")


def _text_paths(folder: Path) -> list[Path]:
    return sorted(
        root / name for root, names in visible_files(folder) for name in names if format_of(Path(name)) in FORMATS
    )


def _check_formats(folder: Path, paths: list[Path]) -> None:
    """Raise an error if files have several formats: it is then not clear which of them are the texts."""
    counts = Counter(format_of(path) for path in paths)
    if len(counts) > 1:
        found = ", ".join(f"{count} {suffix}" for suffix, count in sorted(counts.items()))
        raise AeframeError(
            f"'{folder.name}' has files of several formats, {found}, expected one; move those that are no texts out of "
            "the folder"
        )


def _note_others(folder: Path, notes: Notes) -> None:
    names = [Path(name) for _, names in visible_files(folder) for name in names]
    counts = Counter(name.suffix.lower() or "no suffix" for name in names if format_of(name) not in FORMATS)
    if counts:
        found = ", ".join(f"{count} {suffix}" for suffix, count in counts.most_common(5))
        num = sum(counts.values())
        notes.add(f"'{folder.name}': {num} {'file' if num == 1 else 'files'} with another suffix left out ({found})")
