"""Check the arguments of `TrainedModel`'s methods, and convert them to tensors and batches.

Shapes: N samples, `shape` of one sample or of one code, C numbers of the condition of each sample. In all functions,
`who` names the model for error messages (``model 'vae'``), and `what` the argument (``x``).
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F
from torch.nn.functional import one_hot

from aeframe.data.conditions import ConditionCoding
from aeframe.data.modality import Modality
from aeframe.errors import AeframeError, did_you_mean
from aeframe.parts.losses.base import Loss
from aeframe.parts.losses.likelihoods import Gaussian
from aeframe.short_warnings import stacklevel_of_caller
from aeframe.types import Batch, DataSpec, Shape

_MANY_FAR = 0.1
"""The share of samples with values far from those of training above which a warning is shown."""
Array: TypeAlias = "Tensor | np.ndarray[Any, Any]"
Data: TypeAlias = "Tensor | np.ndarray[Any, Any] | Batch"
"""Samples ``(N, *shape)`` of values in the domain of the training data, or a batch as `Modality.read` returns it."""
Condition: TypeAlias = "Array | str | int | Sequence[str] | Sequence[int] | Mapping[str, Any]"
"""Numbers ``(N, C)``; or for a model with labels as its condition the label of each sample, by name or as an integer,
or one label for all samples. For a model with a condition of categories and numbers, its columns as in training: an
array, or a data frame or mapping with their names, or one category for all samples.
"""


@dataclass(frozen=True, slots=True)
class Labels:
    """The labels that are the condition of a model, or its last part."""

    num_classes: int = 0
    """The setting ``label_classes``: the number of labels; 0 for a model without."""
    names: tuple[str, ...] | None = None
    """The names of the labels 0, 1, ...; None if they have no names."""

    def describe(self) -> str:
        """Return the valid labels for error messages."""
        if self.names is None:
            return f"0 to {self.num_classes - 1}"
        return ", ".join(self.names[:12]) + (f", ... ({len(self.names)} in all)" if len(self.names) > 12 else "")

    def index(self, label: str | int) -> int | None:
        """Return the integer of a label; None if there is no such label. A string is a name, or else an integer."""
        if isinstance(label, str):
            if self.names is not None and label in self.names:
                return self.names.index(label)
            if not label.isdecimal():
                return None
        return int(label) if 0 <= int(label) < self.num_classes else None


def as_batch(
    who: str, x: Data, condition: Condition | None, spec: DataSpec, labels: Labels, mask: Array | None = None
) -> Batch:
    """Return samples as a batch in the dtype that the model takes: integers for categories, else single precision.

    Args:
        who: The model's name for error messages.
        x: The samples.
        condition: Their condition; None for the one in `x`, if it is a batch. For a model with labels, the labels in
            ``extras["label"]`` of a batch are appended to its condition, if they are not part of it.
        spec: Shape, domain (which values the data take) and condition of the model's data.
        labels: The labels that are the condition of the model, or its last part.
        mask: ``(N, *leading dims of shape)``, False where x is padding or missing; None for the one in `x`, if it is a
            batch. Unordered samples with fewer elements than in training are padded, and masked there.

    Raises:
        AeframeError: The shape differs, a value is outside the domain, or the condition is missing, superfluous or of
            another shape.
    """
    batch = x if isinstance(x, Batch) else Batch(_as_tensor(who, "x", x))
    batch = batch.map(Tensor.detach)
    values = _as_tensor(who, "x", batch.x)
    if mask is not None:
        batch = replace(batch, mask=_as_mask(who, mask, values))
    batch = _padded(replace(batch, x=values), spec)
    values = batch.x
    _check_shape(who, "x", values, spec.shape)
    # Values where the mask is False are not data, so they may lie outside the domain.
    checked = batch.masked_x()
    if bool((bad := spec.domain.violations(checked)).any()):
        row = int(bad.nonzero()[0])
        raise AeframeError(
            f"{who} expects values of domain {spec.domain.summary}, sample {row} has others "
            f"(from {checked[row].min().item():g} to {checked[row].max().item():g}); "
            + (
                "pass mask=~x.isnan() if they are padding or missing, or correct them"
                if bool(checked[row].isnan().any())
                else "prepare the data as in training, or read them from a file with the model's modality"
            )
        )
    dtype = torch.long if spec.domain.kind == "category" else torch.float32
    chosen = _condition_of(batch, spec, labels) if condition is None else condition
    complete = as_condition(who, chosen, spec, len(values), labels, covariates=batch.condition)
    return replace(batch, x=values.to(dtype), condition=None if complete is None else complete.to(values.device))


class FarFromTrainingWarning(UserWarning):
    """Samples that a model receives have other values than those it was trained with."""


def warn_if_far(who: str, batch: Batch, value_range: tuple[float, float], *, is_prepared: bool) -> None:
    """Warn if more than a tenth of the samples have values far outside `value_range`, by more than its width.

    A warning of the same text is shown once.

    Args:
        who: The model's name.
        batch: The samples, in the unit that the model receives.
        value_range: The lowest and highest value in training.
        is_prepared: Whether the modality prepared the samples; otherwise the caller may have forgotten to.
    """
    low, high = value_range
    width = max(high - low, torch.finfo(torch.float32).tiny)
    x = batch.masked_x().flatten(1)
    far = ((x < low - width) | (x > high + width)).any(1)
    if float(far.float().mean()) > _MANY_FAR:
        hint = (
            "check that the samples have the unit of the training data"
            if is_prepared
            else "if these are not scaled as in training, pass model.prepare(x)"
        )
        warnings.warn(
            f"{who} was trained with values from {low:.4g} to {high:.4g}, and x has values from {float(x.min()):.4g} "
            f"to {float(x.max()):.4g}; {hint}",
            FarFromTrainingWarning,
            stacklevel=stacklevel_of_caller(),
        )


def as_codes(who: str, z: Array, shape: Shape) -> Tensor:
    """Return codes ``(N, *shape)`` in single precision, without a gradient.

    Raises:
        AeframeError: The shape differs, the dtype is not floating-point, or a value is not finite.
    """
    codes = _as_tensor(who, "z", z)
    if not codes.is_floating_point():
        raise AeframeError(
            f"{who} decodes z of floating-point numbers, found {codes.dtype}; pass z.float(), or for the integer "
            "codes of a quantiser model.latent.from_codes(codes)"
        )
    _check_shape(who, "z", codes, shape)
    _check_finite(who, "z", codes)
    return codes.float()


def as_condition(
    who: str,
    condition: Condition | None,
    spec: DataSpec,
    num: int,
    labels: Labels,
    *,
    covariates: Tensor | None = None,
) -> Tensor | None:
    """Return the condition of `num` samples, ``(num, C)`` in single precision; None for a model without one.

    Args:
        who: The model's name for error messages.
        condition: Numbers ``(num, C)``, or labels.
        spec: The spec of the model's data.
        num: The number of samples.
        labels: The labels that are the condition of the model, or its last part.
        covariates: Numbers ``(num, ...)`` in front of the labels, for a model whose condition is not labels only.

    Raises:
        AeframeError: The condition is missing, of another shape or not finite, the model takes none, or a label is
            unknown.
    """
    if not spec.condition:
        if condition is not None:
            raise AeframeError(f"{who} was trained without a condition, found one; leave it out")
        return None
    values: Tensor | None = None
    if condition is not None:
        chosen = _as_labels(condition, num)
        if chosen is None:
            values = _as_tensor(who, "condition", condition)
        else:
            values = _with_covariates(who, _encode_labels(who, chosen, num, spec, labels), spec, covariates)
    if values is None or tuple(values.shape) != (num, spec.condition):
        found = "none" if values is None else f"shape {tuple(values.shape)}"
        alternative = f", or the labels of the samples ({labels.describe()})" if labels.num_classes else ""
        raise AeframeError(
            f"{who} needs a condition of shape ({num}, {spec.condition}), found {found}; set condition={alternative}"
        )
    values = values.float()
    _check_finite(who, "condition", values)
    return values


def encode_condition(who: str, condition: Any, modality: Modality, coding: ConditionCoding | None) -> Any:
    """Return a condition as numbers ``(N, C)`` if modality or data encode its categories; otherwise unchanged."""
    encoded = modality.encode_condition(who, condition)
    if encoded is not None:
        return encoded
    return condition if coding is None else coding.encode(who, condition)


def in_dtype(batch: Batch, dtype: torch.dtype) -> Batch:
    """Return a batch with all floating-point tensors of type `dtype`."""
    return batch.map(lambda tensor: tensor.to(dtype) if tensor.is_floating_point() else tensor)


def check_draw(who: str, loss: Loss, spec: DataSpec, *, draw: bool) -> None:
    """Raise an error where samples are to be drawn from a loss that is no likelihood."""
    if not draw or loss.can_draw:
        return
    kind = spec.domain.kind
    named = "loss=gaussian loss.variance=shared" if kind in Gaussian.domains else "a loss that is a likelihood"
    named = "loss=bernoulli" if kind == "binary" else named
    raise AeframeError(
        f"{who} draws samples from a likelihood with noise, found the loss {type(loss).__name__}, which has none for "
        f"new samples; leave out draw to take the mean, or train with {named}"
    )


def check_batch_size(who: str, batch_size: int) -> None:
    """Raise an error unless the batch size is an integer of at least 1."""
    if not isinstance(batch_size, int) or batch_size < 1:
        raise AeframeError(f"{who} takes a batch_size of at least 1, found {batch_size!r}")


def _condition_of(batch: Batch, spec: DataSpec, labels: Labels) -> Condition | None:
    """Return the condition of a batch, or its labels if they are not part of that."""
    label = batch.extras.get("label")
    if not labels.num_classes or label is None or label.ndim != 1 or label.is_floating_point():
        return batch.condition
    has_labels = batch.condition is not None and batch.condition.shape[1] == spec.condition
    return batch.condition if has_labels else label


def _as_labels(condition: Condition, num: int) -> list[str] | list[int] | None:
    """Return a condition as a list of labels; None if it is an array of numbers."""
    if isinstance(condition, (str, int)):
        return [condition] * num if isinstance(condition, str) else [int(condition)] * num
    if isinstance(condition, Tensor):
        integers = not condition.is_floating_point() and not condition.is_complex() and condition.dtype != torch.bool
        return [int(label) for label in condition.tolist()] if integers and condition.ndim == 1 else None
    # Indexed columns of pandas are lists for NumPy.
    array = np.asarray(condition)
    if array.ndim != 1 or array.dtype.kind not in "iuUO":
        return None
    values = array.tolist()
    return values if all(isinstance(label, (str, int)) for label in values) else None


def _encode_labels(who: str, chosen: Sequence[str | int], num: int, spec: DataSpec, labels: Labels) -> Tensor:
    """Return labels as one-hot vectors ``(num, num_classes)``.

    Raises:
        AeframeError: The model has no labels, an unknown one is among them, or their number is not `num`.
    """
    if not labels.num_classes:
        raise AeframeError(
            f"{who} was trained without label_classes, found labels; set condition= to the {spec.condition} numbers of "
            "each sample"
        )
    if len(chosen) != num:
        raise AeframeError(f"{who} needs a label for each of {num} samples, found {len(chosen)}; correct condition=")
    index = {label: labels.index(label) for label in dict.fromkeys(chosen)}
    unknown = next((number for number, label in enumerate(chosen) if index[label] is None), None)
    if unknown is not None:
        label = chosen[unknown]
        hint = did_you_mean(label, labels.names or ()) if isinstance(label, str) else ""
        # A modality returns -1 for a label that training did not have.
        found = "has a label that training did not have" if label == -1 else f"has the label {label!r}{hint}"
        raise AeframeError(f"{who} has the labels {labels.describe()}, sample {unknown} {found}; set condition=")
    return one_hot(torch.tensor([index[label] for label in chosen]), labels.num_classes).float()


def _with_covariates(who: str, encoded: Tensor, spec: DataSpec, covariates: Tensor | None) -> Tensor:
    """Return one-hot labels behind the covariates of a batch.

    Raises:
        AeframeError: The model takes covariates in front of the labels, and there are none.
    """
    num_labels = encoded.shape[1]
    num_covariates = spec.condition - num_labels
    if not num_covariates:
        return encoded
    if covariates is None or covariates.shape[1] < num_covariates:
        raise AeframeError(
            f"the condition of {who} has {spec.condition} numbers, of which {num_labels} are the label, found a label "
            f"only; set condition= to all {spec.condition} numbers"
        )
    return torch.cat([covariates[:, :num_covariates].float(), encoded.to(covariates.device)], 1)


def _as_tensor(who: str, what: str, values: Any) -> Tensor:
    """Return a tensor without a gradient; it shares the memory of an array if torch supports its dtype."""
    if isinstance(values, Tensor):
        tensor = values.detach()
    else:
        array = np.require(values, requirements=["C", "W"])
        if array.dtype.kind in "buif":
            # torch supports neither other byte orders than the machine's nor long double.
            target: Any = array.dtype.newbyteorder("=")
            if array.dtype.kind == "f" and array.dtype.itemsize > 8:
                target = np.float64
            tensor = torch.from_numpy(array.astype(target, copy=False))
        else:
            raise AeframeError(f"{who} expects {what} in numbers, found an array of {array.dtype}; convert it first")
    if tensor.is_complex():
        raise AeframeError(f"{who} expects {what} in real numbers, found {tensor.dtype}; convert it first")
    # torch has few operations for these types.
    if tensor.dtype in (torch.uint16, torch.uint32, torch.uint64):
        return tensor.to(torch.int64)
    return tensor


def _check_shape(who: str, what: str, values: Tensor, shape: Shape) -> None:
    """Raise an error unless the shape is ``(N, *shape)`` with N of at least 1."""
    if tuple(values.shape[1:]) == shape and values.ndim == len(shape) + 1 and len(values) > 0:
        return
    expected = f"(N, {', '.join(str(size) for size in shape)})"
    hint = f"; write {what}[None] for one sample" if tuple(values.shape) == shape else ""
    raise AeframeError(f"{who} expects {what} of shape {expected}, N at least 1, found {tuple(values.shape)}{hint}")


def _check_finite(who: str, what: str, values: Tensor) -> None:
    bad = ~values.isfinite().flatten(1).all(1)
    if bool(bad.any()):
        raise AeframeError(
            f"{who} expects finite values of {what}, row {int(bad.nonzero()[0])} has NaN or infinity; correct that row"
        )


def _as_mask(who: str, mask: Array, x: Tensor) -> Tensor:
    """Return a mask of x as a tensor of truth values.

    Raises:
        AeframeError: The dtype is not bool, or the shape is not that of x, or of its leading dimensions.
    """
    values = _as_tensor(who, "mask", mask)
    shape = tuple(x.shape)
    if values.dtype != torch.bool or values.ndim < 1 or tuple(values.shape) != shape[: values.ndim]:
        raise AeframeError(
            f"{who} expects a mask of truth values, True where x is valid, of the shape of x {shape} or of its leading "
            f"dimensions, found {values.dtype} of shape {tuple(values.shape)}"
        )
    return values.to(x.device)


def _padded(batch: Batch, spec: DataSpec) -> Batch:
    """Return a batch whose masked positions are padded to the model's, as sources may pad to the longest sample only.

    Unordered samples need no mask: those with fewer elements than in training get one. Other batches without a mask,
    and those that differ in another dimension or are longer, are returned as they are.
    """
    x, mask, shape = batch.x, batch.mask, spec.shape
    if x.ndim != len(shape) + 1 or tuple(x.shape[1:]) == shape:
        return batch
    if spec.unordered and (mask is None or mask.ndim == 1):
        whole = x.new_ones(x.shape[:2], dtype=torch.bool)
        mask = whole if mask is None else whole & mask.unsqueeze(1)
    if mask is None:
        return batch
    missing = [size - have for size, have in zip(shape, x.shape[1:], strict=True)]
    num_positions = mask.ndim - 1
    if min(missing) < 0 or any(missing[num_positions:]) or not x.shape[1]:
        return batch
    # `pad` takes the last dimension first.
    x_padding = [amount for size in reversed(missing) for amount in (0, size)]
    mask_padding = [amount for size in reversed(missing[:num_positions]) for amount in (0, size)]
    return replace(batch, x=F.pad(x, x_padding), mask=F.pad(mask, mask_padding))
