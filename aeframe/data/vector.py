"""The modality ``vector``: rows of numbers, and arrays of any shape without further structure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from aeframe.data.arrays import ArrayFile
from aeframe.data.conditions import encode_known_categories
from aeframe.data.file_samples import FileSamples, OnError
from aeframe.data.folders import encode_names
from aeframe.data.lazy_rows import LazyRows, LazySource
from aeframe.data.memory import TensorSource
from aeframe.data.modality import Dataset, Modality, Source, Splits
from aeframe.data.samples import column_of, is_frame, names_of_columns
from aeframe.data.scaling import Scale, Scaler
from aeframe.data.tables import (
    Choice,
    Rows,
    TextOptions,
    encode_labels,
    options_like,
    read_header,
    read_rows,
    write_rows,
)
from aeframe.data.tables.rows import select_columns
from aeframe.data.tabular import BreastCancer, RowSplits, Table
from aeframe.data.vector_in_memory import VectorInMemory, rows_of
from aeframe.errors import AeframeError
from aeframe.types import Batch, DataSpec, Domain, Shape

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MAX_COPIED_BYTES = 1 << 31
"""Up to this size of all splits together, rows are copied after scaling. Larger ones stay where they are, in memory or
in a file, and each batch is scaled when it is read."""
_BYTES = 4
"""Bytes of a value in single precision."""
_SCALABLE: dict[str, frozenset[str]] = {
    "standard": frozenset({"real"}),
    "minmax": frozenset({"real", "unit", "signed"}),
}
"""Domains that contain the scaled values, by scale."""


class Vector(Modality):
    """Rows of numbers ``(B, D)``; arrays of more dimensions keep their shape.

    Args:
        domain: Set of possible values after scaling: ``real``, ``unit`` (0 to 1), ``signed`` (-1 to 1), ``binary``,
            ``count``, ``category(n)`` or ``simplex``.
        scale: ``standard`` scales each column to mean 0 and standard deviation 1 (for ``real`` only). ``minmax`` maps
            the minimum and maximum of each column to 0 and 1, to -1 and 1 if `domain` is ``signed``; in ``unit`` and
            ``signed`` held-out values are clipped to that range. Both are fitted on the training split.
        missing: Treatment of NaN and empty cells: ``refuse`` raises an error; ``mask`` excludes them from the loss by
            `Batch.mask`, and the encoder receives 0.

    Raises:
        AeframeError: The domain is unknown, or the options exclude each other.
    """

    defaults: ClassVar[Mapping[str, str]] = {"encoder": "mlp", "loss": "mse"}
    dataset: ClassVar[str | None] = "breast_cancer"
    in_memory: ClassVar[str | None] = "vector_in_memory"

    def __init__(
        self, *, domain: str = "real", scale: Scale = "standard", missing: Literal["refuse", "mask"] = "refuse"
    ) -> None:
        self.domain, self.scale, self.missing = Domain.parse(domain), scale, missing
        domains = _SCALABLE.get(scale)
        if domains is not None and self.domain.kind not in domains:
            alternatives = "minmax or none" if self.domain.kind in _SCALABLE["minmax"] else "none"
            raise AeframeError(
                f"modality vector: scale={scale} returns values outside domain '{self.domain}'; "
                f"set modality.scale={alternatives}"
            )
        if missing == "mask" and self.domain.kind == "simplex":
            raise AeframeError(
                "modality vector: missing=mask is not available for domain 'simplex', since values must sum to one; "
                "set modality.missing=refuse"
            )
        self._shape: Shape | None = None
        self._columns: tuple[str, ...] | None = None
        self._scaler: Scaler | None = None
        self._finite: RowSplits | None = None
        """Rows that `learn` has checked, so that `apply` need not."""
        self._label: str | None = None
        self._label_names: tuple[str, ...] | None = None
        self._text = TextOptions()

    # -- training ------------------------------------------------------------------------------------------------

    def spec(self, dataset: Dataset) -> DataSpec:
        return DataSpec(tuple(dataset.describe()["shape"]), self.domain)

    def learn(self, dataset: Dataset, raw: Any) -> None:
        if not isinstance(raw, RowSplits):
            raise AeframeError(
                f"modality vector reads RowSplits, and dataset {type(dataset).__name__} loads {type(raw).__name__}; "
                f"choose a dataset of this modality, or modality={type(dataset).modality}"
            )
        for rows in (raw.train, raw.validation, raw.test):
            self._check_finite(rows)
        self._finite = raw
        self._shape, self._columns = raw.train.header.shape, raw.train.header.columns
        self._label, self._label_names = raw.label, raw.label_names
        self._text = raw.text
        if self.scale == "standard":
            self._scaler = Scaler.standard(raw.train.values)
        elif self.scale == "minmax":
            self._scaler = Scaler.minmax(raw.train.values, -1.0 if self.domain.kind == "signed" else 0.0, 1.0)

    def apply(self, raw: RowSplits) -> Splits:
        splits = [self._match_columns(rows) for rows in (raw.train, raw.validation, raw.test)]
        for rows in splits if self._finite is not raw else ():
            self._check_finite(rows)
        self._finite = None
        if self._label_names is not None and raw.label_names is not None and raw.label_names != self._label_names:
            # The data have changed since training.
            classes = np.array([*encode_names(raw.label_names, self._label_names)])
            splits = [rows if rows.label is None else replace(rows, label=classes[rows.label]) for rows in splits]
        num_values = sum(math.prod(rows.values.shape) for rows in splits)
        train, validation, test = (self._source(rows, num_values) for rows in splits)
        return Splits(train, validation, test, label_names=self._label_names)

    def state(self) -> dict[str, Any]:
        columns = None if self._columns is None else list(self._columns)
        return {
            "shape": list(self._known_shape()),
            "columns": columns,
            "label": self._label,
            "label_names": None if self._label_names is None else list(self._label_names),
            "text": asdict(self._text),
            **(self._scaler.state() if self._scaler else {}),
        }

    def load_state(self, state: Mapping[str, Any]) -> None:
        self._shape = tuple(state["shape"])
        self._columns = None if state["columns"] is None else tuple(state["columns"])
        self._label = state.get("label")
        label_names = state.get("label_names")
        self._label_names = None if label_names is None else tuple(label_names)
        self._text = _text_options(state.get("text", {}))
        self._scaler = Scaler.from_state(state) if "offset" in state else None

    # -- samples in memory ---------------------------------------------------------------------------------------

    def prepare_samples(self, x: Any) -> Batch:
        self._known_shape()
        rows = self._match_columns(rows_of(x, self._columns))
        if is_frame(x) and self._label is not None and self._label in names_of_columns(x):
            rows.label = encode_known_categories(column_of(x, self._label), self._label_names).numpy()
        self._check_finite(rows)
        source = self._source(rows)
        return source.batch(torch.arange(len(source)))

    def restore_samples(self, x: Tensor) -> Any:
        values: NDArray[Any] = x.detach().cpu().numpy()
        values = values if self._scaler is None else self._scaler.undo(values)
        if self._columns is None:
            return values
        import pandas as pd

        return pd.DataFrame(values, columns=list(self._columns))

    # -- files and figures ---------------------------------------------------------------------------------------

    def open(self, path: Path, on_error: OnError) -> FileSamples:
        """Read rows of CSV, NPY, NPZ (array ``x``, ``x_test`` or the only one) or Parquet, scaled as in training.

        Columns are matched by name, and others are ignored. If the file or the training split has no names, number and
        order of the columns must be the same. If the file has the label of training, ``extras["label"]`` is the index
        of each label in the labels of training, -1 for another one.

        Raises:
            AeframeError: A column is missing, rows have another shape, or a value would be refused in training too.
        """
        self._known_shape()
        choice = Choice(text=options_like(path, self._columns, self._text))
        if self._columns is not None and not _is_array(path) and read_header(path, choice).columns is not None:
            choice = replace(choice, columns=self._columns)
        rows = self._match_columns(read_rows(path, self._with_label(path, choice)))
        rows = replace(rows, label=None if rows.label is None else self._encode_label(rows.label))
        self._check_finite(rows)
        return FileSamples(self._source(rows))

    def write(self, x: Tensor, path: Path, *, names: Sequence[str] | None = None) -> list[Path]:
        """Write x ``(N, *shape)`` in the unit of the training file; the suffix selects the format."""
        values: NDArray[Any] = x.detach().cpu().numpy()
        write_rows(path, values if self._scaler is None else self._scaler.undo(values), self._columns)
        return [path]

    def render(self, panels: Mapping[str, Tensor]) -> Figure:
        from aeframe.data.heatmap import heatmap

        unit = {"none": "value", "standard": "standard deviations from the mean", "minmax": "scaled value"}[self.scale]
        diverging = self.domain.kind == "signed" or (self.domain.kind == "real" and self.scale != "minmax")
        return heatmap(panels, self._columns, diverging=diverging, unit=unit)

    # -- used for training and reading ---------------------------------------------------------------------------

    def _known_shape(self) -> Shape:
        if self._shape is None:
            raise RuntimeError("modality vector has no state yet; call prepare or load_state first")
        return self._shape

    def _with_label(self, path: Path, choice: Choice) -> Choice:
        """Return `choice` with the label of training, if the file has it."""
        if self._label is None:
            return choice
        if _is_array(path):
            known = ArrayFile(path).names
            # As in training: the label of x_test is LABEL_test.
            label = self._label if "x" in known or "x_test" not in known else f"{self._label}_test"
            return replace(choice, label=label) if label in known and len(known) > 1 else choice
        with_label = replace(choice, label=self._label)
        try:
            shape = read_header(path, with_label).shape
        except AeframeError:
            # The file has no such column, or another problem, which is raised again when the rows are read.
            return choice
        # Columns without names: the label is there if the file has a column more than x.
        return with_label if shape == self._shape else choice

    def _encode_label(self, label: NDArray[Any]) -> NDArray[Any] | None:
        """Return the labels of a file as those of training; None if those of training are numbers and these are not."""
        if self._label_names is not None:
            return encode_names(label.astype(str).tolist(), self._label_names).numpy()
        (encoded,), names = encode_labels(label)
        return encoded if names is None else None

    def _match_columns(self, rows: Rows) -> Rows:
        """Return rows with the columns of training, in their order.

        Raises:
            AeframeError: A column is missing, or rows have another shape.
        """
        if rows.columns is not None and self._columns is not None and rows.columns != self._columns:
            chosen, _ = select_columns(rows.origin, rows.columns, Choice(columns=self._columns))
            rows = rows.with_columns(chosen, self._columns)
        shape = self._known_shape()
        if rows.header.shape != shape:
            raise AeframeError(
                f"'{rows.origin}' has rows of shape {rows.header.shape}, expected {shape} as in training"
            )
        return rows

    def _source(self, rows: Rows, num_values: int = 0) -> Source:
        """Return a source of the rows after scaling; missing values are masked, and the domain is checked.

        `num_values` is the number of values of all splits, which decides together whether they are copied.
        """
        extras = {} if rows.label is None else {"label": torch.from_numpy(rows.label)}
        index = None if rows.index is None else torch.from_numpy(rows.index)
        if isinstance(rows.values, LazyRows) and _BYTES * num_values > MAX_COPIED_BYTES:
            for start, values in rows.values.chunks():
                self._check_domain(rows, self._prepared(values)[0], start)
            return LazySource(rows.values, self._prepared, extras=extras, index=index)
        x, mask = self._prepared(rows.values)
        self._check_domain(rows, x)
        return TensorSource(x, mask=mask, extras=extras, index=index)

    def _prepared(self, values: NDArray[Any] | LazyRows) -> tuple[Tensor, Tensor | None]:
        """Return x ``(n, *shape)`` of rows ``(n, *shape)`` after scaling, and its mask if missing values are masked."""
        if self._scaler is not None:
            scaled: NDArray[Any] = self._scaler.apply(values)
        else:
            # Values too large for single precision become infinite; `_check_domain` refuses them.
            with np.errstate(over="ignore"):
                # An array of single precision is used as it is, unless rows of it are selected.
                dense = values[:] if isinstance(values, LazyRows) else values
                scaled = np.ascontiguousarray(dense, np.float32)
        x, mask = torch.from_numpy(scaled if scaled.flags.writeable else scaled.copy()), None
        if self._scaler is not None and self.domain.kind in ("unit", "signed"):
            x = x.clamp(*self.domain.bounds)
        if self.missing == "mask":
            mask = ~x.isnan()
            x = x.masked_fill(~mask, 0.0)
        return x.long() if self.domain.kind == "category" else x, mask

    def _check_finite(self, rows: Rows) -> None:
        """Raise AeframeError for rows that could not be read, infinite values, and for NaN unless it is masked."""
        if rows.bad:
            raise AeframeError(rows.bad[min(rows.bad)])
        if rows.values.dtype.kind != "f":
            return
        for start, values in rows.chunks():
            bad = np.isinf(values) if self.missing == "mask" else ~np.isfinite(values)
            if not bad.any():
                continue
            row, *element = (int(i) for i in np.argwhere(bad)[0])
            where = rows.where(start + row, element)
            if np.isinf(values[row, *element]):
                raise AeframeError(f"{where}: the value is infinite; correct it or drop the row")
            raise AeframeError(
                f"{where}: the value is missing (NaN); fill it, drop the row, or set modality.missing=mask to leave it "
                "out"
            )

    def _check_domain(self, rows: Rows, x: Tensor, start: int = 0) -> None:
        """Raise AeframeError for the first value of x, whose first row is number `start`, outside the domain."""
        outside = self.domain.violations(x).nonzero()
        if not len(outside):
            return
        first_row = int(outside[0])
        row = start + first_row
        if self.domain.kind == "simplex":
            raise AeframeError(
                f"{rows.where(row)}: the values are outside domain 'simplex' (each at least 0, and a sum of one); "
                "correct them, or set another modality.domain"
            )
        # Each element as a sample of its own, to find the first one outside.
        first = int(self.domain.violations(x[first_row].reshape(-1, 1)).nonzero()[0])
        element = tuple(int(i) for i in np.unravel_index(first, x.shape[1:]))
        raise AeframeError(
            f"{rows.where(row, element)}: {float(rows.values[row][element]):g} is outside domain '{self.domain}'; "
            "correct it, or set another modality.domain"
        )


def _text_options(state: Mapping[str, Any]) -> TextOptions:
    """Return the options of text files from their state, in which a tuple is a list."""
    return TextOptions(**{**state, "missing": tuple(state.get("missing", ()))})


def _is_array(path: Path) -> bool:
    return path.suffix.lower() in (".npy", ".npz")


__all__ = ["BreastCancer", "Table", "Vector", "VectorInMemory"]
