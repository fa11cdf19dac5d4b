"""`CategoryCoding`: the class number of a boolean, category or ordinal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from aeframe.errors import AeframeError, did_you_mean
from aeframe_tabular.coding.column_coding import ColumnCoding, Element, nearest_class
from aeframe_tabular.coding.options import CodingOptions
from aeframe_tabular.column import Column


class CategoryCoding(ColumnCoding):
    """The coding of a boolean, category or ordinal: one element, the class number.

    Missing cells are the last class, if the column has any in the file. Classes that the training split does not
    contain are classes as any other.

    If the column has more than `CodingOptions.max_classes` classes, the most frequent ones of the training split are
    kept, and the others are grouped as the last class before missing cells. A grouped class is decoded to a random
    draw from the training frequencies of the group. The most frequent one instead would be far too frequent in samples
    and would look like a reconstruction. The draws are determined by the seed, and so by x in `TableCoding.decode`.
    """

    def __init__(self, column: Column, index: int, options: CodingOptions) -> None:
        super().__init__(column)
        if not column.classes:
            raise AeframeError(
                f"column '{column.name}' is of the kind '{column.kind}' and needs at least one class, found none; "
                "set its kind to 'constant' to leave it out"
            )
        self._kept = min(len(column.classes), options.max_classes)
        self._has_missing = column.num_missing > 0
        self._groups = len(column.classes) > options.max_classes
        self._counts: NDArray[np.int64] | None = None
        self._tables = self._identity()
        self.class_element, self.missing_class = 0, self._kept if self._has_missing else None
        self.elements = (Element(column.name, self._kept + self._has_missing, index),)

    @property
    def groups_classes(self) -> bool:
        """Whether rare classes are grouped."""
        return self._groups

    def is_grouped(self, number: int) -> bool:
        """Return whether a class number is that of grouped classes."""
        return self._groups and number == self._kept - 1

    def learn(self, values: pd.Series[Any]) -> None:
        codes = self._codes(values)
        self._set_counts(np.bincount(codes[codes >= 0], minlength=len(self.column.classes)))

    def encode(self, values: pd.Series[Any]) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        codes = self._codes(values)
        if self._groups:
            if self._counts is None:
                raise self._not_learned()
            codes = np.append(self._tables[0], -1)[codes]
        missing = codes < 0
        number = np.where(missing, self._kept if self._has_missing else 0, codes)
        mask = np.ones(len(codes), dtype=np.bool_) if self._has_missing else ~missing
        return number.astype(np.float32)[:, None], mask[:, None]

    def decode(self, x: NDArray[np.float32], seed: int = 0) -> pd.Series[Any]:
        number = nearest_class(x[:, 0], self.elements[0].classes)
        if self._has_missing:
            number = np.where(number == self._kept, -1, number)
        if self._groups:
            if self._counts is None:
                raise self._not_learned()
            grouped = np.flatnonzero(number == self._kept - 1)
            number = np.append(self._tables[1], -1)[number]
            number[grouped] = self._draw(len(grouped), seed)
        categories = pd.Categorical.from_codes(number, categories=list(self.column.classes))  # type: ignore[arg-type]
        return pd.Series(categories, name=self.column.name)

    def state(self) -> dict[str, Any]:
        if not self._groups:
            return {}
        if self._counts is None:
            raise self._not_learned()
        return {"counts": self._counts.tolist()}

    def load_state(self, state: Mapping[str, Any]) -> None:
        if self._groups:
            self._set_counts(np.asarray(state["counts"], dtype=np.int64))

    def _set_counts(self, counts: NDArray[np.int64]) -> None:
        self._counts = counts
        if not self._groups:
            return
        # Kept classes stay in the order of the column; of equally frequent ones the first are kept.
        kept = np.sort(np.argsort(-counts, kind="stable")[: self._kept - 1])
        number = np.full(len(counts), self._kept - 1)
        number[kept] = np.arange(self._kept - 1)
        self._tables = (number, np.append(kept, -1))

    def _identity(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return class of the column to class number, and the reverse, for a column without grouped classes."""
        return np.arange(len(self.column.classes)), np.arange(self._kept)

    def _draw(self, number: int, seed: int) -> NDArray[np.int64]:
        assert self._counts is not None
        grouped = np.flatnonzero(self._tables[0] == self._kept - 1)
        counts = self._counts[grouped].astype(np.float64)
        # If the training split has none of them, all are equally probable.
        probabilities = counts / counts.sum() if counts.sum() > 0 else np.full(len(grouped), 1 / len(grouped))
        return np.random.default_rng(seed).choice(grouped, size=number, p=probabilities)

    def _codes(self, values: pd.Series[Any]) -> NDArray[np.int64]:
        """Return the class of the column (N,) of each cell; -1 where missing."""
        classes = list(self.column.classes)
        if isinstance(values.dtype, pd.CategoricalDtype) and list(values.cat.categories) == classes:
            return values.cat.codes.to_numpy().astype(np.int64)
        codes = pd.Index(classes).get_indexer(pd.Index(values.astype(object)))
        wrong = np.flatnonzero((codes < 0) & values.notna().to_numpy())
        if len(wrong):
            found = str(values.iloc[int(wrong[0])])
            raise AeframeError(
                f"column '{self.column.name}' has {len(classes)} classes, and {found!r} is none of them"
                f"{did_you_mean(found, classes)}"
            )
        return codes.astype(np.int64)
