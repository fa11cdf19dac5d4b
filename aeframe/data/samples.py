"""`Samples`: samples in memory as a caller has them, with what belongs to each: label, condition, weight, group."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aeframe.errors import AeframeError, did_you_mean

COLUMNS = ("y", "sample_weight", "groups", "condition", "factors")
"""Fields of `Samples` with a value for each sample."""
_SEVERAL = ("condition", "factors")
"""Fields with several values for each sample, which a list of columns may name."""
_ROWS_OF_SOURCE = 1024
"""Samples that are read at a time from a `Source`."""


@dataclass(frozen=True, slots=True)
class Samples:
    """N samples in memory, for `aeframe.fit` and for the methods of a trained model.

    Where x is a data frame, each of the other fields may be the name of one of its columns, which is then not part of
    x; `condition` and `factors` may also be a list of names. For an AnnData these are columns of ``obs``.
    """

    x: Any
    """An array, tensor, data frame, sparse matrix, AnnData, list of strings, pictures or arrays, dataset of torch or of
    the library ``datasets``, or `aeframe.data.Source`."""
    y: Any = None
    """``(N,)``: the label of each sample, numbers or strings."""
    condition: Any = None
    """``(N, C)`` numbers, or ``(N,)`` categories, which become one-hot vectors."""
    sample_weight: Any = None
    """``(N,)``, not negative: the weight of each sample's loss in training."""
    groups: Any = None
    """``(N,)``: samples of one group are never in two splits."""
    factors: Any = None
    """``(N, F)`` categories: the value of each known factor of variation, for metrics such as ``mig``."""

    @classmethod
    def of(cls, x: Any) -> Samples:
        """Return `x` if it is `Samples`, those of a pair ``(x, y)``, and otherwise samples without anything else."""
        if isinstance(x, Samples):
            return x
        if isinstance(x, tuple) and len(x) == 2:
            return cls(*x)
        return cls(x)

    def unpacked(self) -> Samples:
        """Return the samples with the content of a dataset of torch or of ``datasets``, or of a `Source`, as x and y.

        Raises:
            AeframeError: The dataset has no numbered samples.
        """
        if _is(self.x, "datasets", "Dataset"):
            return _of_hugging_face(self)
        if _is(self.x, "torch.utils.data", "IterableDataset"):
            raise AeframeError(
                "fit reads samples by their numbers, and an IterableDataset has none; write its samples to a file or "
                "an array, or register a dataset whose Source reads them"
            )
        if _is(self.x, "torch.utils.data", "Dataset"):
            return _of_torch(self)
        is_source = hasattr(self.x, "batch") and hasattr(self.x, "in_memory") and hasattr(self.x, "__len__")
        return _of_source(self) if is_source else self

    def resolved(self, who: str) -> Samples:
        """Return the samples with every column as an array, and x without these columns and as an array-like object.

        Args:
            who: How error messages name the samples: ``fit``.

        Raises:
            AeframeError: A column is missing, or does not have one value for each sample.
        """
        samples = self.unpacked()
        if is_frame(samples.x) or is_anndata(samples.x):
            samples = _without_columns(who, samples)
        for name in COLUMNS:
            value = getattr(samples, name)
            if value is None:
                continue
            if isinstance(value, str):
                raise AeframeError(
                    f"{who}: {name}='{value}' names a column, but x is {described(samples.x)}, which has no named "
                    f"columns; pass an array with one value for each sample"
                )
            values = as_array(value)
            if values.ndim == 0 or len(values) != num_samples(samples.x):
                raise AeframeError(
                    f"{who}: {name} has shape {values.shape}, and x has {num_samples(samples.x)} samples; pass one "
                    "value for each sample"
                )
            samples = replace(samples, **{name: values})
        return samples


def is_frame(x: Any) -> bool:
    """Return whether x is a data frame of pandas or polars."""
    return _is(x, "pandas", "DataFrame") or _is(x, "polars", "DataFrame")


def is_anndata(x: Any) -> bool:
    """Return whether x is an AnnData: a matrix of cells with the columns of each cell in ``obs``."""
    return _is(x, "anndata", "AnnData")


def named_columns(x: Any) -> Any:
    """Return the data frame whose columns the other fields of `Samples` may name: x itself, or ``obs`` of an AnnData.

    None if x has no named columns.
    """
    return x.obs if is_anndata(x) else x if is_frame(x) else None


def column_of(frame: Any, name: str) -> Any:
    """Return a column of a data frame by its name as text: column 4 of pandas is ``"4"``.

    Raises:
        ValueError: The frame has no such column.
    """
    return frame[frame.columns[names_of_columns(frame).index(name)]]


def is_sparse(x: Any) -> bool:
    """Return whether x is a matrix or array of `scipy.sparse`."""
    sparse = sys.modules.get("scipy.sparse")
    return sparse is not None and bool(sparse.issparse(x))


def is_picture(x: Any) -> bool:
    """Return whether x is a picture of the library PIL."""
    return _is(x, "PIL.Image", "Image")


def is_tensor(x: Any) -> bool:
    """Return whether x is a tensor of torch."""
    return _is(x, "torch", "Tensor")


def is_list_of(x: Any, kind: type | tuple[type, ...]) -> bool:
    """Return whether x is a list or tuple of at least one `kind`, or an array of strings if `kind` is `str`."""
    if isinstance(x, np.ndarray):
        return kind is str and x.ndim == 1 and len(x) > 0 and isinstance(x[0], str)
    return isinstance(x, (list, tuple)) and len(x) > 0 and all(isinstance(item, kind) for item in x)


def num_samples(x: Any) -> int:
    """Return the number of samples."""
    shape = getattr(x, "shape", None)
    return int(shape[0]) if shape is not None else len(x)


def as_array(values: Any) -> NDArray[Any]:
    """Return a list, tensor, series or array as an array; an array is not copied."""
    if is_tensor(values):
        # NumPy has no bfloat16.
        is_bfloat16 = str(values.dtype) == "torch.bfloat16"
        array: NDArray[Any] = (values.float() if is_bfloat16 else values).detach().cpu().numpy()
        return array
    if hasattr(values, "to_numpy"):
        return np.asarray(values.to_numpy())
    return np.asarray(values)


def described(x: Any) -> str:
    """Return how error messages name an object: its type, and its shape or length."""
    kind = type(x)
    name = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
    shape = getattr(x, "shape", None)
    if shape is not None:
        return f"{name} of shape {tuple(shape)}"
    if isinstance(x, (list, tuple)):
        return f"{name} of {len(x)} {type(x[0]).__name__}" if len(x) else f"an empty {name}"
    return name


def _is(x: Any, module: str, name: str) -> bool:
    """Return whether x is an instance of a class in a module; nothing is imported for it."""
    return (loaded := sys.modules.get(module)) is not None and isinstance(x, getattr(loaded, name, ()))


def _without_columns(who: str, samples: Samples) -> Samples:
    """Return the samples with the columns that are named as arrays, and x without them; an AnnData stays."""
    frame, used = named_columns(samples.x), []
    names = names_of_columns(frame)
    table = "x.obs" if is_anndata(samples.x) else "x"

    def column(field: str, name: str) -> Any:
        if name not in names:
            raise AeframeError(
                f"{who}: {field}='{name}' is no column of {table}{did_you_mean(name, names)}; its columns are "
                f"{', '.join(names[:12]) or 'none'}{', ...' if len(names) > 12 else ''}"
            )
        used.append(name)
        return column_of(frame, name)

    columns: dict[str, Any] = {}
    for field in COLUMNS:
        value = getattr(samples, field)
        if isinstance(value, str):
            columns[field] = column(field, value)
        elif field in _SEVERAL and is_list_of(value, str) and len(value) != len(frame):
            columns[field] = {name: column(field, name) for name in value}
    kept = [original for original, name in zip(frame.columns, names, strict=True) if name not in used]
    for field in _SEVERAL:
        if isinstance(columns.get(field), Mapping):
            columns[field] = side_by_side([as_array(column) for column in columns[field].values()])
    x = frame[kept] if used and is_frame(samples.x) else samples.x
    return replace(samples, x=x, **columns)


def side_by_side(columns: Sequence[NDArray[Any]]) -> NDArray[Any]:
    """Return columns ``(N,)`` as one array ``(N, columns)`` of Python objects, so that each keeps its type."""
    stacked = np.empty((len(columns[0]), len(columns)), object)
    for number, column in enumerate(columns):
        stacked[:, number] = column
    return stacked


def names_of_columns(value: Any) -> tuple[str, ...]:
    """Return the names of columns that a field of `Samples` has instead of values, or with them in a data frame."""
    if is_frame(value):
        return tuple(str(name) for name in value.columns)
    if isinstance(value, str):
        return (value,)
    return tuple(value) if isinstance(value, list) and is_list_of(value, str) else ()


def _of_torch(samples: Samples) -> Samples:
    """Return the items of a dataset of torch as x, and the second element of items that are pairs as y."""
    items = [samples.x[number] for number in range(len(samples.x))]
    if items and isinstance(items[0], (tuple, list)):
        y = samples.y if samples.y is not None or len(items[0]) < 2 else [item[1] for item in items]
        samples = replace(samples, y=None if y is None else as_array(_plain_labels(y)))
        items = [item[0] for item in items]
    return replace(samples, x=_stacked(items))


def _of_source(samples: Samples) -> Samples:
    """Return the samples of a `Source` as an array, NaN where a mask is False, with labels, factors and conditions."""
    import torch

    batches = [samples.x.batch(index) for index in torch.arange(len(samples.x)).split(_ROWS_OF_SOURCE)]
    values = [batch.nan_masked_x() for batch in batches]
    columns: dict[str, Any] = {}
    if samples.y is None and all("label" in batch.extras for batch in batches):
        columns["y"] = torch.cat([batch.extras["label"] for batch in batches]).numpy()
    if samples.factors is None and all("factors" in batch.extras for batch in batches):
        columns["factors"] = torch.cat([batch.extras["factors"] for batch in batches]).numpy()
    if samples.condition is None and all(batch.condition is not None for batch in batches):
        columns["condition"] = torch.cat([batch.condition for batch in batches]).numpy()
    return replace(samples, x=torch.cat(values).numpy(), **columns)


def _plain_labels(labels: Any) -> Any:
    """Return labels with tensors of one number as numbers."""
    if isinstance(labels, list):
        return [label.item() if is_tensor(label) and label.ndim == 0 else label for label in labels]
    return labels


def _stacked(items: Sequence[Any]) -> Any:
    """Return items as one array if they have the same shape, otherwise as a list."""
    if items and all(is_tensor(item) for item in items):
        items = [item.detach().cpu().numpy() for item in items]
    is_array = bool(items) and all(isinstance(item, (np.ndarray, np.number, int, float)) for item in items)
    if is_array and len({np.shape(item) for item in items}) == 1:
        return np.stack(items)
    return list(items)


def _of_hugging_face(samples: Samples) -> Samples:
    """Return the pictures, the texts or the columns of numbers of a table of the library ``datasets``."""
    table = samples.x
    given = {field.name: getattr(samples, field.name) for field in fields(Samples) if field.name != "x"}
    names = {name: value for name, value in given.items() if isinstance(value, str)}
    for field, name in names.items():
        if name not in table.column_names:
            raise AeframeError(
                f"fit: {field}='{name}' is no column of x{did_you_mean(name, table.column_names)}; its columns are "
                f"{', '.join(table.column_names)}"
            )
    columns = {field: _hugging_face_labels(table, name) for field, name in names.items()}
    left = [name for name in table.column_names if name not in names.values()]
    kinds = {name: type(table.features[name]).__name__ for name in left}
    pictures = [name for name, kind in kinds.items() if kind == "Image"]
    strings = [name for name in left if getattr(table.features[name], "dtype", "") == "string"]
    if pictures or strings:
        column = (pictures or strings)[0]
        return replace(samples, x=list(table[column]), **columns)
    return replace(samples, x=table.select_columns(left).to_pandas(), **columns)


def _hugging_face_labels(table: Any, name: str) -> Any:
    """Return a column; classes by their names."""
    feature, values = table.features[name], table[name]
    return [feature.int2str(value) for value in values] if hasattr(feature, "int2str") else list(values)
