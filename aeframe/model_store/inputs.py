"""Check the arguments of `TrainedModel`'s methods, and convert them to tensors and batches.

Shapes: N samples, `shape` of one sample or of one code, C numbers of the condition of each sample. In all functions,
`who` names the model for error messages (``model 'vae'``), and `what` the argument (``x``).
"""

from __future__ import annotations

import warnings
from dataclasses import replace
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor

from aeframe.errors import AeframeError
from aeframe.types import Batch, DataSpec, Shape

_MANY_FAR = 0.1
"""The share of samples with values far from those of training above which a warning is shown."""
Array: TypeAlias = "Tensor | np.ndarray[Any, Any]"
Data: TypeAlias = "Tensor | np.ndarray[Any, Any] | Batch"
"""Samples ``(N, *shape)`` of values in the domain of the training data, or a batch as `Modality.read` returns it."""


def as_batch(who: str, x: Data, condition: Array | None, spec: DataSpec) -> Batch:
    """Return samples as a batch in the dtype that the model takes: integers for categories, else single precision.

    Args:
        who: The model's name for error messages.
        x: The samples.
        condition: Their condition ``(N, C)``; None for the one in `x`, if it is a batch.
        spec: Shape, domain (which values the data take) and condition of the model's data.

    Raises:
        AeframeError: The shape differs, a value is outside the domain, or the condition is missing, superfluous or of
            another shape.
    """
    batch = x if isinstance(x, Batch) else Batch(_as_tensor(who, "x", x))
    batch = batch.map(Tensor.detach)
    values = _as_tensor(who, "x", batch.x)
    _check_shape(who, "x", values, spec.shape)
    # Values where the mask is False are not data, so they may lie outside the domain.
    checked = values if batch.mask is None else _zero_masked(values, batch.mask)
    if bool((bad := spec.domain.violations(checked)).any()):
        row = int(bad.nonzero()[0])
        raise AeframeError(
            f"{who} expects values of domain {spec.domain}, sample {row} has others "
            f"(from {checked[row].min().item():g} to {checked[row].max().item():g}); "
            "prepare the data as in training, or read them from a file with the model's modality"
        )
    dtype = torch.long if spec.domain.kind == "category" else torch.float32
    chosen = batch.condition if condition is None else condition
    return replace(batch, x=values.to(dtype), condition=as_condition(who, chosen, spec, len(values)))


class FarFromTrainingWarning(UserWarning):
    """Samples that a model receives have other values than those it was trained with."""


def warn_if_far(who: str, batch: Batch, value_range: tuple[float, float]) -> None:
    """Warn if more than a tenth of the samples have values far outside `value_range`, by more than its width.

    A warning of the same text is shown once.
    """
    low, high = value_range
    width = max(high - low, torch.finfo(torch.float32).tiny)
    x = batch.masked_x().flatten(1)
    far = ((x < low - width) | (x > high + width)).any(1)
    if float(far.float().mean()) > _MANY_FAR:
        warnings.warn(
            f"{who} was trained with values from {low:.4g} to {high:.4g}, and x has values from {float(x.min()):.4g} "
            f"to {float(x.max()):.4g}; if these are not scaled as in training, pass model.prepare(x)",
            FarFromTrainingWarning,
            stacklevel=4,
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


def as_condition(who: str, condition: Array | None, spec: DataSpec, num: int) -> Tensor | None:
    """Return the condition of `num` samples, ``(num, C)`` in single precision; None for a model without one.

    Raises:
        AeframeError: The condition is missing, of another shape or not finite, or the model takes none.
    """
    if not spec.condition:
        if condition is not None:
            raise AeframeError(f"{who} was trained without a condition, found one; leave it out")
        return None
    values = None if condition is None else _as_tensor(who, "condition", condition)
    if values is None or tuple(values.shape) != (num, spec.condition):
        found = "none" if values is None else f"shape {tuple(values.shape)}"
        raise AeframeError(f"{who} needs a condition of shape ({num}, {spec.condition}), found {found}; set condition=")
    values = values.float()
    _check_finite(who, "condition", values)
    return values


def check_batch_size(who: str, batch_size: int) -> None:
    """Raise an error unless the batch size is an integer of at least 1."""
    if not isinstance(batch_size, int) or batch_size < 1:
        raise AeframeError(f"{who} takes a batch_size of at least 1, found {batch_size!r}")


def _as_tensor(who: str, what: str, values: Array) -> Tensor:
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


def _zero_masked(x: Tensor, mask: Tensor) -> Tensor:
    """Return x with 0, a value of nearly every domain, where the mask is False."""
    return torch.where(mask.reshape(*mask.shape, *[1] * (x.ndim - mask.ndim)), x, torch.zeros_like(x))
