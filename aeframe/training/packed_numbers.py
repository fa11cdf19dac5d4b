"""`DifferingNumbers`: the numbers in which models of one structure differ, such as the weight of a loss term."""

from __future__ import annotations

import functools
import types
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from aeframe.parts.schedules import Schedule
from aeframe.types import TrainingProgress

_OF_MODULE = frozenset({"_parameters", "_buffers", "_modules"})


class UnpackableError(Exception):
    """Models cannot be trained together; the message is the reason, for a sentence about one of them."""


class UnpackableBatchError(UnpackableError):
    """Models cannot be trained together at this batch."""


class _Given(Schedule):
    """A schedule whose present value was computed outside."""

    def __init__(self, value: Any) -> None:
        self.value = value

    def __call__(self, progress: TrainingProgress) -> float:
        """Return the value, a number or a tensor without dimensions."""
        value: float = self.value
        return value


@dataclass(frozen=True, slots=True)
class _Place:
    """A number or schedule that differs, an attribute or item of an object of the first model."""

    path: str
    owner: Any
    key: Any
    values: tuple[Any, ...]
    """The number or schedule of each model."""

    @property
    def is_schedule(self) -> bool:
        return isinstance(self.values[0], Schedule)

    def numbers(self, progress: TrainingProgress) -> list[float]:
        return [value(progress) for value in self.values] if self.is_schedule else list(self.values)

    def set(self, value: Any) -> None:
        if isinstance(self.owner, (dict, list)):
            self.owner[self.key] = value
        else:
            # Dataclasses may be frozen.
            object.__setattr__(self.owner, self.key, value)


class DifferingNumbers:
    """Find the numbers and schedules in which M models differ, and set them in the first model for a vectorized pass.

    Args:
        models: The models.

    Raises:
        UnpackableError: They differ in something else, such as an integer, a string or a class.
    """

    def __init__(self, models: Sequence[nn.Module]) -> None:
        self._places: list[_Place] = []
        self._registered = {id(tensor) for model in models for tensor in (*model.parameters(), *model.buffers())}
        self._seen: set[int] = set()
        self._compare(list(models), "model", None, None)
        self._numbers: list[list[float]] = []

    def update(self, progress: TrainingProgress) -> Tensor | None:
        """Compute the numbers of each model at this progress; return ``(M, n)`` those that differ, None without any.

        Raises:
            UnpackableBatchError: A schedule is 0 for some of the models, which then leave out a term.
        """
        if not self._places:
            return None
        self._numbers = [place.numbers(progress) for place in self._places]
        for place, numbers in zip(self._places, self._numbers, strict=True):
            if place.is_schedule and 0 in numbers and any(numbers):
                raise UnpackableBatchError(f"{place.path} is 0 for some of the models")
        different = [numbers for numbers in self._numbers if len(set(numbers)) > 1]
        return torch.tensor(different, dtype=torch.float64).T.contiguous() if different else None

    @contextmanager
    def given(self, row: Tensor | None) -> Iterator[None]:
        """Set the numbers in the first model inside: those that differ are the elements of `row` ``(n,)``."""
        left = [] if row is None else list(row.unbind())[::-1]
        try:
            for place, numbers in zip(self._places, self._numbers, strict=True):
                value = numbers[0] if len(set(numbers)) == 1 else left.pop()
                place.set(_Given(value) if place.is_schedule else value)
            yield
        finally:
            for place in self._places:
                place.set(place.values[0])

    def _compare(self, values: list[Any], path: str, owner: Any, key: Any) -> None:
        """Compare the values of all models at one place; `owner` is None where a number cannot be replaced."""
        first = values[0]
        if all(value is first for value in values) or id(first) in self._registered or id(first) in self._seen:
            return
        if _are_numbers(values):
            self._compare_numbers(values, path, owner, key)
            return
        if any(type(value) is not type(first) for value in values) and not isinstance(first, Schedule):
            raise UnpackableError(f"its {path} differs from that of the other models")
        if first is None or isinstance(first, (str, bytes, bool, complex, type)):
            self._check(all(value == first for value in values), path)
            return
        self._seen.add(id(first))
        if isinstance(first, Schedule) and owner is not None:
            if not _equal_schedules(values):
                self._places.append(_Place(path, owner, key, tuple(values)))
        elif isinstance(first, Tensor):
            self._check(all(v.shape == first.shape and torch.equal(v, first) for v in values), path)
        elif isinstance(first, dict):
            self._check(all(list(value) == list(first) for value in values), path)
            for name in first:
                self._compare([value[name] for value in values], f"{path}.{name}", first, name)
        elif isinstance(first, (list, tuple)):
            self._check(all(len(value) == len(first) for value in values), path)
            replaceable = first if isinstance(first, list) else None
            for row, items in enumerate(zip(*values, strict=True)):
                self._compare(list(items), f"{path}[{row}]", replaceable, row)
        elif isinstance(first, functools.partial):
            for name in ("func", "args", "keywords"):
                self._compare([getattr(value, name) for value in values], path, None, None)
        elif isinstance(first, types.MethodType):
            self._compare([value.__func__ for value in values], path, None, None)
            self._compare([value.__self__ for value in values], path, None, None)
        elif isinstance(first, types.FunctionType):
            self._check(all(value.__code__ == first.__code__ for value in values), path)
            cells = [[cell.cell_contents for cell in value.__closure__ or ()] for value in values]
            self._compare([tuple(each) for each in cells], path, None, None)
            self._compare([value.__defaults__ for value in values], path, None, None)
        else:
            self._compare_attributes(values, path)

    def _compare_numbers(self, values: list[Any], path: str, owner: Any, key: Any) -> None:
        if len(set(values)) == 1:
            return
        self._check(owner is not None and any(isinstance(value, float) for value in values), path)
        self._places.append(_Place(path, owner, key, tuple(map(float, values))))

    def _compare_attributes(self, values: list[Any], path: str) -> None:
        first = values[0]
        names = [*getattr(first, "__dict__", ()), *_slots(type(first))]
        if not names:
            equal = all(bool(value == first) for value in values)
            self._check(equal or not _has_state(first), path)
            return
        for name in names:
            if isinstance(first, nn.Module) and name in _OF_MODULE - {"_modules"}:
                continue
            self._check(all(hasattr(value, name) for value in values), f"{path}.{name}")
            inner = path if name == "_modules" else f"{path}.{name}"
            self._compare([getattr(value, name) for value in values], inner, first, name)

    def _check(self, equal: bool, path: str) -> None:
        if not equal:
            raise UnpackableError(f"its {path.removeprefix('model.')} differs from that of the other models")


def _are_numbers(values: list[Any]) -> bool:
    return all(isinstance(value, (int, float)) and not isinstance(value, bool) for value in values)


def _equal_schedules(values: Sequence[Any]) -> bool:
    first = values[0]
    return all(type(value) is type(first) and _plain(value) == _plain(first) for value in values)


def _plain(value: Any) -> Any:
    """Return the attributes of schedules, also of those inside others, as values that can be compared."""
    if isinstance(value, Schedule):
        return type(value), {name: _plain(item) for name, item in vars(value).items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {name: _plain(item) for name, item in value.items()}
    return value


def _slots(cls: type) -> list[str]:
    names = [getattr(parent, "__slots__", ()) for parent in cls.__mro__]
    flat = [name for each in names for name in ((each,) if isinstance(each, str) else each)]
    return [name for name in flat if not name.startswith("__")]


def _has_state(value: Any) -> bool:
    """Return whether an object without attributes may differ from another of its class, such as a path or a date."""
    equality: Any = type(value).__eq__
    return equality is not object.__eq__
