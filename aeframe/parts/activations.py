"""Activations of torch by their names, with the properties of each: range, saturation, parameters."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, TypeVar

import torch
from torch import Tensor, nn

from aeframe.errors import AeframeError
from aeframe.factory import build
from aeframe.registry import registry

_INF = math.inf
_Layer = TypeVar("_Layer", bound=nn.Module)


@dataclass(frozen=True, slots=True)
class ActivationTraits:
    """Properties of an activation with its default arguments, which are compared with data and loss before a run."""

    low: float = -_INF
    """Lower bound of the outputs."""
    high: float = _INF
    """Upper bound of the outputs."""
    attained: tuple[bool, bool] = (False, False)
    """Whether `low` and `high` are outputs themselves: ReLU attains 0, a sigmoid attains neither 0 nor 1."""
    saturates: bool = False
    """Whether the gradient vanishes for very large or very small inputs."""
    learnable: bool = False
    """Whether it has parameters."""
    elementwise: bool = True
    """Whether each output depends on one input only."""
    same_shape: bool = True
    """Whether the output has the shape of the input."""

    def covers(self, low: float, high: float) -> bool:
        """Return whether outputs come arbitrarily close to every value of [low, high]."""
        return self.low <= low and self.high >= high


class LogSoftmax(nn.LogSoftmax):
    """`nn.LogSoftmax` along the last axis by default; torch's default depends on the shape and warns."""

    def __init__(self, *, dim: int = -1) -> None:
        super().__init__(dim)


class Softmax(nn.Softmax):
    """`nn.Softmax` along the last axis by default; softmax2d is along the channels."""

    def __init__(self, *, dim: int = -1) -> None:
        super().__init__(dim)


class Softmin(nn.Softmin):
    """`nn.Softmin` along the last axis by default."""

    def __init__(self, *, dim: int = -1) -> None:
        super().__init__(dim)


class SteepSigmoid(nn.Module):
    """sigmoid(4 x) = (1 + tanh(2 x)) / 2: values in (0, 1), and slope 1 at 0, as tanh has.

    The slope of a sigmoid is 1/4 at 0. A layer before it has to learn outputs four times as large, which takes more
    steps where the learning rate bounds the change of a weight, as in Adam.
    """

    def forward(self, x: Tensor) -> Tensor:
        return torch.sigmoid(4 * x)


class Threshold(nn.Threshold):
    """`nn.Threshold` with defaults: x where it is above `threshold`, `value` elsewhere."""

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
    # The gradient is 0 near zero, but not for large inputs; softshrink likewise.
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
    SteepSigmoid: ActivationTraits(0.0, 1.0, saturates=True),
    nn.Tanh: ActivationTraits(-1.0, 1.0, saturates=True),
    nn.Tanhshrink: _UNBOUNDED,
    Threshold: ActivationTraits(0.0, attained=(True, False), saturates=True),
}


def traits(activation: nn.Module | type[nn.Module]) -> ActivationTraits:
    """Return the traits of an activation: its class attribute ``traits``, its entry in `_TRAITS`, or the defaults."""
    cls = activation if isinstance(activation, type) else type(activation)
    declared = getattr(cls, "traits", None)
    return declared if isinstance(declared, ActivationTraits) else _TRAITS.get(cls, _UNBOUNDED)


class MakeActivation:
    """A factory of an activation; each call returns a new module.

    An option that is annotated ``MakeActivation | None = None`` has the model's activation as its default.

    Args:
        config: The name and options of the activation.
        build: The function that builds registered parts (`aeframe.factory.build`).
    """

    part_kind: ClassVar[str] = "activation"
    """The kind of the parts that an option with this annotation can name."""

    def __init__(self, config: Mapping[str, Any], build: Callable[..., Any]) -> None:
        self.config, self._build = dict(config), build

    def __call__(self) -> nn.Module:
        activation: nn.Module = self._build("activation", self.config)
        return activation

    @property
    def traits(self) -> ActivationTraits:
        """The traits of the activation, without building it."""
        return traits(self._target())

    def begin(self, layer: _Layer, *, first: bool = False) -> _Layer:
        """Set the initial weights of the layer before the activation, if it needs others; return the layer.

        An activation that does has a method ``initialise_layer(layer, *, first)``, such as a sine, whose inputs have to
        keep their variance (Sitzmann et al. 2020, arXiv 2006.09661).

        Args:
            layer: The layer, such as `nn.Linear`.
            first: Whether the layer receives x or z, and not the outputs of the same activation.
        """
        if hasattr(self._target(), "initialise_layer"):
            activation: Any = self()
            with torch.no_grad():
                activation.initialise_layer(layer, first=first)
        return layer

    def _target(self) -> Any:
        return registry().load("activation", str(self.config["name"]))

    @classmethod
    def from_config(cls, value: Any, build: Callable[..., Any]) -> MakeActivation:
        """Return the factory of a name or a ``{name: ..., options}`` mapping; a module is built once as a check."""
        if isinstance(value, str):
            value = {"name": value}
        if not isinstance(value, Mapping):
            raise AeframeError(f"expected an activation's name or {{name: ..., options}}, found {value!r}")
        # The result is not used: this raises the error of an unknown name or option before the first call.
        build("activation", value)
        return cls(value, build)

    @classmethod
    def named(cls, name: str) -> MakeActivation:
        """Return the factory of a registered activation with its default options."""
        return cls.from_config(name, build)

    def same_shape(self, who: str) -> MakeActivation:
        """Return itself; raise an `AeframeError` that names the network `who` if the shape changes, as with glu."""
        if not self.traits.same_shape:
            raise AeframeError(
                f"{who} needs an activation that keeps its input's shape, '{self.config['name']}' does not"
            )
        return self
