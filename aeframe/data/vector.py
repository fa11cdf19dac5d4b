"""The modality ``vector``: rows of numbers, and arrays of any shape without further structure."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeGuard

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from aeframe.data.arrays import ArrayFile
from aeframe.data.conditions import encode_known_categories, missing_labels
from aeframe.data.file_samples import FileSamples, OnError
from aeframe.data.filled_samples import FilledBatch, FilledSamples
from aeframe.data.folders import encode_names
from aeframe.data.lazy_rows import LazyRows, LazySource
from aeframe.data.media import Medium, figure_medium
from aeframe.data.memory import TensorSource
from aeframe.data.missing_values import count_by_column, fill_missing, masked_elements
from aeframe.data.modality import Dataset, Modality, Splits
from aeframe.data.new_output import write_new
from aeframe.data.sample_batches import SampleBatches
from aeframe.data.samples import column_of, is_frame, names_of_columns
from aeframe.data.scaling import Scale, Scaler
from aeframe.data.scored_parts import largest
from aeframe.data.tables import (
    Choice,
    Rows,
    TextOptions,
    column_names,
    encode_labels,
    options_like,
    read_header,
    read_rows,
    write_rows,
)
from aeframe.data.tables.filling import FilledRows, can_fill, write_filled_rows
from aeframe.data.tables.rows import label_texts, select_columns
from aeframe.data.tabular import BreastCancer, Numbers, RowSplits, label_notes
from aeframe.data.vector_checks import IN_MEMORY, READING, TRAINING, bad_values, outside_domain, rows_left
from aeframe.data.vector_in_memory import VectorInMemory, rows_of
from aeframe.data.where import Where
from aeframe.errors import AeframeError
from aeframe.types import Batch, DataSpec, Domain, Shape

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MAX_COPIED_BYTES = 1 << 31
"""Up to this size of all splits together, rows are copied after scaling. Larger ones stay where they are, in memory or
in a file, and each batch is scaled when it is read."""
_BYTES = 4
"""Bytes of a value in single precision."""
_UNITS: Mapping[Scale, str] = {
    "none": "value",
    "standard": "standard deviations from the mean",
    "minmax": "scaled value",
}
"""Labels of the values of prepared data in pictures."""
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
        on_error: Treatment of bad rows, such as those with a cell that is not a number, an infinite value or a value
            outside the domain: ``raise`` stops with an error, ``skip`` leaves them out and lists them.

    Raises:
        AeframeError: The domain is unknown, or the options exclude each other.
    """

    defaults: ClassVar[Mapping[str, str]] = {"encoder": "mlp", "loss": "mse"}
    dataset: ClassVar[str | None] = "breast_cancer"
    in_memory: ClassVar[str | None] = "vector_in_memory"
    imputation_options: ClassVar[Mapping[str, Any]] = {"missing": "mask"}

    def __init__(
        self,
        *,
        domain: str = "real",
        scale: Scale = "standard",
        missing: Literal["refuse", "mask"] = "refuse",
        on_error: OnError = "raise",
    ) -> None:
        self.domain, self.scale, self.missing, self.on_error = Domain.parse(domain), scale, missing, on_error
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
        self._usable: tuple[RowSplits, list[Rows], list[str]] | None = None
        """What `learn` received, its rows without the bad ones, and the messages about these, for `apply`."""
        self._label: str | None = None
        self._label_names: tuple[str, ...] | None = None
        self._id_column: str | None = None
        self._text = TextOptions()

    # -- training ------------------------------------------------------------------------------------------------

    def spec(self, dataset: Dataset) -> DataSpec:
        return DataSpec(tuple(dataset.describe()["shape"]), self.domain)

    def mask_shape(self, spec: DataSpec) -> Shape | None:
        return spec.shape if self.missing == "mask" else super().mask_shape(spec)

    def learn(self, dataset: Dataset, raw: Any) -> None:
        if not isinstance(raw, RowSplits):
            raise AeframeError(
                f"modality vector reads RowSplits, and dataset {type(dataset).__name__} loads {type(raw).__name__}; "
                f"choose a dataset of this modality, or modality={type(dataset).modality}"
            )
        self._shape, self._columns = raw.train.header.shape, raw.train.header.columns
        usable, skipped = self._checked(raw)
        self._usable = raw, usable, skipped
        train = usable[0]
        self._label, self._label_names = raw.label, raw.label_names
        self._id_column, self._text = train.id_column, raw.text
        if self.scale == "standard":
            self._scaler = Scaler.standard(train.values)
        elif self.scale == "minmax":
            self._scaler = Scaler.minmax(train.values, -1.0 if self.domain.kind == "signed" else 0.0, 1.0)

    def apply(self, raw: RowSplits) -> Splits:
        if self._usable is not None and self._usable[0] is raw:
            _, usable, skipped = self._usable
        else:
            usable, skipped = self._checked(raw)
        self._usable = None
        if self._label_names is not None and raw.label_names is not None and raw.label_names != self._label_names:
            # The data have changed since training.
            classes = np.array([*encode_names(raw.label_names, self._label_names)])
            usable = [_with_classes(rows, classes) for rows in usable]
        num_values = sum(math.prod(rows.values.shape) for rows in usable)
        is_copied = _BYTES * num_values <= MAX_COPIED_BYTES
        sources = []
        for rows in usable:
            source, outside = self._source(rows, self.on_error, TRAINING, is_copied=is_copied)
            sources.append(source)
            skipped = [*skipped, *outside]
        train, validation, test = sources
        return Splits(train, validation, test, skipped=skipped, label_names=self._label_names)

    def state(self) -> dict[str, Any]:
        columns = None if self._columns is None else list(self._columns)
        return {
            "shape": list(self._known_shape()),
            "columns": columns,
            "label": self._label,
            "label_names": None if self._label_names is None else list(self._label_names),
            "id_column": self._id_column,
            "text_options": {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(self._text).items()},
            **(self._scaler.state() if self._scaler else {}),
        }

    def load_state(self, state: Mapping[str, Any]) -> None:
        self._shape = tuple(state["shape"])
        self._columns = None if state["columns"] is None else tuple(state["columns"])
        self._label = state.get("label")
        label_names = state.get("label_names")
        self._label_names = None if label_names is None else tuple(label_names)
        self._id_column = state.get("id_column")
        self._text = _text_options(state.get("text_options", {}))
        self._scaler = Scaler.from_state(state) if "offset" in state else None

    # -- samples in memory ---------------------------------------------------------------------------------------

    def prepare_samples(self, x: Any) -> Batch:
        self._known_shape()
        rows = self._match_columns(rows_of(x, self._columns))
        if is_frame(x) and self._label is not None and self._label in names_of_columns(x):
            rows.label = encode_known_categories(column_of(x, self._label), self._label_names).numpy()
        first = next(bad_values(rows, is_masked=self.missing == "mask", way_out=IN_MEMORY), None)
        if first is not None:
            raise AeframeError(first[1])
        source, _ = self._source(rows, "raise", IN_MEMORY, is_copied=True)
        return source.batch(torch.arange(len(source)))

    def restore_samples(self, x: Tensor) -> Any:
        values = self._unscaled(x)
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
        raw = read_rows(path, self._choice(path), mapped=True, keep_bad=True)
        for note in (*raw.notes, *label_notes(path.name, raw)):
            self.notes.add(note)
        rows = self._match_columns(raw)
        rows = replace(rows, label=None if rows.label is None else self._encode_label(rows.label))
        rows, skipped = self._good_rows(rows, on_error, READING)
        source, outside = self._source(rows, on_error, READING, is_copied=False)
        return FileSamples(source, [*skipped, *outside])

    def write_batches(self, samples: SampleBatches, path: Path) -> list[Path]:
        """Write x ``(N, *shape)`` in the unit of the training file; the suffix selects the format.

        The names of the rows are the column that had them in training, ``name`` if there was none; in Parquet they are
        the index of the data frame. NPY files, and text without a header, do not have them.
        """
        id_column = "name" if self._id_column is None else self._id_column
        # The name under which Parquet stores an index without a name.
        id_column = "" if id_column.startswith("__index_level_") else id_column
        parts = map(self._unscaled, samples)
        write_rows(path, parts, len(samples), self._columns, names=samples.names, id_column=id_column)
        return [path]

    def _unscaled(self, x: Tensor) -> NDArray[Any]:
        values: NDArray[Any] = x.detach().cpu().numpy()
        return values if self._scaler is None else self._scaler.undo(values)

    # -- missing values and comparisons --------------------------------------------------------------------------

    def missing_elements(self, batch: Batch) -> Tensor:
        return masked_elements(batch)

    def count_missing(self, missing: Tensor) -> Mapping[str, int]:
        return super().count_missing(missing) if missing.ndim != 2 else count_by_column(missing, self._names(missing))

    def write_filled(self, samples: FilledSamples, original: Path, path: Path) -> list[Path]:
        """Write a copy of the file in which missing values of the columns of x are filled, in its format.

        In another format than that of the original the samples are written alone.
        """
        if not can_fill(original, path):
            return super().write_filled(samples, original, path)
        parts = (FilledRows(part.rows.numpy(), self._unscaled(part.x), part.missing.numpy()) for part in samples)
        choice = self._choice(original)
        return write_new(path, lambda new: write_filled_rows(original, new, choice, parts))

    def restore_filled(self, batch: FilledBatch, original: Any) -> Any:
        """Return a copy of a data frame of pandas or an array in which missing values of columns of x are filled."""
        values = self._unscaled(batch.x)
        filled = fill_missing(original, values, batch.missing.numpy(), self._columns)
        return self.restore_samples(batch.x) if filled is None else filled

    def select(self, x: Tensor, where: Sequence[Where]) -> Tensor:
        """Return which rows fulfil all comparisons; columns without names have their numbers, from 0."""
        if x.ndim != 2:
            return super().select(x, where)
        values, names = self._unscaled(x), self._names(x)
        fulfilled = [each.holds(values[:, each.position(names)], each.number()) for each in where]
        return torch.from_numpy(np.logical_and.reduce(fulfilled))

    def _names(self, rows: Tensor) -> tuple[str, ...]:
        """Return the names of the columns of rows ``(N, D)``, or their numbers."""
        return self._columns or tuple(str(number) for number in range(rows.shape[1]))

    def locate_errors(self, errors: Tensor, batch: Batch) -> list[str]:
        """Return the three columns with the largest errors, by name or by number from 0."""
        if errors.ndim != 2:
            return super().locate_errors(errors, batch)
        return largest(errors, self._names(errors))

    def render(self, panels: Mapping[str, Tensor]) -> Figure:
        from aeframe.data.heatmap import heatmap

        diverging = self.domain.kind == "signed" or (self.domain.kind == "real" and self.scale != "minmax")
        return heatmap(panels, self._columns, diverging=diverging, unit=_UNITS[self.scale])

    def show(self, x: Tensor) -> list[list[Medium]]:
        """Return a bar chart of each row, of at most 24 columns."""
        from aeframe.data.profile import draw_profiles

        return [[figure_medium(figure)] for figure in draw_profiles(x, self._columns, unit=_UNITS[self.scale])]

    # -- used for training and reading ---------------------------------------------------------------------------

    def _known_shape(self) -> Shape:
        if self._shape is None:
            raise RuntimeError("modality vector has no state yet; call prepare or load_state first")
        return self._shape

    def _choice(self, path: Path) -> Choice:
        """Return what is read from a file: the columns of training and what identifies the rows, if it has them."""
        choice = Choice(text=options_like(path, self._columns, self._text))
        names = column_names(path, choice)
        if self._columns is not None and names is not None:
            choice = replace(choice, columns=self._columns)
        known = ArrayFile(path).names if path.suffix.lower() == ".npz" else names or ()
        if self._id_column and self._id_column in known:
            choice = replace(choice, id=self._id_column)
        return self._with_label(path, choice, names)

    def _with_label(self, path: Path, choice: Choice, names: tuple[str, ...] | None) -> Choice:
        """Return `choice` with the label of training, if the file, whose columns have `names`, has it."""
        if self._label is None:
            return choice
        if _is_array(path):
            known = ArrayFile(path).names
            # As in training: the label of x_test is LABEL_test.
            label = self._label if "x" in known or "x_test" not in known else f"{self._label}_test"
            return replace(choice, label=label) if label in known and len(known) > 1 else choice
        with_label = replace(choice, label=self._label)
        if names is not None:
            return with_label if self._label in names else choice
        try:
            # Columns without names: the label is there if the file has a column more than x.
            return with_label if read_header(path, with_label).shape == self._shape else choice
        except AeframeError:
            return choice

    def _encode_label(self, label: NDArray[Any]) -> NDArray[Any] | None:
        """Return the labels of a file as those of training, -1 for missing ones; None if those of training are numbers
        and these are not.
        """
        if self._label_names is not None:
            codes = np.full(len(label), -1)
            present = ~missing_labels(label)
            codes[present] = encode_names(label_texts(label[present]), self._label_names).numpy()
            return codes
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

    def _checked(self, raw: RowSplits) -> tuple[list[Rows], list[str]]:
        """Return the rows of each split that can be used, with the columns of training, and messages about others."""
        usable, skipped = [], []
        for rows in (raw.train, raw.validation, raw.test):
            good, messages = self._good_rows(self._match_columns(rows), self.on_error, TRAINING)
            usable.append(good)
            skipped += messages
        return usable, skipped

    def _good_rows(self, rows: Rows, on_error: OnError, way_out: str) -> tuple[Rows, list[str]]:
        """Return the rows without those that have `bad_values`, and a message for each of these.

        Raises:
            AeframeError: A row is bad and `on_error` is ``raise``, or no row is left.
        """
        problems = bad_values(rows, is_masked=self.missing == "mask", way_out=way_out)
        good, messages = rows_left(rows, problems, on_error)
        return (rows if good is None else rows.rows(good)), messages

    def _source(
        self, rows: Rows, on_error: OnError, way_out: str, *, is_copied: bool
    ) -> tuple[TensorSource | LazySource, list[str]]:
        """Return a source of the rows after scaling, without those outside the domain, and a message for each of these.

        Lazy rows are scaled by batch, unless `is_copied`. Missing values are masked.

        Raises:
            AeframeError: A row is outside the domain and `on_error` is ``raise``, or no row is left.
        """
        is_lazy = isinstance(rows.values, LazyRows) and not is_copied
        x, mask = (None, None) if is_lazy else self._allocated(rows.values)
        is_filled = x is not None and x.numel() > 0 and self._is_plain(rows.values)

        def problems() -> Iterator[tuple[int, str]]:
            for start, values in rows.chunks():
                prepared, valid = self._prepared(values)
                if x is not None and not is_filled:
                    x[start : start + len(prepared)] = prepared
                if mask is not None and valid is not None:
                    mask[start : start + len(valid)] = valid
                yield from outside_domain(rows, prepared, start, self.domain, way_out=way_out)

        good, messages = rows_left(rows, problems(), on_error)
        if good is not None:
            rows = rows.rows(good)
            x, mask = (None if tensor is None else tensor[good] for tensor in (x, mask))
        extras = {name: torch.from_numpy(values) for name, values in rows.extras.items()}
        if rows.label is not None:
            extras["label"] = torch.from_numpy(rows.label)
        index = None if rows.index is None else torch.from_numpy(rows.index)
        columns = {} if rows.names is None else {"name": rows.names}
        if x is None:
            assert isinstance(rows.values, LazyRows)
            source = LazySource(
                rows.values,
                self._prepared,
                extras=extras,
                index=index,
                columns=columns,
                is_streamed=way_out == READING,
            )
            return source, messages
        return TensorSource(x, mask=mask, extras=extras, index=index, columns=columns), messages

    def _allocated(self, values: NDArray[Any] | LazyRows) -> tuple[Tensor, Tensor | None]:
        """Return tensors for all prepared rows and their mask, to be filled; x shares plain values."""
        if self._is_plain(values):
            return torch.from_numpy(values), None
        dtype = torch.int64 if self.domain.kind == "category" else torch.float32
        mask = torch.empty(values.shape, dtype=torch.bool) if self.missing == "mask" else None
        return torch.empty(values.shape, dtype=dtype), mask

    def _is_plain(self, values: NDArray[Any] | LazyRows) -> TypeGuard[NDArray[np.float32]]:
        """Return whether preparation changes nothing, so that the array can be used as it is."""
        return (
            isinstance(values, np.ndarray)
            and values.dtype == np.float32
            and values.flags.c_contiguous
            and values.flags.writeable
            and self._scaler is None
            and self.missing == "refuse"
            and self.domain.kind != "category"
        )

    def _prepared(self, values: NDArray[Any]) -> tuple[Tensor, Tensor | None]:
        """Return x ``(n, *shape)`` of rows ``(n, *shape)`` after scaling, and its mask if missing values are masked."""
        if self._scaler is not None:
            scaled: NDArray[Any] = self._scaler.apply(values)
        else:
            # Values too large for single precision become infinite, outside of any domain.
            with np.errstate(over="ignore"):
                scaled = np.array(values, np.float32)
        x, mask = torch.from_numpy(scaled), None
        if self._scaler is not None and self.domain.kind in ("unit", "signed"):
            x = x.clamp_(*self.domain.bounds)
        if self.missing == "mask":
            mask = ~x.isnan()
            x = x.masked_fill_(~mask, 0.0)
        return x.long() if self.domain.kind == "category" else x, mask


def _with_classes(rows: Rows, classes: NDArray[np.int64]) -> Rows:
    """Return rows with other numbers of their labels, `classes` by the number until now; -1 stays."""
    if rows.label is None:
        return rows
    return replace(rows, label=np.where(rows.label < 0, -1, classes[rows.label]))


def _text_options(state: Mapping[str, Any]) -> TextOptions:
    """Return the options of text files from their state, in which a tuple is a list."""
    return TextOptions(**{**state, "missing": tuple(state.get("missing", ()))})


def _is_array(path: Path) -> bool:
    return path.suffix.lower() in (".npy", ".npz")


__all__ = ["BreastCancer", "Numbers", "Vector", "VectorInMemory"]
