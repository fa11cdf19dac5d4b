"""What a dataset of cells hands to the modality: counts, what is known of each cell, and which cells are for what."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from aeframe.data.random_split import RandomSplit
from aeframe.data.split_record import SPLITS, SplitRecord, keys_of_names
from aeframe.errors import AeframeError, did_you_mean
from aeframe_omics.counts import Counts

Rows = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Roles:
    """What the columns of ``obs`` are for, and where the counts are."""

    layer: str | None = None
    categorical: tuple[str, ...] = ()
    continuous: tuple[str, ...] = ()
    label: str | None = None
    batch: str | None = None
    library: str | None = None
    views: tuple[str, ...] = ()

    def state(self) -> dict[str, Any]:
        """Return them as plain values."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Roles:
        """Take back what `state` gave."""
        plain: dict[str, Any] = {k: tuple(value) if isinstance(value, list) else value for k, value in state.items()}
        return cls(**plain)


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of cells without their counts: cheap to read, also of a large file."""

    genes: tuple[str, ...]
    obs: pd.DataFrame
    """One row for each cell, by its name."""
    origin: str
    """What to call the data in a sentence."""

    def has(self, column: str) -> bool:
        """Say whether `obs` has a column."""
        return column in self.obs.columns

    def column(self, name: str, role: str) -> pd.Series[Any]:
        """Return a column of `obs`, refused by its `role` where it is missing."""
        if not self.has(name):
            columns = [str(column) for column in self.obs.columns]
            raise AeframeError(
                f"{self.origin} has no column '{name}' in obs for {role}{did_you_mean(name, columns)}; "
                f"it has {', '.join(columns) or 'none'}"
            )
        return self.obs[name]

    def words(self, name: str, role: str) -> tuple[Rows, tuple[str, ...]]:
        """Return a column as codes ``(N,)``, -1 where it is missing, and the words they stand for.

        Words are in the order of the file's categories; a column without any is sorted.
        """
        column = self.column(name, role)
        if not isinstance(column.dtype, pd.CategoricalDtype):
            column = column.astype(str).where(column.notna()).astype("category")
        codes = column.cat.codes.to_numpy().astype(np.int64)
        return codes, tuple(str(word) for word in column.cat.categories)

    def numbers(self, name: str, role: str) -> NDArray[np.float64]:
        """Return a column of numbers ``(N,)``.

        Raises:
            AeframeError: A column of something else.
        """
        column = self.column(name, role)
        if not pd.api.types.is_numeric_dtype(column.dtype):
            raise AeframeError(
                f"{self.origin}: column '{name}' in obs is {column.dtype}, expected numbers for {role}; "
                "name it among the categorical ones, or convert it"
            )
        return column.to_numpy(np.float64, na_value=np.nan)

    def cell(self, row: int) -> str:
        """Return how a sentence calls a cell."""
        return f"{self.origin}: cell '{self.obs.index[row]}' (row {row})"


@dataclass(frozen=True, slots=True)
class Cells:
    """Everything of a data set."""

    known: Known
    counts: Counts
    splits: Mapping[str, Rows]
    """The rows of each of `SPLITS`, in order."""
    roles: Roles
    min_counts: int = 0
    """Cells with fewer are passed over."""
    views: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)
    """Tables ``(N, P)`` beside the counts."""


def shared_out(
    present: Mapping[str, Rows],
    *,
    validation: float,
    test: float,
    seed: int,
    origin: str,
    record: SplitRecord | None = None,
    names: Sequence[str] = (),
) -> dict[str, Rows]:
    """Return the three splits; `present` holds at least ``train``, from which the others are drawn.

    Args:
        present: Row numbers of each split that the data come with.
        validation: Fraction of the rows in ``train``.
        test: The same.
        seed: Of the draw.
        origin: The dataset, for messages.
        record: `Dataset.split_record`, which stores the split, or returns that of an earlier run.
        names: Of all cells. A cell is recorded by its name where no other has the same, by its row otherwise.

    Raises:
        AeframeError: See `RandomSplit`.
    """
    rows = {split: torch.from_numpy(np.asarray(own, np.int64)) for split, own in present.items()}
    if len(names) and len(set(names)) == len(names):
        known = keys_of_names(names)
        keys = {split: known[own] for split, own in rows.items()}
    else:
        keys = rows
    split = RandomSplit(origin, "cells", validation=validation, test=test, seed=seed)
    indices = split.indices(keys, record)
    return {name: present.get(name, present["train"])[indices[name].numpy()] for name in SPLITS}


__all__ = ["SPLITS", "Cells", "Known", "Roles", "Rows", "shared_out"]
