"""The modality ``table``: rows of numbers, categories, dates and missing cells."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from aeframe.data import Dataset, Modality, Splits
from aeframe.data.file_samples import FileSamples, OnError
from aeframe.data.filled_samples import FilledBatch, FilledSamples
from aeframe.data.media import Medium
from aeframe.data.memory import TensorSource
from aeframe.data.missing_values import count_by_column
from aeframe.data.new_output import write_new
from aeframe.data.sample_batches import SampleBatches
from aeframe.data.sample_comparison import SampleComparison
from aeframe.data.scored_parts import largest
from aeframe.data.where import Where
from aeframe.errors import AeframeError
from aeframe.types import Batch, DataSpec, Shape
from aeframe_tabular.coding import CodingOptions, NumberCodingName
from aeframe_tabular.column import Column
from aeframe_tabular.comparisons import compare
from aeframe_tabular.filling import FilledCells, fill_frame, write_filled
from aeframe_tabular.reading import RawTable, TableOptions, frame_of, read_frame
from aeframe_tabular.roles import with_index
from aeframe_tabular.row_coding import RowCoding
from aeframe_tabular.rows import TableRows, TableSplits
from aeframe_tabular.typed import Unknown, restored_frame, typed_frame
from aeframe_tabular.writing import write_frames

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_ROWS_SHOWN = 16
"""The most rows of a panel that a figure has."""


class TableModality(Modality):
    """Rows of mixed types as ``(B, D)``: one element for each number and each class that a column becomes.

    A category is one element, the number of its class. A number is an element without bounds, and with
    ``numbers=mixture``, missing cells or a value that many rows have, it has a second one, the number of its mode. A
    missing cell is a class of its own, so that new samples have missing cells too. Decision 29 describes the coding.

    Args:
        numbers: The coding of numbers: ``mixture`` divides each column into the modes of a Gaussian mixture (Xu et al.
            2019, arXiv 1907.00503), ``quantile`` maps it to a normal distribution, ``standard`` scales it to mean 0 and
            standard deviation 1.
        coding: The coding of a column by its name, where it differs from `numbers`.
        modes: The number of modes of each column with ``mixture``.
        quantiles: The number of stored quantiles of ``quantile``.
        max_classes: The most classes of a column; rarer ones are grouped.
        date_parts: Whether month, weekday and hour of a date are classes of their own.
        unknown: A class that the training file did not have: ``raise`` stops, ``missing`` takes the cell as missing.
        on_error: Treatment of bad rows: ``raise`` stops with an error, ``skip`` leaves them out and lists them.
    """

    defaults: ClassVar[Mapping[str, str]] = {"encoder": "mlp", "loss": "mixed"}
    substitutes: ClassVar[Mapping[str, Mapping[str, str]]] = {"corruption": {"gaussian": "swap_noise"}}
    metrics: ClassVar[tuple[str, ...]] = ("cells", "columns")
    feature_spaces: ClassVar[tuple[str, ...]] = ()
    dataset: ClassVar[str | None] = "table_simulated"
    in_memory: ClassVar[str | None] = "table_in_memory"
    reading_options: ClassVar[tuple[str, ...]] = ("unknown", "on_error")

    def __init__(
        self,
        *,
        numbers: NumberCodingName = "mixture",
        coding: Mapping[str, NumberCodingName] = {},
        modes: int = 10,
        quantiles: int = 1000,
        max_classes: int = 1000,
        date_parts: bool = False,
        unknown: Unknown = "raise",
        on_error: OnError = "raise",
    ) -> None:
        self.options = CodingOptions(
            numbers=numbers,
            per_column=dict(coding),
            modes=modes,
            quantiles=quantiles,
            max_classes=max_classes,
            date_parts=date_parts,
        )
        self.unknown, self.on_error = unknown, on_error
        self._rows: RowCoding | None = None
        self._options = TableOptions()

    @property
    def rows(self) -> RowCoding:
        """The columns and their coding, which `learn` or `load_state` sets."""
        if self._rows is None:
            raise RuntimeError("modality table has no state yet; call prepare or load_state first")
        return self._rows

    # -- training ------------------------------------------------------------------------------------------------

    def spec(self, dataset: Dataset) -> DataSpec:
        described = dataset.describe()
        if "roles" not in described:
            raise AeframeError(
                f"modality table needs a dataset of tables, found {type(dataset).__name__}; choose "
                f"modality={type(dataset).modality}, or data=table"
            )
        rows = RowCoding(described["columns"], described["roles"], self.options)
        extras: dict[str, Shape] = {} if rows.roles.label is None else {"label": ()}
        return DataSpec((len(rows.x.classes),), rows.x.domain, rows.condition_size, extras)

    def mask_shape(self, spec: DataSpec) -> Shape | None:
        return spec.shape

    def learn(self, dataset: Dataset, raw: Any) -> None:
        if not isinstance(raw, TableSplits):
            raise AeframeError(
                f"modality table reads tables, and dataset {type(dataset).__name__} loads {type(raw).__name__}; choose "
                f"data=table, or modality={type(dataset).modality}"
            )
        self._rows = RowCoding(raw.columns, raw.roles, self.options)
        self._options = raw.options
        self._rows.learn(raw.train.frame)

    def apply(self, raw: TableSplits) -> Splits:
        splits = [raw.train, raw.validation, raw.test]
        if raw.columns != self.rows.columns:
            # The data have changed since training: the columns are those of the model.
            splits = [self._retyped(rows, raw.columns) for rows in splits]
        train, validation, test = (self._source(rows.frame, rows.label) for rows in splits)
        return Splits(train, validation, test, skipped=[*raw.skipped], label_names=self.rows.label_names)

    def state(self) -> dict[str, Any]:
        reading = {key: list(v) if isinstance(v, tuple) else v for key, v in asdict(self._options).items()}
        return {**self.rows.state(), "reading": reading}

    def load_state(self, state: Mapping[str, Any]) -> None:
        self._rows = RowCoding.from_state(state, self.options)
        plain: Mapping[str, Any] = state["reading"]
        reading: dict[str, Any] = {key: tuple(v) if isinstance(v, list) else v for key, v in plain.items()}
        self._options = TableOptions(**reading)

    def _source(self, frame: pd.DataFrame, label: Tensor | None = None) -> TensorSource:
        """Return the samples of a typed frame; `label` are labels that are none of its columns."""
        x, mask = self.rows.encode(frame)
        label = self.rows.labels(frame) if label is None else label
        names = {} if frame.index.name is None else {"name": frame.index.to_numpy()}
        return TensorSource(
            x,
            mask=mask,
            condition=self.rows.encode_condition(frame),
            extras={} if label is None else {"label": label},
            columns=names,
        )

    def _retyped(self, rows: TableRows, columns: Sequence[Column]) -> TableRows:
        """Return the rows of a table that has other columns than that of training, as rows of the latter."""
        frame = self._typed(RawTable(restored_frame(rows.frame, columns), "the data of training"))
        return TableRows(frame.set_axis(rows.frame.index), rows.label)

    def _typed(self, raw: RawTable) -> pd.DataFrame:
        """Return the typed frame of rows as they were read, with the columns that the model uses."""
        columns = self.rows.needed(list(raw.frame.columns))
        frame = typed_frame(raw, columns, unknown=self.unknown, who="the model")
        for note in raw.notes:
            self.notes.add(note)
        return with_index(frame, raw.frame, self.rows.roles.id)

    # -- samples in memory ---------------------------------------------------------------------------------------

    def prepare_samples(self, x: Any) -> Batch:
        source = self._source(self._typed(frame_of(x, origin="x")))
        return source.batch(torch.arange(len(source)))

    def restore_samples(self, x: Tensor) -> pd.DataFrame:
        """Return a data frame with the columns of x, in the types, bounds and formats of the training table."""
        return self.rows.restored(x)

    def encode_condition(self, who: str, condition: Any) -> Tensor | None:
        columns = self.rows.condition_columns
        if not columns:
            return None
        if isinstance(condition, Tensor) or (isinstance(condition, np.ndarray) and condition.dtype.kind == "f"):
            return torch.as_tensor(condition, dtype=torch.float32)
        if isinstance(condition, Mapping):
            condition = pd.DataFrame(dict(condition))
        if not isinstance(condition, pd.DataFrame):
            condition = pd.DataFrame(np.asarray(condition).reshape(-1, len(columns)), columns=self.rows.roles.condition)
        return self.rows.encode_condition(typed_frame(condition, columns, who=who))

    # -- files and figures ---------------------------------------------------------------------------------------

    def open(self, path: Path, on_error: OnError) -> FileSamples:
        """Read rows of a table in any format that training reads; the columns are matched by name.

        Columns that the model does not have are ignored, and labels may be absent.

        Raises:
            AeframeError: A column is missing, or a cell has another kind or class than in training.
        """
        raw = read_frame(path, _options_for_another_file(self._options), on_error=on_error)
        return FileSamples(self._source(self._typed(raw)), list(raw.bad.values()))

    def write_batches(self, samples: SampleBatches, path: Path) -> list[Path]:
        """Write rows with the columns, types and formats of the training table; the suffix selects the format.

        The names of the rows are the column that identified them in training. Columns of the condition have its values.
        """
        frames = (self.rows.restored(x, names, condition) for x, names, condition in samples.conditioned())
        write_frames(path, frames, self._options)
        return [path]

    def compare_samples(
        self,
        samples: Tensor,
        held_out: Tensor,
        train: Tensor,
        *,
        reconstructions: Tensor | None = None,
        seed: int = 0,
    ) -> SampleComparison | None:
        """Return the measures of synthetic rows: shapes of columns, trends of pairs, validity, privacy and utility."""
        from aeframe_tabular.quality.comparison import sample_comparison

        trained, real, new = (self.rows.x.decode(x.cpu().numpy()) for x in (train, held_out, samples))
        reconstructed = None if reconstructions is None else self.rows.x.decode(reconstructions.cpu().numpy())
        return sample_comparison(trained, real, new, self.rows.x.columns, reconstructed=reconstructed, seed=seed)

    # -- missing cells and comparisons ---------------------------------------------------------------------------

    def missing_elements(self, batch: Batch) -> Tensor:
        """Return the elements of missing cells, see `aeframe_tabular.missing_cells`."""
        return self.rows.missing_cells.elements(batch)

    def filled(self, batch: Batch, values: Tensor) -> Batch:
        return self.rows.missing_cells.filled(batch, values)

    def without_missing(self, output: Tensor) -> Tensor:
        return self.rows.missing_cells.without_missing(output)

    def count_missing(self, missing: Tensor) -> Mapping[str, int]:
        cells = missing[:, torch.from_numpy(self.rows.x.starts)]
        return count_by_column(cells, [column.name for column in self.rows.x.columns])

    def write_filled(self, samples: FilledSamples, original: Path, path: Path) -> list[Path]:
        """Write a copy of a table with its missing cells filled, see `aeframe_tabular.filling.write_filled`."""
        options = _options_for_another_file(self._options)
        parts = list(samples)
        x, missing = (torch.cat([getattr(part, name) for part in parts]) for name in ("x", "missing"))
        cells, raw = self._filled_cells(x, missing), read_frame(original, options, on_error="skip")

        def write(new: Path) -> list[Path]:
            write_filled(original, new, raw, options, cells)
            return [new]

        return write_new(path, write)

    def restore_filled(self, batch: FilledBatch, original: Any) -> pd.DataFrame:
        """Return a copy of a data frame, or another table in memory as one, with its missing cells filled."""
        frame = original if isinstance(original, pd.DataFrame) else frame_of(original, origin="x").frame
        return fill_frame(frame, self._filled_cells(batch.x, batch.missing))

    def _filled_cells(self, x: Tensor, missing: Tensor) -> FilledCells:
        """Return the cells of filled rows ``(N, D)``; `missing` ``(N, D)`` is True where elements were filled."""
        # All rows at once, since grouped classes are drawn from a hash of all rows.
        typed = self.rows.x.decode(x.numpy())
        restored = restored_frame(typed, self.rows.x.columns)
        return FilledCells(typed, restored, missing[:, torch.from_numpy(self.rows.x.starts)].numpy())

    @property
    def condition_columns(self) -> tuple[str, ...]:
        return self.rows.roles.condition

    def select(self, x: Tensor, where: Sequence[Where]) -> Tensor:
        """Return which rows fulfil all comparisons of columns of x: classes by name, ordinals by their order."""
        columns = self.rows.x.columns
        names = [column.name for column in columns]
        positions = [each.position(names) for each in where]
        typed = self.rows.x.decode(x.detach().cpu().numpy())
        fulfilled = [
            compare(typed[names[position]], columns[position], each)
            for position, each in zip(positions, where, strict=True)
        ]
        return torch.from_numpy(np.logical_and.reduce(fulfilled))

    def locate_errors(self, errors: Tensor, batch: Batch) -> list[str]:
        """Return the three columns with the largest errors, summed over the elements of each."""
        by_column = torch.from_numpy(self.rows.x.column_sums(errors.numpy()))
        return largest(by_column, [column.name for column in self.rows.x.columns])

    def render(self, panels: Mapping[str, Tensor]) -> Figure:
        """Return the first rows of each panel as text; cells that differ from the originals are marked."""
        from aeframe_tabular.render import draw_rows

        return draw_rows({title: self.rows.restored(x[:_ROWS_SHOWN]) for title, x in panels.items()})

    def show(self, x: Tensor) -> list[list[Medium]]:
        """Return each row as text, one line for each column."""
        frame = self.rows.restored(x).astype("string").fillna("")
        texts = ["\n".join(f"{name}: {cell}" for name, cell in row.items()) for row in frame.to_dict("records")]
        return [[Medium("text/plain", text)] for text in texts]


def _options_for_another_file(options: TableOptions) -> TableOptions:
    """Return the options of training for another file, whose delimiter, decimal mark and so on are found out."""
    return replace(options, delimiter=None, decimal=None, encoding=None, header=None, columns=None, exclude=())
