"""`AllocationLimit`: bound what the constructors of a saved model's parts allocate, by the size of its file of tensors.

The config of a saved model may come from a stranger or be damaged: it may claim sizes that its tensors do not have.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from aeframe.errors import AeframeError
from aeframe.tensors import is_trusted_content

_ONE, _ALL = 1 << 28, 1 << 30
"""Bytes that are always allowed, for one tensor and for all: tables that a part computes and does not store."""
_TIMES_ONE, _TIMES_ALL = 4, 16
"""How many times the size of the file may be allocated on top, for one tensor and for all, initial values included."""
_OPERATIONS, _BYTES_AN_OPERATION = 50_000, 100
"""Operations on tensors that are always allowed, and bytes of the file that allow one more. Recipes need thousands."""


class AllocationLimit(TorchDispatchMode):
    """Raise an error inside for a tensor that is far larger than a file of tensors, before it is allocated.

    Args:
        who: The model, for the error message.
        stored_bytes: The size of its file of tensors.
    """

    def __init__(self, who: str, stored_bytes: int) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._who, self._stored = who, stored_bytes
        self._max_operations = _OPERATIONS + stored_bytes // _BYTES_AN_OPERATION
        self._allocated = self._num_operations = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if is_trusted_content():
            return func(*args, **kwargs)
        self._num_operations += 1
        if self._num_operations > self._max_operations:
            raise AeframeError(
                f"{self._who} takes more than {self._max_operations:,} operations to build its parts, far more than "
                "its tensors need; copy the whole folder again"
            )
        makes_tensor = "device" in kwargs and not any(isinstance(argument, Tensor) for argument in args)
        if makes_tensor:
            # A tensor on the device meta has a shape, but no memory.
            self._add(func(*args, **{**kwargs, "device": torch.device("meta"), "pin_memory": False}))
        result = func(*args, **kwargs)
        if not makes_tensor:
            for tensor in result if isinstance(result, (tuple, list)) else (result,):
                if isinstance(tensor, Tensor):
                    self._check(tensor)
        return result

    def _add(self, tensor: Tensor) -> None:
        self._check(tensor)
        self._allocated += _num_bytes(tensor)
        limit = _ALL + _TIMES_ALL * self._stored
        if self._allocated > limit:
            raise self._too_large(f"tensors of more than {limit / 1e9:.3g} GB")

    def _check(self, tensor: Tensor) -> None:
        if _num_bytes(tensor) > _ONE + _TIMES_ONE * self._stored:
            raise self._too_large(f"a tensor of shape {tuple(tensor.shape)}, {_num_bytes(tensor) / 1e9:.3g} GB")

    def _too_large(self, what: str) -> AeframeError:
        return AeframeError(
            f"{self._who} needs {what}, by the sizes in its config.yaml, but its model.safetensors has "
            f"{self._stored / 1e6:.3g} MB; copy the whole folder again"
        )


def _num_bytes(tensor: Tensor) -> int:
    """Return the bytes of a tensor's own memory: a tensor that repeats its elements by strides has less."""
    if tensor.is_contiguous():
        return tensor.nbytes
    num = 1
    for size, stride in zip(tensor.shape, tensor.stride(), strict=True):
        num *= size if stride else 1
    return num * tensor.element_size()
