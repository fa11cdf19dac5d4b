"""Random draws of one model's forward pass, recorded once and repeated for many models with a seed each."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

_BY_SIZE = frozenset({torch.randn, torch.rand, torch.randint, torch.randperm})
_LIKE = frozenset({torch.randn_like, torch.rand_like})
_IN_PLACE = frozenset({Tensor.normal_, Tensor.uniform_, Tensor.exponential_})
_DROPOUT = frozenset({F.dropout, torch.dropout})
_COMPOSED = frozenset({F.gumbel_softmax})
"""Functions of torch in Python that call one of the others."""


class UnrepeatableDrawsError(Exception):
    """The draws of a forward pass differ from those that were recorded."""


@dataclass(frozen=True, slots=True)
class Draw:
    """One draw of a forward pass, which does not depend on the values of the model."""

    function: Any
    numbers: tuple[Any, ...]
    """What it depends on besides the shape of the result, such as a probability."""
    draw: Callable[[], Tensor]
    """Draw again from the default generators."""


class RecordedDraws(TorchFunctionMode):
    """A context manager that records the draws of torch's functions in `draws`, and changes nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.draws: list[Draw] = []

    def __torch_function__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Run one function of torch; record it if it draws."""
        kwargs = kwargs or {}
        if func in _COMPOSED:
            with self:
                return func(*args, **kwargs)
        result = func(*args, **kwargs)
        draw = _draw_of(func, args, kwargs, result)
        if draw is not None:
            self.draws.append(Draw(func, _numbers_of(func, args, kwargs), draw))
        return result


class GivenDraws(TorchFunctionMode):
    """A context manager in which functions of torch return given tensors instead of drawing.

    Args:
        draws: The draws that were recorded.
        values: The result of each.
    """

    def __init__(self, draws: Sequence[Draw], values: Sequence[Tensor]) -> None:
        super().__init__()
        self._left = list(zip(draws, values, strict=True))[::-1]

    def __torch_function__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Run one function of torch, or return the next of the given tensors."""
        kwargs = kwargs or {}
        if func in _COMPOSED:
            with self:
                return func(*args, **kwargs)
        if not _draws(func, args, kwargs):
            return func(*args, **kwargs)
        if (
            not self._left
            or self._left[-1][0].function is not func
            or self._left[-1][0].numbers != _numbers_of(func, args, kwargs)
        ):
            raise UnrepeatableDrawsError("its random draws change from batch to batch")
        value = self._left.pop()[1]
        if func is torch.normal:
            mean, std = args[:2]
            return mean + std * value
        return args[0] * value if func in _DROPOUT else value

    def check_used(self) -> None:
        """Raise an error if fewer numbers were drawn than were recorded."""
        if self._left:
            raise UnrepeatableDrawsError("its random draws change from batch to batch")


def _draws(func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> bool:
    """Return whether a call of a function draws numbers that can be repeated."""
    if kwargs.get("generator") is not None:
        return False
    if func in _DROPOUT:
        probability, training = _dropout_arguments(args, kwargs)
        return bool(training) and probability > 0
    if func is torch.normal:
        return len(args) >= 2 and all(isinstance(value, Tensor) for value in args[:2])
    return func in _BY_SIZE or func in _LIKE or func in _IN_PLACE


def _dropout_arguments(args: Sequence[Any], kwargs: Mapping[str, Any]) -> tuple[float, bool]:
    named = dict(zip(("input", "p", "training", "inplace"), args, strict=False)) | dict(kwargs)
    return named.get("p", 0.5), named.get("training", named.get("train", True))


def _numbers_of(func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> tuple[Any, ...]:
    """Return the numbers on which a draw depends; tensors are left out."""
    if func in _DROPOUT:
        return (_dropout_arguments(args, kwargs)[0],)
    if func is torch.normal or func in _LIKE:
        return ()
    values = [value for value in args if not isinstance(value, Tensor)]
    return (*map(_plain, values), *((name, _plain(value)) for name, value in kwargs.items()))


def _plain(value: Any) -> Any:
    return tuple(value) if isinstance(value, (list, tuple)) else value


def _draw_of(func: Any, args: Sequence[Any], kwargs: Mapping[str, Any], result: Any) -> Callable[[], Tensor] | None:
    """Return a function that repeats the draw of a call; None for a call that draws nothing."""
    if not _draws(func, args, kwargs):
        return None
    size, options = result.shape, {"dtype": result.dtype, "device": result.device}
    if func in _BY_SIZE:
        return lambda: func(*args, **kwargs)
    if func is torch.normal:
        return lambda: torch.normal(torch.zeros(size, **options), torch.ones(size, **options))
    if func in _DROPOUT:
        probability = _dropout_arguments(args, kwargs)[0]
        return lambda: F.dropout(torch.ones(size, **options), probability, True)
    rest = args[1:]
    return lambda: func(torch.empty(size, **options), *rest, **kwargs)
