"""Datasets of the modality ``vector``: `Table`, a file of the user, and `BreastCancer`, bundled with scikit-learn."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from aeframe.data.arrays import ArrayFile
from aeframe.data.modality import Dataset
from aeframe.data.split_record import SPLITS, SplitRecord
from aeframe.data.tables import Choice, Rows, encode_labels, read_header, read_rows
from aeframe.errors import AeframeError
from aeframe.noise import SPLITTING, noise_of


@dataclass(slots=True)
class RowSplits:
    """Raw rows of the three splits, as `Vector` expects them: of the same shape and columns, with numeric labels."""

    train: Rows
    validation: Rows
    test: Rows

    def encode_labels(self) -> None:
        """Replace string labels by integers: their indices in the sorted labels of all splits."""
        labelled = [(rows, rows.label) for rows in (self.train, self.validation, self.test) if rows.label is not None]
        encoded = encode_labels(*(label for _, label in labelled))
        for (rows, _), label in zip(labelled, encoded, strict=True):
            rows.label = label


def share_out(
    rows: Rows,
    *,
    validation: float,
    test: float | None,
    seed: int,
    record: SplitRecord | None = None,
    test_rows: Rows | None = None,
) -> tuple[Rows, Rows, Rows | None]:
    """Shuffle rows and take fractions of them for validation and test; the rest is for training.

    Args:
        rows: All of them.
        validation: Fraction in (0, 1).
        test: Fraction in (0, 1); None where test rows come from elsewhere.
        seed: Of the shuffle.
        record: `Dataset.split_record`, which stores the split, or returns that of an earlier run.
        test_rows: The test rows that come from elsewhere.

    Raises:
        AeframeError: Too few rows for that, or fractions that leave none.
    """
    present = {"train": rows} if test_rows is None else {"train": rows, "test": test_rows}
    keys = {split: torch.arange(len(own)) for split, own in present.items()}
    places = (record or SplitRecord()).indices(rows.origin, keys, lambda: _drawn(rows, validation, test, seed))
    train, held_out, *others = (_taken(present.get(split, rows), places[split]) for split in SPLITS if split in places)
    return train, held_out, others[0] if others else None


def _taken(rows: Rows, places: Tensor) -> Rows:
    return rows if len(places) == len(rows) else rows.take(places.numpy())


def _drawn(rows: Rows, validation: float, test: float | None, seed: int) -> dict[str, Tensor]:
    fractions = {"validation": validation} if test is None else {"validation": validation, "test": test}
    has = f"{rows.origin} has {_rows(len(rows))}"
    for name, fraction in fractions.items():
        if not 0 < fraction < 1:
            raise AeframeError(f"{name}={fraction:g} is a fraction of the rows and must lie between 0 and 1, exclusive")
        if round(fraction * len(rows)) == 0:
            raise AeframeError(f"{has}, of which {name}={fraction:g} is none; add rows, or raise {name}")
    counts = [round(fraction * len(rows)) for fraction in fractions.values()]
    left = max(len(rows) - sum(counts), 0)
    if left < 2:
        raise AeframeError(
            f"{has}, which leaves {_rows(left)} for training and at least two are needed; "
            f"add rows, or lower {' and '.join(fractions)}"
        )
    with noise_of(torch.device("cpu"), seed, SPLITTING):
        order = torch.randperm(len(rows))
    # In the order of the file again: a split is a set of rows, and is easier to find there.
    parts = [part.sort().values for part in order.split([*counts, left])]
    return {**dict(zip(fractions, parts[:-1], strict=True)), "train": parts[-1]}


class Table(Dataset):
    """Rows of numbers in a file: CSV (also ``.csv.gz``), TSV, NPY, NPZ or Parquet.

    A NPZ file with the arrays ``x_train`` and ``x_test`` has a fixed test split; `label` then names ``LABEL_train`` and
    ``LABEL_test``.

    Args:
        path: The file.
        test_path: A file of test rows; without it a fraction of `path` is held out.
        key: The array of a NPZ file.
        label: A column (in NPZ an array) that is returned as `Batch.extras` ``label`` and is not part of x. Strings
            become integers in sorted order.
        columns: The columns of x by name; null for all but the label.
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
        columns: tuple[str, ...] | None = None,
        validation: float = 0.1,
        test: float = 0.1,
        split_seed: int = 0,
    ) -> None:
        self.path = Path(path).expanduser()
        self.test_path = None if test_path is None else Path(test_path).expanduser()
        self.choice = Choice(key, label, columns)
        self.validation, self.test, self.split_seed = validation, test, split_seed

    def describe(self) -> Mapping[str, Any]:
        train, test = self._choices()
        header = read_header(self.path, train)
        if test is not None and self.test_path is not None:
            test_header = read_header(self.test_path, test)
            if test_header != header:
                raise AeframeError(
                    f"'{self.test_path.name}' has rows of shape {test_header.shape} and columns "
                    f"{_names(test_header.columns)}, "
                    f"expected {header.shape} and {_names(header.columns)} as in '{self.path.name}'"
                )
        return {"shape": header.shape, "columns": header.columns}

    def load(self) -> RowSplits:
        self.describe()
        train, test = self._choices()
        rows = read_rows(self.path, train)
        test_rows = None if test is None else read_rows(self.test_path or self.path, test)
        left, validation, taken = share_out(
            rows,
            validation=self.validation,
            test=self.test if test_rows is None else None,
            seed=self.split_seed,
            record=self.split_record,
            test_rows=test_rows,
        )
        assert taken is not None
        splits = RowSplits(left, validation, taken)
        splits.encode_labels()
        return splits

    def _choices(self) -> tuple[Choice, Choice | None]:
        """Return what to read for training, and for testing; None if the test split is drawn at random."""
        if self.path.suffix.lower() == ".npz" and self.choice.key is None and self.path.is_file():
            known = ArrayFile(self.path).names
            if "x_train" in known:
                train = _choice_of_split(self.choice, "train")
                if self.test_path is not None:
                    return train, self.choice
                return train, _choice_of_split(self.choice, "test") if "x_test" in known else None
        return self.choice, None if self.test_path is None else self.choice


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
        self.validation, self.test, self.split_seed = validation, test, split_seed

    def describe(self) -> Mapping[str, Any]:
        header = self._rows().header
        return {"shape": header.shape, "columns": header.columns}

    def load(self) -> RowSplits:
        rows = self._rows()
        train, validation, test = share_out(
            rows, validation=self.validation, test=self.test, seed=self.split_seed, record=self.split_record
        )
        assert test is not None
        return RowSplits(train, validation, test)

    def _rows(self) -> Rows:
        from sklearn.datasets import load_breast_cancer

        bunch = load_breast_cancer()
        names = tuple(str(name) for name in bunch.feature_names)
        return Rows(bunch.data, "breast_cancer", names, bunch.target.astype(np.int64))


def _choice_of_split(choice: Choice, split: str) -> Choice:
    label = None if choice.label is None else f"{choice.label}_{split}"
    return Choice(f"x_{split}", label, choice.columns)


def _rows(count: int) -> str:
    return {0: "no row", 1: "one row"}.get(count, f"{count} rows")


def _names(columns: tuple[str, ...] | None) -> str:
    return "without names" if columns is None else "(" + ", ".join(columns) + ")"
