"""Datasets of the modality ``vector``: `Numbers`, a file of the user, and `BreastCancer`, bundled with scikit-learn.

A `Choice` states what to read from a file: array, label and columns.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np

from aeframe.data.arrays import ArrayFile
from aeframe.data.conditions import missing_labels
from aeframe.data.factors import encode_factors
from aeframe.data.modality import Dataset
from aeframe.data.random_split import RandomSplit
from aeframe.data.tables import Choice, Rows, TextOptions, encode_labels, read_header, read_rows
from aeframe.errors import AeframeError
from aeframe.types import FACTORS


@dataclass(slots=True)
class RowSplits:
    """Raw rows of the three splits, which the modality ``vector`` prepares: of the same shape and columns, with numeric
    labels.
    """

    train: Rows
    validation: Rows
    test: Rows
    label: str | None = None
    """Name of the label in the file; None without one."""
    label_names: tuple[str, ...] | None = None
    """The names of the integer labels 0, 1, ...; None if they have no names."""
    text: TextOptions = field(default_factory=TextOptions)
    """How the file is written, as far as the user stated it."""

    def encode_labels(self) -> None:
        """Replace string labels by integers: their indices in the sorted labels of all splits; -1 for missing ones."""
        labelled = [(rows, rows.label) for rows in (self.train, self.validation, self.test) if rows.label is not None]
        encoded, self.label_names = encode_labels(*(label for _, label in labelled))
        for (rows, _), label in zip(labelled, encoded, strict=True):
            rows.label = label

    def encode_factors(self, who: str) -> tuple[str, ...]:
        """Set the factors of variation of all splits from `Rows.others`, and return their names; `who` is the file."""
        splits = (self.train, self.validation, self.test)
        encoded, names = encode_factors(who, [rows.others for rows in splits])
        for rows, factors in zip(splits, encoded, strict=True):
            rows.extras[FACTORS] = factors
        return names


class Numbers(Dataset):
    """Rows of numbers in a file: text such as CSV and TSV (also compressed, as ``.csv.gz``), NPY, NPZ, Parquet or
    Feather.

    What is not stated by an option is found out from the first lines of a text file; what is unusual is noted, and what
    is doubtful raises an error. The index of a data frame of pandas, and a first column without a name, identify the
    rows and are not part of x.

    An NPZ file with the arrays ``x_train`` and ``x_test`` has a fixed test split; `label` then names ``LABEL_train``
    and ``LABEL_test``, and so do `factors`.

    Args:
        path: The file.
        test_path: A file of test rows; without it a fraction of `path` is held out.
        key: Name of the array to read from an NPZ file.
        label: A column (in NPZ an array) that is returned as `Batch.extras` ``label`` and is not part of x. Strings
            become integers in sorted order; a missing label is -1.
        id: A column (in NPZ an array) that identifies the rows, and is not part of x.
        factors: Columns (in NPZ arrays, also of several columns) with known factors of variation, for metrics such as
            ``mig``: categories, which are not part of x. A missing value is -1.
        columns: The columns of x by name; null for all but the label, the factors and `exclude`.
        exclude: Columns that are not read, by name.
        header: Whether the first line of a text file names the columns. null takes a line without numbers as a header,
            and raises an error for a line of numbers that can be one, such as 2019, 2020, 2021.
        delimiter: What separates the cells of a text file: one character, ``tab`` or ``whitespace``.
        decimal: The decimal mark of a text file, ``.`` or ``,``.
        encoding: The encoding of a text file, such as ``cp1252``.
        missing: Marks for missing values, besides the usual ones such as ``NA`` and ``?``. A number, such as -999, is
            compared by its value, in all formats.
        validation: Fraction of the rows for validation.
        test: Fraction of the rows for testing, if there is no test split.
        split_seed: Seed of the random split.
    """

    modality: ClassVar[str] = "vector"

    def __init__(
        self,
        *,
        path: Path,
        test_path: Path | None = None,
        key: str | None = None,
        label: str | None = None,
        factors: tuple[str, ...] = (),
        columns: tuple[str, ...] | None = None,
        exclude: tuple[str, ...] = (),
        id: str | None = None,
        header: bool | None = None,
        delimiter: str | None = None,
        decimal: Literal[".", ","] | None = None,
        encoding: str | None = None,
        missing: tuple[str | float, ...] = (),
        validation: float = 0.1,
        test: float = 0.1,
        split_seed: int = 0,
    ) -> None:
        self.path = Path(path).expanduser()
        self.test_path = None if test_path is None else Path(test_path).expanduser()
        text = TextOptions(header, delimiter, decimal, encoding, missing)
        self.choice = Choice(key, label, columns, exclude, id, factors, text)
        self.split = RandomSplit(self.path.name, "rows", validation=validation, test=test, seed=split_seed)

    def describe(self) -> Mapping[str, Any]:
        train_choice, test_choice = self._what_to_read()
        header = read_header(self.path, train_choice)
        if test_choice is not None and self.test_path is not None:
            test_header = read_header(self.test_path, test_choice)
            if test_header != header:
                raise AeframeError(
                    f"'{self.test_path.name}' has rows of shape {test_header.shape} and columns "
                    f"{_names(test_header.columns)}, "
                    f"expected {header.shape} and {_names(header.columns)} as in '{self.path.name}'"
                )
        return {"shape": header.shape, "columns": header.columns}

    def load(self) -> RowSplits:
        # Checks that the files have the same shape and columns.
        self.describe()
        train_choice, test_choice = self._what_to_read()
        present = {"train": self._read(self.path, train_choice)}
        if test_choice is not None:
            present["test"] = self._read(self.test_path or self.path, test_choice)
        # `Dataset.split_record` stores the drawn split, or returns that of an earlier run.
        rows = self.split.complete(present, self.split_record)
        splits = RowSplits(
            rows["train"], rows["validation"], rows["test"], label=self.choice.label, text=self.choice.text
        )
        splits.encode_labels()
        if self.choice.others:
            self.factor_names = splits.encode_factors(self.path.name)
        return splits

    def _read(self, path: Path, choice: Choice) -> Rows:
        """Return the rows of a file, and note what was found out about it and how many labels are missing."""
        # The modality leaves bad rows out or refuses them, since it has the option `on_error`.
        rows = read_rows(path, choice, mapped=True, keep_bad=True)
        # An NPZ file may have them as NAME_train and NAME_test.
        rows.others = dict(zip(self.choice.others, rows.others.values(), strict=True))
        for note in (*rows.notes, *label_notes(path.name, rows)):
            self.notes.add(note)
        return rows

    def _what_to_read(self) -> tuple[Choice, Choice | None]:
        """Return what to read for training, and what for testing: None if the test split is drawn from the rows."""
        if self.path.suffix.lower() == ".npz" and self.choice.key is None and self.path.is_file():
            array_names = ArrayFile(self.path).names
            if "x_train" in array_names:
                train_choice = _arrays_of_split(self.choice, "train")
                if self.test_path is not None:
                    return train_choice, self.choice
                return train_choice, _arrays_of_split(self.choice, "test") if "x_test" in array_names else None
        return self.choice, None if self.test_path is None else self.choice


def label_notes(file: str, rows: Rows) -> list[str]:
    """Return a sentence about missing labels, if there are any."""
    num = 0 if rows.label is None else int(missing_labels(rows.label).sum())
    return [f"'{file}': {num} of {len(rows)} labels are missing; these samples have the label -1"] if num else []


class BreastCancer(Dataset):
    """569 biopsies with 30 measurements of cell nuclei each, and the diagnosis as label: Breast Cancer Wisconsin
    (Diagnostic) (Wolberg, Street & Mangasarian 1995), bundled with scikit-learn.

    Args:
        validation: Fraction of the rows for validation.
        test: Fraction of the rows for testing.
        split_seed: Seed of the random split.
    """

    modality: ClassVar[str] = "vector"

    def __init__(self, *, validation: float = 0.1, test: float = 0.1, split_seed: int = 0) -> None:
        who = "dataset 'breast_cancer'"
        self.split = RandomSplit(who, "rows", validation=validation, test=test, seed=split_seed)

    def describe(self) -> Mapping[str, Any]:
        header = self._rows().header
        return {"shape": header.shape, "columns": header.columns}

    def load(self) -> RowSplits:
        rows = self.split.complete({"train": self._rows()}, self.split_record)
        label_names = ("malignant", "benign")
        return RowSplits(rows["train"], rows["validation"], rows["test"], label_names=label_names)

    def _rows(self) -> Rows:
        from sklearn.datasets import load_breast_cancer

        bunch = load_breast_cancer()
        names = tuple(str(name) for name in bunch.feature_names)
        return Rows(bunch.data, "breast_cancer", names, bunch.target.astype(np.int64))


def _arrays_of_split(choice: Choice, split: str) -> Choice:
    """Return the arrays of a split in an NPZ file: ``x_train``, ``LABEL_train`` and those of factors if it has any."""
    label = None if choice.label is None else f"{choice.label}_{split}"
    return replace(choice, key=f"x_{split}", label=label, others=tuple(f"{name}_{split}" for name in choice.others))


def _names(columns: tuple[str, ...] | None) -> str:
    return "without names" if columns is None else "(" + ", ".join(columns) + ")"
