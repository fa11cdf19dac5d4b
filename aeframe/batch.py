"""What flows between the rooms: `Batch`, `Latent`, `Pass`, `Terms`, and the `DataSpec` that describes the data.

Shapes: B samples in a batch, K importance samples, C channels. Channels come first everywhere: data ``(B, *shape)``,
features ``(B, C, *positions)``, latents ``(B, *z)``, the decoder's parameters ``(B, outputs, *shape)``.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, fields, replace
from typing import Any, Literal, Self

import torch
from torch import Tensor
from torch.distributions import Distribution

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


@dataclass(slots=True)
class Batch:
    """Some samples, as they flow from the loader to the loss."""

    x: Tensor
    """``(B, *shape)``: what the encoder sees and the loss compares."""
    mask: Tensor | None = None
    """``(B, *leading dims of shape)``, True where x counts: not padding, not missing."""
    condition: Tensor | None = None
    """``(B, C)``: covariates the decoder is given."""
    index: Tensor | None = None
    """``(B,)``: the row in the source, so that an embedding can be joined back."""
    extras: dict[str, Tensor] = field(default_factory=dict)
    """What one modality's loss needs, such as ``{"size_factor": (B,)}``; ``label`` colours the latent scatter."""

    def __len__(self) -> int:
        return self.x.shape[0]

    def map(self, function: Callable[[Tensor], Tensor]) -> Batch:
        """Return a batch with `function` applied to every tensor."""
        return Batch(
            function(self.x),
            None if self.mask is None else function(self.mask),
            None if self.condition is None else function(self.condition),
            None if self.index is None else function(self.index),
            {name: function(value) for name, value in self.extras.items()},
        )

    def to(self, device: torch.device, non_blocking: bool = False) -> Batch:
        """Return the batch on `device`; itself when it is there."""
        return self if self.x.device == device else self.map(lambda t: t.to(device, non_blocking=non_blocking))

    def pin_memory(self) -> Batch:
        """Return the batch in pinned memory (a loader with ``pin_memory`` calls this)."""
        return self.map(lambda t: t.pin_memory())

    def rows(self, index: Tensor | slice) -> Batch:
        """Return some of the samples."""
        return self.map(lambda t: t[index])

    def visible(self) -> Tensor:
        """Return x with 0 wherever the mask hides it, which is what a network shall read there: it may be NaN."""
        return self.x if self.mask is None else self.x.masked_fill(~spread(self.mask, self.x.ndim), 0)

    def with_x(self, x: Tensor) -> Batch:
        """Return the same batch with another x."""
        return replace(self, x=x)

    def paired(self, partner: Batch) -> Batch:
        """Return the same batch with a second sample beside each, kept among the `extras`."""
        beside = {"mask": partner.mask, "condition": partner.condition, **partner.extras}
        known = {f"partner_{name}": value for name, value in beside.items() if value is not None}
        return replace(self, extras={**self.extras, "partner": partner.x, **known})

    def partner(self) -> Batch | None:
        """Return the second samples, or None where they come one by one."""
        if "partner" not in self.extras:
            return None
        prefix = "partner_"
        beside = {name.removeprefix(prefix): t for name, t in self.extras.items() if name.startswith(prefix)}
        x = self.extras["partner"].to(self.x.dtype)
        return Batch(x, beside.pop("mask", None), beside.pop("condition", self.condition), extras=beside)


@dataclass(slots=True)
class Latent:
    """A code and what is known about it."""

    z: Tensor
    """``(B, *z_shape)``, or ``(K, B, *z_shape)`` with K importance samples."""
    mean: Tensor
    """``(B, *z_shape)``: the deterministic embedding; `encode` returns this."""
    posterior: Distribution | None = None
    """q(z|x), its batch shape beginning with B."""
    codes: Tensor | None = None
    """``(B, *positions, levels)`` integer codes of a quantiser."""
    terms: dict[str, Tensor] = field(default_factory=dict)
    """``(B,)`` each: commitment, log-determinant, ..."""
    for_decoder: Tensor | None = None
    """What `LatentSpace.for_decoder` would make of z, where the space has it at hand already."""

    def detach(self) -> Latent:
        """Return the code cut from the graph, for a second player."""
        return Latent(self.z.detach(), self.mean.detach(), None, self.codes, {})


@dataclass(slots=True)
class Pass:
    """One way through the picture, from x to the loss."""

    batch: Batch
    """The clean samples."""
    seen: Batch
    """What the encoder saw: corrupted in training, clean otherwise."""
    latent: Latent
    output: Tensor
    """``(B, outputs, *shape)``, or ``(K, B, outputs, *shape)``: the parameters the decoder gives to the loss."""
    reconstruction: Tensor
    """``(B,)`` or ``(K, B)``: the loss of each sample, in nats or its own unit."""
    features: Tensor | None = None
    """``(B, C, *positions)``: what the encoder returned for `seen`."""

    def detach(self) -> Pass:
        """Return the pass cut from the graph, for a second player."""
        return Pass(self.batch, self.seen, self.latent.detach(), self.output.detach(), self.reconstruction.detach())


@dataclass(slots=True)
class Terms:
    """The parts of what is minimised: each ``(B,)``, summed over the sample's own elements, raw beside its weight."""

    raw: dict[str, Tensor] = field(default_factory=dict)
    weights: dict[str, float] = field(default_factory=dict)
    bound: Tensor | None = None
    """``(B,)``: what models are selected by, with no weight, warm-up or penalty in it."""

    def add(self, name: str, value: Tensor, weight: float = 1.0) -> Self:
        """Add one term under its own name."""
        if name in self.raw:
            raise AeframeError(f"two terms are named '{name}'; give the second one a name of its own")
        self.raw[name] = value
        self.weights[name] = float(weight)
        return self

    def total(self) -> Tensor:
        """Return ``(B,)``: the weighted sum. A weight of zero costs nothing and gives no gradient."""
        total: Tensor | None = None
        for name, value in self.raw.items():
            weight = self.weights[name]
            if weight == 0.0:
                continue
            part = value if weight == 1.0 else weight * value
            total = part if total is None else total + part
        if total is None:
            raise AeframeError("every term has weight 0, so there is nothing to minimise; give one a weight")
        return total


@dataclass(slots=True)
class Clock:
    """Where a run stands, in batches: the one time that schedules, samplers and noise are functions of."""

    batch: int = 0
    """Batches trained on since the run began."""
    epoch: int = 0
    batch_in_epoch: int = 0
    planned: int = 0
    """Batches the run will have when it ends as planned; 0 while unknown."""
    rows: int = 0
    """Training samples there are, over all devices; 0 while unknown."""

    @property
    def progress(self) -> float:
        """The fraction of the planned run that is over, in [0, 1]."""
        return min(1.0, self.batch / self.planned) if self.planned else 0.0

    def tick(self) -> None:
        """Count one batch."""
        self.batch += 1
        self.batch_in_epoch += 1

    def state_dict(self) -> dict[str, int]:
        """Return the clock as plain numbers."""
        return {f.name: getattr(self, f.name) for f in fields(self)}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Set the clock; the planned length and the number of samples stay those of the present run."""
        self.batch, self.epoch, self.batch_in_epoch = state["batch"], state["epoch"], state["batch_in_epoch"]


def per_sample(value: Tensor, lead: int = 1) -> Tensor:
    """Sum all but the first `lead` dimensions: ``(B, *any)`` -> ``(B,)``, or ``(K, B, *any)`` -> ``(K, B)``."""
    return value if value.ndim == lead else value.flatten(lead).sum(lead)


def single(value: Tensor) -> Tensor:
    """Return a tensor in single precision at least: half precision loses nats in a sum of many elements."""
    return value.float() if value.dtype in (torch.float16, torch.bfloat16) else value


def full_precision(device: torch.device) -> AbstractContextManager[object]:
    """Switch autocast off inside, where half precision would lose nats; the meta device has none."""
    return nullcontext() if device.type == "meta" else torch.autocast(device.type, enabled=False)


def spread(mask: Tensor, ndim: int) -> Tensor:
    """Return the mask ``(B, *leading dims of shape)`` with as many dimensions as x, `ndim`, to broadcast against it."""
    return mask.reshape(*mask.shape, *[1] * (ndim - mask.ndim))
