"""What is known of the data before they are loaded: shape, domain, condition."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor

from aeframe.errors import AeframeError, did_you_mean

Shape = tuple[int, ...]
DomainKind = Literal["real", "unit", "signed", "binary", "count", "category", "simplex"]

_BOUNDS: dict[str, tuple[float, float]] = {
    "real": (-math.inf, math.inf),
    "unit": (0.0, 1.0),
    "signed": (-1.0, 1.0),
    "binary": (0.0, 1.0),
    "count": (0.0, math.inf),
    "category": (0.0, math.inf),
    "simplex": (0.0, 1.0),
}
_WHOLE = frozenset({"binary", "count", "category"})


@dataclass(frozen=True, slots=True)
class Domain:
    """Which values the data take.

    ``real``, ``unit`` [0, 1], ``signed`` [-1, 1], ``binary`` {0, 1}, ``count`` {0, 1, 2, ...},
    ``category(n)`` {0, ..., n-1} as integers, ``simplex``: non-negative, summing to one along the last axis.
    """

    kind: DomainKind
    classes: int | None = None

    @classmethod
    def parse(cls, text: str) -> Domain:
        """Read ``"unit"`` or ``"category(10)"``."""
        match = re.fullmatch(r"([a-z]+)(?:\((\d+)\))?", text.strip())
        kind = match.group(1) if match else text
        if match is None or kind not in _BOUNDS or (kind == "category") != (match.group(2) is not None):
            known = [k for k in _BOUNDS if k != "category"] + ["category(n)"]
            raise AeframeError(f"unknown domain '{text}'{did_you_mean(kind, known)}; domains are {', '.join(known)}")
        return cls(kind, int(match.group(2)) if match.group(2) else None)  # type: ignore[arg-type]

    def __str__(self) -> str:
        return f"{self.kind}({self.classes})" if self.kind == "category" else self.kind

    @property
    def bounds(self) -> tuple[float, float]:
        """The lowest and highest value, both allowed."""
        return (0.0, float(self.classes - 1)) if self.classes is not None else _BOUNDS[self.kind]

    def violations(self, x: Tensor) -> Tensor:
        """Return ``(B,)``, True where a sample has a value outside the domain (NaN and infinity are outside each)."""
        low, high = self.bounds
        bad = ~(torch.isfinite(x) if x.is_floating_point() else torch.ones_like(x, dtype=torch.bool))
        bad |= (x < low) | (x > high)
        if self.kind in _WHOLE and x.is_floating_point():
            bad |= x != x.round()
        if self.kind == "simplex":
            bad |= ((x.sum(-1, keepdim=True) - 1).abs() > 1e-4).expand_as(bad)
        return bad.flatten(1).any(1) if bad.ndim > 1 else bad


@dataclass(frozen=True, slots=True)
class DataSpec:
    """What is known of the data before they are loaded: the shape of one sample, its domain, and C of a condition.

    `extras` has the shape of one sample's share of each of `Batch.extras` that a part may rely on: ``{"library": ()}``.
    `views` are for data of several kinds that stand side by side along the first axis: how many places of it each has,
    in order, and its own domain; `domain` is then one that holds them all. `rate` is how many positions a second has
    along the axis of time, for data that have one: a sampling rate, a frame rate.
    """

    shape: Shape
    domain: Domain
    condition: int = 0
    extras: Mapping[str, Shape] = field(default_factory=dict, hash=False)
    views: Mapping[str, tuple[int, Domain]] = field(default_factory=dict, hash=False)
    rate: float | None = None

    def plain(self) -> dict[str, Any]:
        """Return it as plain values, for a file or another process; `of_plain` reads them."""
        plain: dict[str, Any] = {"shape": list(self.shape), "domain": str(self.domain), "condition": self.condition}
        extras = {name: list(shape) for name, shape in self.extras.items()}
        views = {name: [size, str(domain)] for name, (size, domain) in self.views.items()}
        rate = {} if self.rate is None else {"rate": self.rate}
        return plain | ({"extras": extras} if extras else {}) | ({"views": views} if views else {}) | rate

    @classmethod
    def of_plain(cls, plain: Mapping[str, Any]) -> DataSpec:
        """Return what `plain` wrote down."""
        extras = {name: tuple(shape) for name, shape in plain.get("extras", {}).items()}
        views = {name: (size, Domain.parse(domain)) for name, (size, domain) in plain.get("views", {}).items()}
        rate = plain.get("rate")
        return cls(tuple(plain["shape"]), Domain.parse(plain["domain"]), int(plain["condition"]), extras, views, rate)
