"""`DataSpec` and `Domain`: the shape and the values of the data, known before any sample is loaded."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor

from aeframe.errors import AeframeError, did_you_mean

Shape = tuple[int, ...]
"""The shape of one sample, without the batch dimension."""
DomainKind = Literal["real", "unit", "signed", "binary", "count", "category", "simplex", "mixed"]

_BOUNDS: dict[str, tuple[float, float]] = {
    "real": (-math.inf, math.inf),
    "unit": (0.0, 1.0),
    "signed": (-1.0, 1.0),
    "binary": (0.0, 1.0),
    "count": (0.0, math.inf),
    "category": (0.0, math.inf),
    "simplex": (0.0, 1.0),
    "mixed": (-math.inf, math.inf),
}
_WITH_ARGUMENT = {"category": "category(n)", "mixed": "mixed(n,m,...)"}
"""How domains with an argument are written."""
_INTEGER_KINDS = frozenset({"binary", "count", "category"})
_NUM_CHECKED = 1 << 22
"""Number of values that are checked at a time."""


@dataclass(frozen=True, slots=True)
class Domain:
    """The set of values that x can take. Losses and networks name the domains they are made for.

    ``real``; ``unit``: [0, 1]; ``signed``: [-1, 1]; ``binary``: {0, 1}; ``count``: {0, 1, 2, ...};
    ``category(n)``: integer classes {0, ..., n - 1}; ``simplex``: non-negative, with sum 1 along the last axis;
    ``mixed(0,5,2)``: samples ``(D,)`` whose elements have domains of their own, a real number (0) or one of n classes.
    In ``mixed(0+5,2)`` the first two elements are one group, such as the value and the mode of one column of a table.
    """

    kind: DomainKind
    classes: int | None = None
    """The n of ``category(n)``; None for every other kind."""
    element_classes: tuple[int, ...] = ()
    """The number of classes of each element of ``mixed``, 0 for a real number; empty for every other kind."""
    element_groups: tuple[int, ...] = ()
    """The number of elements in each group of ``mixed``, in their order; empty if each element is its own group."""

    @classmethod
    def mixed(cls, element_classes: Sequence[int], element_groups: Sequence[int] = ()) -> Domain:
        """Return the domain of samples ``(D,)`` with D numbers of classes, 0 for a real number.

        Args:
            element_classes: The number of classes of each element.
            element_groups: The number of adjacent elements in each group, D in all; by default 1.

        Raises:
            AeframeError: There is no element, a number is negative, or the groups have not D elements.
        """
        if not element_classes or min(element_classes) < 0:
            raise AeframeError(
                "domain mixed needs a number of classes for each element, 0 for a real number, found "
                f"{list(element_classes)}"
            )
        if element_groups and (min(element_groups) < 1 or sum(element_groups) != len(element_classes)):
            raise AeframeError(
                f"domain mixed needs groups of at least one element, {len(element_classes)} elements in all, found "
                f"{list(element_groups)}"
            )
        # Groups of one element are the default, so that equal domains compare equal.
        groups = tuple(element_groups) if len(element_groups) != len(element_classes) else ()
        return cls("mixed", element_classes=tuple(element_classes), element_groups=groups)

    @classmethod
    def parse(cls, text: str) -> Domain:
        """Return the domain that is written as `text`, such as ``"unit"`` or ``"category(10)"``.

        Raises:
            AeframeError: An unknown domain; the message names the nearest one.
        """
        match = re.fullmatch(r"([a-z]+)(?:\(([\d,*+]+)\))?", text.strip())
        kind, argument = match.groups() if match else (text, None)
        if kind == "mixed" and argument is not None and (groups := _run_lengths(argument)):
            return cls.mixed([classes for group in groups for classes in group], [len(group) for group in groups])
        is_number = argument is not None and argument.isdecimal()
        if kind not in _BOUNDS or kind == "mixed" or (is_number if kind != "category" else not is_number):
            known = [k for k in _BOUNDS if k not in _WITH_ARGUMENT] + list(_WITH_ARGUMENT.values())
            raise AeframeError(f"unknown domain '{text}'{did_you_mean(kind, known)}; domains are {', '.join(known)}")
        return cls(kind, int(argument) if is_number else None)  # type: ignore[arg-type]

    def __str__(self) -> str:
        if self.kind == "mixed":
            elements = iter(self.element_classes)
            groups = (
                "+".join(str(classes) for classes in itertools.islice(elements, size))
                for size in self.element_groups or [1] * len(self.element_classes)
            )
            runs = ((group, len(list(run))) for group, run in itertools.groupby(groups))
            return f"mixed({','.join(f'{group}*{num}' if num > 1 else group for group, num in runs)})"
        return f"{self.kind}({self.classes})" if self.kind == "category" else self.kind

    @property
    def summary(self) -> str:
        """The domain in a few words: that of ``mixed`` counts the elements instead of listing them."""
        if self.kind != "mixed":
            return str(self)
        numbers = self.element_classes.count(0)
        return f"mixed: {numbers} real, {len(self.element_classes) - numbers} with classes"

    @property
    def has_classes(self) -> bool:
        """Whether elements of x are numbers of classes, between which there are no distances."""
        return self.kind in _WITH_ARGUMENT

    def values(self, uniform: Tensor, normal: Tensor) -> Tensor:
        """Return values of the domain in the shape of two tensors: one uniform on [0, 1), one standard normal."""
        classes = self.classes or 1
        num_classes = torch.tensor(self.element_classes) if self.kind == "mixed" else torch.zeros(())
        values: dict[DomainKind, Tensor] = {
            "real": normal,
            "unit": uniform,
            "signed": 2 * uniform - 1,
            "binary": (uniform < 0.5).float(),
            "count": (6 * uniform * uniform).floor(),
            "category": (uniform * classes).long().clamp(max=classes - 1),
            "simplex": normal.softmax(-1),
            "mixed": torch.where(num_classes > 0, (uniform * num_classes).floor(), normal),
        }
        return values[self.kind]

    def with_condition(self, num: int) -> Domain:
        """Return the domain of a sample to which a condition of `num` numbers is appended."""
        if self.kind != "mixed":
            return self
        groups = (*self.element_groups, *[1] * num) if self.element_groups else ()
        return Domain.mixed((*self.element_classes, *[0] * num), groups)

    def group_numbers(self, shape: Shape) -> Tensor:
        """Return the number of the group of each element of a flattened sample, ``(D,)`` int64, from 0.

        Only samples of ``mixed`` have groups of several elements.
        """
        sizes = torch.tensor(self.element_groups or [1] * math.prod(shape), device="cpu")
        return torch.arange(len(sizes), device="cpu").repeat_interleave(sizes)

    @property
    def bounds(self) -> tuple[float, float]:
        """The lowest and the highest value, both included; infinite where there is none."""
        return (0.0, float(self.classes - 1)) if self.classes is not None else _BOUNDS[self.kind]

    def violations(self, x: Tensor) -> Tensor:
        """Return ``(B,)``: True for each sample of x with a value outside the domain, such as NaN or infinity."""
        rows = max(1, _NUM_CHECKED * len(x) // max(1, x.numel()))
        if rows < len(x):
            # The comparisons of all values at once would need more memory than the values.
            return torch.cat([self.violations(block) for block in x.split(rows)])
        low, high = self.bounds
        bad = ~(torch.isfinite(x) if x.is_floating_point() else torch.ones_like(x, dtype=torch.bool))
        bad |= (x < low) | (x > high)
        if self.kind in _INTEGER_KINDS and x.is_floating_point():
            bad |= x != x.round()
        if self.kind == "mixed":
            bad |= _outside_classes(x, self.element_classes)
        if self.kind == "simplex":
            bad |= ((x.sum(-1, keepdim=True) - 1).abs() > 1e-4).expand_as(bad)
        return bad.flatten(1).any(1) if bad.ndim > 1 else bad


def _run_lengths(text: str) -> tuple[tuple[int, ...], ...]:
    """Return the numbers of ``0*2,0+5`` by group: ((0,), (0,), (0, 5)); empty if the text has another form."""
    runs = [re.fullmatch(r"(\d+(?:\+\d+)*)(?:\*(\d+))?", part) for part in text.split(",")]
    if None in runs:
        return ()
    groups = ((tuple(map(int, run[1].split("+"))), int(run[2] or 1)) for run in runs if run)
    return tuple(group for group, num in groups for _ in range(num))


def _outside_classes(x: Tensor, element_classes: tuple[int, ...]) -> Tensor:
    """Return ``(B, D)``: True where an element with classes is none of their numbers."""
    num_classes = torch.tensor(element_classes, device=x.device)
    return (num_classes > 0) & ((x < 0) | (x > num_classes - 1) | (x != x.round()))


@dataclass(frozen=True, slots=True)
class DataSpec:
    """The properties of a dataset that a model is built for. A saved model stores it with its weights."""

    shape: Shape
    """The shape of one sample: ``(features,)``, ``(C, *positions)``, or ``(T,)`` for classes at T positions."""
    domain: Domain
    """The values of x; with `views`, a domain that contains those of all views."""
    condition: int = 0
    """The number C of channels of the condition ``(B, C)``; 0 for data without a condition."""
    extras: Mapping[str, Shape] = field(default_factory=dict, hash=False)
    """For each entry of `Batch.extras` that parts may rely on, its shape for one sample: ``{"library": ()}``."""
    views: Mapping[str, tuple[int, Domain]] = field(default_factory=dict, hash=False)
    """For data of several modalities concatenated along the first axis: by name, in order, size and domain of each."""
    rate: float | None = None
    """Positions per second along the time axis, such as a sampling rate or a frame rate; None without a time axis."""
    unordered: bool = False
    """Whether the elements along the first axis are a set: the points of a cloud (N, 3), in no particular order.

    Losses, corruptions and metrics that compare or choose elements by their position are then refused.
    """
    condition_axis: int | None = None
    """The axis of a sample along which the condition is appended to the encoder's input, negative from the last; None
    for the first axis (channels), or for the last one of unordered data (coordinates), so that each element has it.
    """

    @property
    def encoder_condition_axis(self) -> int:
        """The axis of a sample along which the condition is appended, at least 0.

        Raises:
            AeframeError: A sample has no such axis, or it is that of unordered elements.
        """
        ndim = len(self.shape)
        axis = (-1 if self.unordered else 0) if self.condition_axis is None else self.condition_axis
        if not -ndim <= axis < ndim:
            raise AeframeError(
                f"DataSpec of samples of shape {self.shape} needs condition_axis in [-{ndim}, {ndim - 1}], found {axis}"
            )
        if self.unordered and axis % ndim == 0:
            raise AeframeError(
                "a condition cannot be appended to unordered elements along their own axis, as further elements of "
                f"samples of shape {self.shape}; set condition_encoder=false, the decoder still receives the condition"
            )
        return axis % ndim

    def to_dict(self) -> dict[str, Any]:
        """Return the spec as values that JSON can represent; `from_dict` reads them."""
        required: dict[str, Any] = {"shape": list(self.shape), "domain": str(self.domain), "condition": self.condition}
        extras = {name: list(shape) for name, shape in self.extras.items()}
        views = {name: [size, str(domain)] for name, (size, domain) in self.views.items()}
        rate = {} if self.rate is None else {"rate": self.rate}
        sets = ({"unordered": True} if self.unordered else {}) | (
            {} if self.condition_axis is None else {"condition_axis": self.condition_axis}
        )
        return required | ({"extras": extras} if extras else {}) | ({"views": views} if views else {}) | rate | sets

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> DataSpec:
        """Return the spec of the values that `to_dict` returned."""
        extras = {name: tuple(shape) for name, shape in plain.get("extras", {}).items()}
        views = {name: (size, Domain.parse(domain)) for name, (size, domain) in plain.get("views", {}).items()}
        return cls(
            tuple(plain["shape"]),
            Domain.parse(plain["domain"]),
            int(plain["condition"]),
            extras,
            views,
            rate=plain.get("rate"),
            unordered=bool(plain.get("unordered", False)),
            condition_axis=plain.get("condition_axis"),
        )
