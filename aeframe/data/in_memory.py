"""`MemoryDataset`: the base class of datasets that take samples in memory instead of a file, one for each modality."""

from __future__ import annotations

import hashlib
from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from aeframe.data.conditions import ConditionCoding, encode_categories, missing_labels
from aeframe.data.factors import encode_factors
from aeframe.data.fingerprint import MAX_HASHED_BYTES, MEMORY
from aeframe.data.modality import Dataset, Source, Splits
from aeframe.data.random_split import RandomSplit
from aeframe.data.samples import (
    Samples,
    as_array,
    described,
    is_anndata,
    is_frame,
    is_picture,
    is_sparse,
    names_of_columns,
    num_samples,
)
from aeframe.data.source_wrapper import SourceWrapper
from aeframe.data.split_record import SPLITS
from aeframe.errors import AeframeError
from aeframe.factory import build, signature
from aeframe.registry import registry
from aeframe.types import FACTORS, WEIGHT, Batch, DataSpec

_HASHED = 1024
"""Samples of each split in its fingerprint, if there are too many to hash all."""


@dataclass(frozen=True, slots=True)
class SampleSplits:
    """The samples that a caller passed, by split: at least ``train``; missing splits are drawn from it."""

    by_split: Mapping[str, Samples]

    def __post_init__(self) -> None:
        for split, samples in self.by_split.items():
            if num_samples(samples.x) == 0:
                raise AeframeError(f"fit: x has no samples for the {split} split, found {described(samples.x)}")

    def content(self) -> dict[str, dict[str, Any]]:
        """Return the entry of each split in the fingerprint of a run's data, which has a hash of the samples."""
        return {split: _content(samples) for split, samples in self.by_split.items()}


@dataclass(slots=True)
class _Extra:
    """What belongs to the samples of one split besides x: tensors with a row for each."""

    condition: Tensor | None = None
    weight: Tensor | None = None
    factors: Tensor | None = None

    def fields(self) -> dict[str, Tensor | None]:
        """Return all tensors by the name of the argument that they come from."""
        return {"condition": self.condition, "sample_weight": self.weight, "factors": self.factors}

    def rows(self, index: Tensor) -> _Extra:
        """Return what belongs to the samples at `index` ``(n,)``."""
        return _Extra(*(None if rows is None else rows[index] for rows in self.fields().values()))


class MemoryDataset(Dataset):
    """Samples in memory; a subclass defines which objects it accepts, and makes raw samples of its modality of them.

    Args:
        samples: The samples by split, injected.
        validation: Fraction of the samples for validation, if no validation split was passed.
        test: Fraction of the samples for testing, if no test split was passed.
        split_seed: Seed of the random split.
    """

    noun: ClassVar[str] = "samples"
    """Plural of the word for a sample, for error messages."""

    def __init__(
        self, samples: SampleSplits, *, validation: float = 0.1, test: float = 0.1, split_seed: int = 0
    ) -> None:
        by_split = _with_equal_columns(_with_equal_columns(samples.by_split, "condition"), "factors")
        self.samples = {split: given.resolved("fit") for split, given in by_split.items()}
        self.split = RandomSplit("fit", self.noun, validation=validation, test=test, seed=split_seed)
        y = samples.by_split["train"].y
        self.label_column = y if isinstance(y, str) else None
        """The column of a data frame that has the labels; None for labels outside of it."""
        labels = self._labels()
        self._raw = {split: self.read(given.x, labels.get(split)) for split, given in self.samples.items()}
        self.condition = self._learn_condition(samples.by_split["train"])
        """The coding of the condition; None without a condition."""
        self._factors = self._encode_factors(samples.by_split["train"])
        self._extras: dict[str, _Extra] = {}

    @staticmethod
    @abstractmethod
    def accepts(x: Any) -> bool:
        """Return whether x is an object of this modality, by its type and shape; nothing is imported for it."""

    @abstractmethod
    def read(self, x: Any, labels: Tensor | None) -> Any:
        """Return the raw samples of x with their labels ``(N,)`` int64: an
        `aeframe.data.random_split.Indexable`, unless `load` is overridden.

        Raises:
            AeframeError: The samples are of a type, shape or range that the modality does not have.
        """

    @abstractmethod
    def describe_raw(self, train: Any) -> Mapping[str, Any]:
        """Return what `describe` returns, from the raw training samples."""

    def kept_rows(self, split: str, source: Source) -> Tensor | None:
        """Return which rows ``(n,)`` of a split became samples of its source; None, the default, for all of them."""
        return None

    def raw_splits(self, splits: Mapping[str, Any]) -> Any:
        """Return what `load` returns, from the raw samples of each split; by default the mapping itself."""
        return dict(splits)

    def describe(self) -> Mapping[str, Any]:
        return self.describe_raw(self._raw["train"])

    def load(self) -> Any:
        rows = self._rows()
        splits: dict[str, Any] = {}
        for split in SPLITS:
            origin = split if split in self._raw else "train"
            raw, index = self._raw[origin], rows[split]
            splits[split] = raw if len(index) == len(raw) else raw.rows(index)
            self._extras[split] = self._extra(origin, index)
        return self.raw_splits(splits)

    def content(self) -> dict[str, dict[str, Any]]:
        return SampleSplits(self.samples).content()

    def extend_spec(self, spec: DataSpec) -> DataSpec:
        return spec if self.condition is None else replace(spec, condition=spec.condition + self.condition.width)

    def attach(self, splits: Splits) -> Splits:
        sources = (
            self._attached(split, source)
            for split, source in zip(SPLITS, (splits.train, splits.validation, splits.test), strict=True)
        )
        train, validation, test = sources
        return replace(splits, train=train, validation=validation, test=test)

    # -- what belongs to each sample -----------------------------------------------------------------------------

    def _labels(self) -> dict[str, Tensor]:
        """Return the codes of the labels of each split that has labels; all splits share the names."""
        given = {split: as_array(samples.y) for split, samples in self.samples.items() if samples.y is not None}
        if not given:
            return {}
        for split, labels in given.items():
            if labels.ndim == 2 and labels.shape[1] == 1:
                given[split] = labels[:, 0]
            elif labels.ndim != 1:
                raise AeframeError(
                    f"fit: y has shape {labels.shape} for the {split} split, expected one label for each sample (N,)"
                )
        codes, names = encode_categories(np.concatenate(list(given.values())))
        num_missing = int(sum(missing_labels(labels).sum() for labels in given.values()))
        if num_missing:
            self.notes.add(f"{num_missing} of {len(codes)} labels are missing; these samples have the label -1")
        self.label_names = names or None
        parts = torch.from_numpy(codes).split([len(labels) for labels in given.values()])
        return dict(zip(given, parts, strict=True))

    def _learn_condition(self, given: Samples) -> ConditionCoding | None:
        conditions = {split: samples.condition for split, samples in self.samples.items()}
        if conditions["train"] is None:
            return None
        lacking = next((split for split, condition in conditions.items() if condition is None), None)
        if lacking is not None:
            raise AeframeError(
                f"fit: the training samples have a condition, and those for {lacking} have none; pass "
                f"{lacking}=aeframe.Samples(x, condition=...)"
            )
        values = np.concatenate([as_array(condition) for condition in conditions.values()])
        has_names = is_frame(given.x) or is_frame(given.condition)
        return ConditionCoding.learn(values, names_of_columns(given.condition) if has_names else ())

    def _encode_factors(self, given: Samples) -> dict[str, Tensor]:
        """Return the factors of variation ``(N, F)`` of each split that has them."""
        factors = {split: as_array(each.factors) for split, each in self.samples.items() if each.factors is not None}
        if not factors:
            return {}
        shapes = {split: array.shape[1:] for split, array in factors.items()}
        if len(set(shapes.values())) > 1 or len(next(iter(shapes.values()))) > 1:
            found = ", ".join(f"{factors[split].shape} for {split}" for split in factors)
            raise AeframeError(f"fit: factors have the shapes {found}, expected (N, F) with the same F for all")
        names = names_of_columns(given.factors) or ("factor",)
        columns = [
            dict(zip(names, array.T, strict=True)) if array.shape[1:] == (len(names),) else {names[0]: array}
            for array in factors.values()
        ]
        encoded, self.factor_names = encode_factors("fit", columns)
        return {split: torch.from_numpy(codes) for split, codes in zip(factors, encoded, strict=True)}

    def _rows(self) -> dict[str, Tensor]:
        """Return the rows ``(n,)`` of each split, in the samples that were passed for it or else in ``train``."""
        keys = {split: torch.arange(len(raw)) for split, raw in self._raw.items()}
        groups = self.samples["train"].groups
        return self.split.indices(keys, self.split_record, groups=groups)

    def _extra(self, split: str, index: Tensor) -> _Extra:
        samples, extra = self.samples[split], _Extra()
        if self.condition is not None:
            extra.condition = self.condition.encode("fit", samples.condition)[index]
        if split in self._factors:
            extra.factors = self._factors[split][index]
        if samples.sample_weight is not None:
            weight = torch.from_numpy(as_array(samples.sample_weight).astype(np.float32))[index]
            if not bool((weight.isfinite() & (weight >= 0)).all()) or float(weight.sum()) == 0:
                raise AeframeError("fit: sample_weight must be finite, at least 0, and not 0 for all samples")
            # A mean of 1, so that weights do not change the learning rate.
            extra.weight = weight / weight.mean()
        return extra

    def _attached(self, split: str, source: Source) -> Source:
        extra = self._extras.get(split, _Extra())
        if all(rows is None for rows in extra.fields().values()):
            return source
        kept = self.kept_rows(split, source)
        if kept is not None:
            extra = extra.rows(kept)
        for name, rows in extra.fields().items():
            if rows is not None and len(rows) != len(source):
                raise AeframeError(
                    f"fit: {name} has {len(rows)} rows for the {split} split, which has {len(source)} samples after "
                    f"its preparation; pass {self.noun} of which each becomes one sample, or leave {name} out"
                )
        return _WithExtra(source, extra)


def _with_equal_columns(by_split: Mapping[str, Samples], field: str) -> dict[str, Samples]:
    """Return the samples with the columns of a field that is a data frame in the order of those of training."""
    of_training = getattr(by_split["train"], field)
    columns = names_of_columns(of_training) if is_frame(of_training) else ()
    ordered = dict(by_split)
    for split, given in by_split.items():
        frame = getattr(given, field)
        if not columns or not is_frame(frame):
            continue
        names = names_of_columns(frame)
        missing = next((name for name in columns if name not in names), None)
        if missing is not None:
            raise AeframeError(
                f"fit: the {field} of the {split} samples has the columns {', '.join(names)}, expected "
                f"{', '.join(columns)} as for the training samples; add '{missing}'"
            )
        chosen = [frame.columns[names.index(name)] for name in columns]
        ordered[split] = replace(given, **{field: frame[chosen]})
    return ordered


class _WithExtra(SourceWrapper):
    """A source whose batches also have conditions, weights and factors of variation."""

    def __init__(self, source: Source, extra: _Extra) -> None:
        super().__init__(source)
        self.extra = extra

    def batch(self, index: Tensor) -> Batch:
        """Return the samples of the rows `index` ``(B,)``."""
        batch = self.source.batch(index)
        if self.extra.condition is not None:
            condition = self.extra.condition[index]
            known = batch.condition
            batch = replace(batch, condition=condition if known is None else torch.cat([known, condition], 1))
        if self.extra.weight is not None:
            batch = replace(batch, extras={**batch.extras, WEIGHT: self.extra.weight[index]})
        if self.extra.factors is not None:
            batch = replace(batch, extras={**batch.extras, FACTORS: self.extra.factors[index]})
        return batch


def _content(samples: Samples) -> dict[str, Any]:
    """Return the entry of samples in memory in the fingerprint of a run's data.

    All samples up to `MAX_HASHED_BYTES` are hashed, and `_HASHED` evenly spaced ones of more; labels and conditions
    are always hashed completely.
    """
    x, num = samples.x, num_samples(samples.x)
    size = _num_bytes(x)
    limit = num if size <= MAX_HASHED_BYTES else _HASHED
    rows = np.unique(np.linspace(0, num - 1, min(num, limit)).round().astype(int))
    if is_frame(x):
        hashed = [x[name].to_numpy()[rows] for name in x.columns]
    elif isinstance(x, (list, tuple)):
        hashed = [x[row] for row in rows]
    else:
        chosen = x.tocsr()[rows] if is_sparse(x) else x[rows].to_memory().X if is_anndata(x) else x[rows]
        hashed = [chosen.toarray() if is_sparse(chosen) else chosen]
    hashed += [column for column in (samples.y, samples.condition, samples.factors) if column is not None]
    digest = hashlib.sha256(str(num).encode())
    # A sound may be a pair of its samples and its rate.
    for value in (value for item in hashed for value in (item if isinstance(item, tuple) else (item,))):
        array = as_array(value)
        digest.update(repr(array.tolist()).encode() if array.dtype.hasobject else np.ascontiguousarray(array).tobytes())
    return {"path": MEMORY, "bytes": size, "sha256": digest.hexdigest()}


def _num_bytes(x: Any) -> int:
    """Return about how much memory samples take."""
    if is_frame(x):
        return sum(x[name].to_numpy().nbytes for name in x.columns)
    if isinstance(x, (list, tuple)):
        return sum(_num_bytes(item) for item in x)
    if isinstance(x, str):
        return len(x)
    if is_picture(x):
        return int(x.width * x.height * len(x.getbands()))
    if isinstance(x, (int, float)):
        return 8
    if is_anndata(x):
        x = x.X
    if is_sparse(x):
        # Its rows are hashed as dense ones.
        return int(np.prod(x.shape)) * int(x.dtype.itemsize)
    return int(x.nbytes) if hasattr(x, "nbytes") else MAX_HASHED_BYTES + 1


def build_dataset(config: Mapping[str, Any], samples: SampleSplits | None = None) -> Dataset:
    """Return the dataset of the ``data`` section of a config; `samples` are those in memory, if there are any.

    Raises:
        AeframeError: The dataset takes samples in memory, and there are none.
    """
    if samples is not None:
        in_memory: Dataset = build("dataset", config, samples=samples)
        return in_memory
    if "samples" in signature(registry().load("dataset", config["name"])).injected:
        raise AeframeError(
            f"data '{config['name']}' were in the memory of the program that trained the model; pass them again: "
            "aeframe.fit(x, ...), or use the methods of aeframe.load(folder)"
        )
    dataset: Dataset = build("dataset", config)
    return dataset


def memory_dataset(x: Any, modality: str | None) -> str:
    """Return the name of the dataset that takes x: that of `modality`, or of the first modality that accepts x.

    Modalities are asked in the order of their names, ``vector`` last.

    Raises:
        AeframeError: The modality takes nothing in memory, or no modality accepts x.
    """
    if modality is not None:
        name: str | None = registry().load("modality", modality).in_memory
        if name is None:
            raise AeframeError(f"modality '{modality}' takes no samples in memory; write them to a file")
        return name
    broken = []
    for candidate in sorted(registry().names("modality"), key=lambda name: (name == "vector", name)):
        try:
            name = registry().load("modality", candidate).in_memory
            if name is not None and registry().load("dataset", name).accepts(x):
                return name
        except AeframeError as error:
            # Samples of other modalities can be used without this one.
            broken.append(str(error))
    names = ", ".join(registry().names("modality"))
    dtype = f" and dtype {x.dtype}" if hasattr(x, "dtype") else ""
    raise AeframeError(
        f"fit: no modality takes {described(x)}{dtype} as samples; pass an array (N, ...) of numbers, a data frame, a "
        f"list of strings or of pictures, or name one of the modalities: modality={names}"
        + "".join(f"; {error}" for error in broken)
    )
