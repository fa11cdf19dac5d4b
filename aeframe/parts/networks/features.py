"""Encoders inside other parts, such as the body of a discriminator or the network of a perceptual distance."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

from torch import Tensor, nn

from aeframe.errors import AeframeError
from aeframe.parts.activations import MakeActivation
from aeframe.parts.corruptions import Corruption, NoCorruption
from aeframe.parts.networks.base import Encoder
from aeframe.registry import registry
from aeframe.types import Batch, DataSpec

_LEAKY = {"name": "leaky_relu", "negative_slope": 0.2}


class MakeEncoder:
    """Builds a registered encoder for a part that contains one.

    A part annotates its option as ``MakeEncoder | None = None``; a config sets it to an encoder's name, or to
    ``{name: ..., options}``.

    Args:
        config: The name and options of the encoder.
        build: The function that builds registered parts (`aeframe.factory.build`).
    """

    part_kind: ClassVar[str] = "encoder"
    """The kind of the parts that an option with this annotation can name."""

    def __init__(self, config: Mapping[str, Any], build: Callable[..., Any]) -> None:
        self.config, self._build = dict(config), build

    @classmethod
    def from_config(cls, value: Any, build: Callable[..., Any]) -> MakeEncoder:
        """Return the builder for a name, or for a mapping with a name.

        Raises:
            AeframeError: Neither of the two, or an unknown encoder.
        """
        config = {"name": value} if isinstance(value, str) else value
        if not isinstance(config, Mapping) or not isinstance(config.get("name"), str):
            raise AeframeError(f"expected an encoder's name or {{name: ..., options}}, found {value!r}")
        registry().entry("encoder", config["name"])
        return cls(config, build)

    @classmethod
    def usual(cls, spec: DataSpec, build: Callable[..., Any]) -> MakeEncoder:
        """Return the default where a config names no encoder: a small ``conv``, or ``mlp`` for flat data."""
        if len(spec.shape) == 1:
            return cls({"name": "mlp", "hidden": (256, 128), "activation": _LEAKY}, build)
        return cls({"name": "conv", "channels": (64, 128, 256), "activation": _LEAKY, "norm": "group"}, build)

    def __call__(self, spec: DataSpec, activation: MakeActivation, *, corruption: Corruption | None = None) -> Encoder:
        """Return a new encoder for data of this shape and domain.

        Args:
            spec: The spec of its input.
            activation: The activation, if the config names none.
            corruption: The model's corruption, for an encoder of the model; None for a network that reads clean data.
        """
        encoder: Encoder = self._build(
            "encoder",
            self.config,
            shape=spec.shape,
            domain=spec.domain,
            spec=spec,
            activation=activation,
            corruption=NoCorruption() if corruption is None else corruption,
        )
        return encoder


def stages(network: Encoder, batch: Batch) -> list[Tensor]:
    """Return the features after each stage of a network, ``(B, C, *positions)`` each; the last are its output.

    A stage is a run of consecutive modules of ``network.layers`` (an `nn.Sequential`) with outputs of the same shape.
    A network without such layers is one stage.
    """
    features: list[Tensor] = []

    def record(_: nn.Module, __: Any, output: Tensor) -> None:
        if features and features[-1].shape == output.shape:
            features.pop()
        features.append(output)

    layers = getattr(network, "layers", None)
    # The network itself comes last: its output ends the list of features.
    modules = [*(layers if isinstance(layers, nn.Sequential) else []), network]
    hooks = [module.register_forward_hook(record) for module in modules]
    try:
        network(batch)
    finally:
        for hook in hooks:
            hook.remove()
    return features
