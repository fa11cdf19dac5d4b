"""The modality ``vector``: rows of numbers, and arrays whose meaning nobody has told."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from aeframe.data.memory import TensorSource
from aeframe.data.modality import Dataset, Modality, Splits
from aeframe.data.scaling import Scale, Scaler
from aeframe.data.tables import Choice, Rows, read_header, read_rows, write_rows
from aeframe.data.tables.rows import pick
from aeframe.data.tabular import BreastCancer, RowSplits, Table
from aeframe.errors import AeframeError
from aeframe.types import Batch, DataSpec, Domain, Shape

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_SCALABLE: dict[str, frozenset[str]] = {
    "standard": frozenset({"real"}),
    "minmax": frozenset({"real", "unit", "signed"}),
}
"""The domains in which scaled values lie."""


class Vector(Modality):
    """Rows of numbers ``(B, D)``; arrays of more dimensions keep their shape.

    Args:
        domain: Which values x has once it is scaled: ``real``, ``unit``, ``signed``, ``binary``, ``count``,
            ``category(n)`` or ``simplex``.
        scale: ``standard`` gives each column mean 0 and standard deviation 1, and is for ``real``. ``minmax`` maps each
            column's lowest and highest value to 0 and 1 (to -1 and 1 if `domain` is ``signed``); in ``unit`` and
            ``signed``, held-out values beyond those of training are cut off there. Both learn from the training split
            only.
        missing: What to do with NaN and empty cells: ``refuse`` names the first, ``mask`` keeps them out of the loss by
            `Batch.mask` and shows the encoder a 0.

    Raises:
        AeframeError: An unknown domain, or a combination of options that cannot be.
    """

    defaults: ClassVar[Mapping[str, str]] = {"encoder": "mlp", "loss": "mse"}
    dataset: ClassVar[str | None] = "breast_cancer"

    def __init__(
        self, *, domain: str = "real", scale: Scale = "standard", missing: Literal["refuse", "mask"] = "refuse"
    ) -> None:
        self.domain, self.scale, self.missing = Domain.parse(domain), scale, missing
        fitting = _SCALABLE.get(scale)
        if fitting is not None and self.domain.kind not in fitting:
            other = "minmax or none" if self.domain.kind in _SCALABLE["minmax"] else "none"
            raise AeframeError(
                f"modality vector: scale={scale} gives values that are not in domain '{self.domain}'; "
                f"set modality.scale={other}"
            )
        if missing == "mask" and self.domain.kind == "simplex":
            raise AeframeError("modality vector: missing=mask cannot be, since parts of a simplex do not sum to one")
        self._shape: Shape | None = None
        self._columns: tuple[str, ...] | None = None
        self._scaler: Scaler | None = None

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
            self._refuse_unusable(rows)
        self._shape, self._columns = raw.train.header.shape, raw.train.header.columns
        if self.scale == "standard":
            self._scaler = Scaler.standard(raw.train.values)
        elif self.scale == "minmax":
            self._scaler = Scaler.minmax(raw.train.values, -1.0 if self.domain.kind == "signed" else 0.0, 1.0)

    def apply(self, raw: RowSplits) -> Splits:
        splits = [self._as_learned(rows) for rows in (raw.train, raw.validation, raw.test)]
        for rows in splits:
            self._refuse_unusable(rows)
        train, validation, test = (self._source(rows) for rows in splits)
        return Splits(train, validation, test)

    def state(self) -> dict[str, Any]:
        columns = None if self._columns is None else list(self._columns)
        return {"shape": list(self._learned()), "columns": columns, **(self._scaler.state() if self._scaler else {})}

    def load_state(self, state: Mapping[str, Any]) -> None:
        self._shape = tuple(state["shape"])
        self._columns = None if state["columns"] is None else tuple(state["columns"])
        self._scaler = Scaler.from_state(state) if "offset" in state else None

    # -- files and pictures --------------------------------------------------------------------------------------

    def read(self, path: Path) -> Batch:
        """Read rows of CSV, NPY, NPZ (array ``x``, ``x_test`` or the only one) or Parquet, scaled as in training.

        Columns are found by the names they had in training, and others are passed over; a file or a training split
        without names must have them in the same number and order.

        Raises:
            AeframeError: A column that is missing, a row of another shape, a value that training would refuse.
        """
        self._learned()
        named = self._columns is not None and not _is_array(path) and read_header(path, Choice()).columns is not None
        rows = self._as_learned(read_rows(path, Choice(columns=self._columns if named else None)))
        self._refuse_unusable(rows)
        source = self._source(rows)
        return source.batch(torch.arange(len(source)))

    def write(self, x: Tensor, path: Path) -> list[Path]:
        """Write x ``(N, *shape)`` in the unit of the training file, as the suffix says: CSV, NPY, NPZ or Parquet."""
        values: NDArray[Any] = x.detach().cpu().numpy()
        write_rows(path, values if self._scaler is None else self._scaler.undo(values), self._columns)
        return [path]

    def render(self, panels: Mapping[str, Tensor]) -> Figure:
        from aeframe.data.heatmap import heatmap

        unit = {"none": "value", "standard": "standard deviations from the mean", "minmax": "scaled value"}[self.scale]
        diverging = self.domain.kind == "signed" or (self.domain.kind == "real" and self.scale != "minmax")
        return heatmap(panels, self._columns, diverging=diverging, unit=unit)

    # -- the same for training and reading -----------------------------------------------------------------------

    def _learned(self) -> Shape:
        if self._shape is None:
            raise RuntimeError("modality vector has learned nothing yet; call prepare or load_state first")
        return self._shape

    def _as_learned(self, rows: Rows) -> Rows:
        """Return rows with the columns of training, in their order.

        Raises:
            AeframeError: A column that is missing, or a row of another shape.
        """
        if rows.columns is not None and self._columns is not None and rows.columns != self._columns:
            chosen, _ = pick(rows.origin, rows.columns, Choice(columns=self._columns))
            rows = replace(rows, values=rows.values[:, chosen], columns=self._columns)
        shape = self._learned()
        if rows.header.shape != shape:
            raise AeframeError(
                f"'{rows.origin}' has rows of shape {rows.header.shape}, expected {shape} as in training"
            )
        return rows

    def _source(self, rows: Rows) -> TensorSource:
        """Scale, mask and check some rows."""
        if self._scaler is not None:
            values = self._scaler.apply(rows.values)
        else:
            with np.errstate(over="ignore"):
                values = np.ascontiguousarray(rows.values, np.float32)
        x, mask = torch.from_numpy(values), None
        if self._scaler is not None and self.domain.kind in ("unit", "signed"):
            x = x.clamp(*self.domain.bounds)
        if self.missing == "mask":
            mask = ~x.isnan()
            x = x.masked_fill(~mask, 0.0)
        self._refuse_outside(rows, x)
        return TensorSource(
            x.long() if self.domain.kind == "category" else x,
            mask=mask,
            extras={} if rows.label is None else {"label": torch.from_numpy(rows.label)},
            index=None if rows.index is None else torch.from_numpy(rows.index),
        )

    def _refuse_unusable(self, rows: Rows) -> None:
        """Refuse what no domain has: infinities, and NaN unless it is masked."""
        if rows.values.dtype.kind != "f":
            return
        bad = np.isinf(rows.values) if self.missing == "mask" else ~np.isfinite(rows.values)
        if not bad.any():
            return
        row, *element = (int(i) for i in np.argwhere(bad)[0])
        where = rows.where(row, element)
        if np.isinf(rows.values[row, *element]):
            raise AeframeError(f"{where}: the value is infinite; mend it or drop the row")
        raise AeframeError(
            f"{where}: the value is missing (NaN); fill it, drop the row, or set modality.missing=mask to leave it out"
        )

    def _refuse_outside(self, rows: Rows, x: Tensor) -> None:
        outside = self.domain.violations(x).nonzero()
        if not len(outside):
            return
        row = int(outside[0])
        if self.domain.kind == "simplex":
            raise AeframeError(
                f"{rows.where(row)}: the values are no point of a simplex, which are at least 0 and sum to one; "
                "mend them, or set modality.domain to what the data are"
            )
        first = int(self.domain.violations(x[row].reshape(-1, 1)).nonzero()[0])
        element = [int(i) for i in np.unravel_index(first, x.shape[1:])]
        raise AeframeError(
            f"{rows.where(row, element)}: {float(rows.values[row, *element]):g} is outside domain '{self.domain}'; "
            "mend it, or set modality.domain to what the data are"
        )


def _is_array(path: Path) -> bool:
    return path.suffix.lower() in (".npy", ".npz")


__all__ = ["BreastCancer", "Table", "Vector"]
