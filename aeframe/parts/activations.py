"""Activations: every one of torch by its usual name, and what is true of each: range, saturation, parameters."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from torch import nn

from aeframe.errors import AeframeError
from aeframe.factory import build
from aeframe.registry import registry

_INF = math.inf


@dataclass(frozen=True, slots=True)
class ActivationTraits:
    """What the composition checks know of an activation with its default arguments.

    `low` and `high` bound its values; `attained` says whether each bound is a value it takes (ReLU takes 0; a sigmoid
    takes neither 0 nor 1). `saturates` says whether its gradient vanishes towards an end. `learnable` says whether it
    has parameters; `elementwise` whether each value depends on one value only; `same_shape` whether shapes stay.
    """

    low: float = -_INF
    high: float = _INF
    attained: tuple[bool, bool] = (False, False)
    saturates: bool = False
    learnable: bool = False
    elementwise: bool = True
    same_shape: bool = True

    def covers(self, low: float, high: float) -> bool:
        """Say whether outputs can come as near as one likes to every value of [low, high]."""
        return self.low <= low and self.high >= high


class LogSoftmax(nn.LogSoftmax):
    """torch's, along the last axis unless `dim` says otherwise: torch's own default for it is a guess, and warns."""

    def __init__(self, *, dim: int = -1) -> None:
        super().__init__(dim)


class Softmax(nn.Softmax):
    """torch's, along the last axis unless `dim` says otherwise; softmax2d is the one along the channels."""

    def __init__(self, *, dim: int = -1) -> None:
        super().__init__(dim)


class Softmin(nn.Softmin):
    """torch's, along the last axis unless `dim` says otherwise."""

    def __init__(self, *, dim: int = -1) -> None:
        super().__init__(dim)


class Threshold(nn.Threshold):
    """torch's, with defaults: x where it is above `threshold`, `value` elsewhere."""

    def __init__(self, *, threshold: float = 0.0, value: float = 0.0) -> None:
        super().__init__(threshold, value)


_UNBOUNDED = ActivationTraits()
_TRAITS: dict[type[nn.Module], ActivationTraits] = {
    nn.Identity: _UNBOUNDED,
    nn.CELU: ActivationTraits(-1.0, saturates=True),
    nn.ELU: ActivationTraits(-1.0, saturates=True),
    # The minimum of x * Phi(x), at x = -0.7518.
    nn.GELU: ActivationTraits(-0.16997120747990369, attained=(True, False), saturates=True),
    nn.GLU: ActivationTraits(elementwise=False, same_shape=False),
    # Flat around zero, but not towards an end; so is softshrink.
    nn.Hardshrink: _UNBOUNDED,
    nn.Hardsigmoid: ActivationTraits(0.0, 1.0, (True, True), saturates=True),
    # The minimum of x * (x + 3) / 6, at x = -1.5.
    nn.Hardswish: ActivationTraits(-0.375, attained=(True, False), saturates=True),
    nn.Hardtanh: ActivationTraits(-1.0, 1.0, (True, True), saturates=True),
    nn.LeakyReLU: _UNBOUNDED,
    nn.LogSigmoid: ActivationTraits(-_INF, 0.0, saturates=True),
    LogSoftmax: ActivationTraits(-_INF, 0.0, saturates=True, elementwise=False),
    # The minimum of x * tanh(softplus(x)), at x = -1.1924.
    nn.Mish: ActivationTraits(-0.30884335, attained=(True, False), saturates=True),
    nn.PReLU: ActivationTraits(learnable=True),
    nn.ReLU: ActivationTraits(0.0, attained=(True, False), saturates=True),
    nn.ReLU6: ActivationTraits(0.0, 6.0, (True, True), saturates=True),
    nn.RReLU: _UNBOUNDED,
    # -scale * alpha.
    nn.SELU: ActivationTraits(-1.7580993408473766, saturates=True),
    nn.Sigmoid: ActivationTraits(0.0, 1.0, saturates=True),
    # The minimum of x * sigmoid(x), at x = -1.2785.
    nn.SiLU: ActivationTraits(-0.27846454, attained=(True, False), saturates=True),
    Softmax: ActivationTraits(0.0, 1.0, saturates=True, elementwise=False),
    nn.Softmax2d: ActivationTraits(0.0, 1.0, saturates=True, elementwise=False),
    Softmin: ActivationTraits(0.0, 1.0, saturates=True, elementwise=False),
    nn.Softplus: ActivationTraits(0.0, saturates=True),
    nn.Softshrink: _UNBOUNDED,
    nn.Softsign: ActivationTraits(-1.0, 1.0, saturates=True),
    nn.Tanh: ActivationTraits(-1.0, 1.0, saturates=True),
    nn.Tanhshrink: _UNBOUNDED,
    Threshold: ActivationTraits(0.0, attained=(True, False), saturates=True),
}


def traits(activation: nn.Module | type[nn.Module]) -> ActivationTraits:
    """Return what is known of an activation: its own ``traits``, the table's row, or nothing at all."""
    kind = activation if isinstance(activation, type) else type(activation)
    stated = getattr(kind, "traits", None)
    return stated if isinstance(stated, ActivationTraits) else _TRAITS.get(kind, _UNBOUNDED)


class MakeActivation:
    """A factory of one activation: each call returns a new module.

    Annotate an option as ``MakeActivation | None = None`` and it takes the run's activation unless it has its own.

    Args:
        config: The name and options of the activation.
        build: The function that builds registered parts (`aeframe.factory.build`).
    """

    part_kind: ClassVar[str] = "activation"

    def __init__(self, config: Mapping[str, Any], build: Callable[..., Any]) -> None:
        self.config, self._build = dict(config), build

    def __call__(self) -> nn.Module:
        made: nn.Module = self._build("activation", self.config)
        return made

    @property
    def traits(self) -> ActivationTraits:
        """What is known of it, without building one."""
        return traits(registry().load("activation", str(self.config["name"])))

    @classmethod
    def from_config(cls, value: Any, build: Callable[..., Any]) -> MakeActivation:
        """Read a name, or a mapping with a name, and check it by making one."""
        if isinstance(value, str):
            value = {"name": value}
        if not isinstance(value, Mapping):
            raise AeframeError(f"expected an activation's name or {{name: ..., options}}, found {value!r}")
        build("activation", value)
        return cls(value, build)

    @classmethod
    def named(cls, name: str) -> MakeActivation:
        """Return the maker of a registered activation."""
        return cls.from_config(name, build)

    def same_shape(self, who: str) -> MakeActivation:
        """Return itself, or refuse an activation that changes the shape of what it is given (glu halves it)."""
        if not self.traits.same_shape:
            raise AeframeError(
                f"{who} needs an activation that keeps its input's shape, '{self.config['name']}' does not"
            )
        return self
