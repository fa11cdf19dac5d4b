"""What people hand to a saved model, checked and made a batch."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor

from aeframe.batch import Batch, DataSpec, Shape
from aeframe.errors import AeframeError

Data: TypeAlias = "Tensor | np.ndarray[Any, Any] | Batch"
"""Samples ``(N, *shape)`` in the model's own values, or a batch as `Modality.read` gives it."""


def as_batch(who: str, x: Data, condition: Tensor | np.ndarray[Any, Any] | None, spec: DataSpec) -> Batch:
    """Return samples as a batch of the spec's type.

    Raises:
        AeframeError: Another shape, a value outside the domain, a condition that is missing or not wanted.
    """
    batch = x if isinstance(x, Batch) else Batch(as_tensor(x))
    if condition is not None:
        batch = replace(batch, condition=as_tensor(condition))
    values = batch.x
    check_shape(who, "x", values, spec.shape)
    counted = values if batch.mask is None else _unmasked(values, batch.mask)
    if bool((bad := spec.domain.violations(counted)).any()):
        row = int(bad.nonzero()[0])
        raise AeframeError(
            f"{who} expects values of domain {spec.domain}, sample {row} has others "
            f"(from {counted[row].min().item():g} to {counted[row].max().item():g}); "
            "prepare the data as in training, or read them from a file with the model's modality"
        )
    wanted = torch.long if spec.domain.kind == "category" else torch.float32
    batch = batch.with_x(values.to(wanted))
    return replace(batch, condition=checked_condition(who, batch.condition, spec, len(batch)))


def as_tensor(values: Tensor | np.ndarray[Any, Any]) -> Tensor:
    """Return a tensor; an array's memory is shared where it may be written to, and copied where not."""
    return values if isinstance(values, Tensor) else torch.from_numpy(np.require(values, requirements=["C", "W"]))


def check_shape(who: str, what: str, values: Tensor, shape: Shape) -> None:
    """Refuse anything but ``(N, *shape)`` with N of at least 1."""
    if tuple(values.shape[1:]) == shape and values.ndim == len(shape) + 1 and len(values) > 0:
        return
    wanted = f"(N, {', '.join(str(size) for size in shape)})"
    one = f"; write {what}[None] for one sample" if tuple(values.shape) == shape else ""
    raise AeframeError(f"{who} expects {what} of shape {wanted}, N at least 1, found {tuple(values.shape)}{one}")


def checked_condition(who: str, condition: Tensor | None, spec: DataSpec, num: int) -> Tensor | None:
    """Return the condition ``(num, C)`` as floats; None for a model without one.

    Raises:
        AeframeError: It is missing, of another shape, or not wanted.
    """
    if not spec.condition:
        if condition is not None:
            raise AeframeError(f"{who} was trained without a condition and is given one; leave it out")
        return None
    if condition is None or tuple(condition.shape) != (num, spec.condition):
        found = "none" if condition is None else f"shape {tuple(condition.shape)}"
        raise AeframeError(f"{who} needs a condition of shape ({num}, {spec.condition}), found {found}; set condition=")
    return condition.float()


def _unmasked(x: Tensor, mask: Tensor) -> Tensor:
    """Return x with 0, a value of nearly every domain, where nothing counts."""
    return torch.where(mask.reshape(*mask.shape, *[1] * (x.ndim - mask.ndim)), x, torch.zeros_like(x))
