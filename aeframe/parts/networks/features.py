"""Encoders in the service of other parts: a discriminator's body, a perceptual distance's features."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

from torch import Tensor, nn

from aeframe.errors import AeframeError
from aeframe.parts.activations import MakeActivation
from aeframe.parts.networks.base import Encoder
from aeframe.registry import registry
from aeframe.types import Batch, DataSpec

_LEAKY = {"name": "leaky_relu", "negative_slope": 0.2}


class MakeEncoder:
    """A way to make a network of its own for a part, out of the registered encoders.

    Annotate an option as ``MakeEncoder | None = None`` and a config may give it an encoder's name, or
    ``{name: ..., options}``.
    """

    part_kind: ClassVar[str] = "encoder"

    def __init__(self, config: Mapping[str, Any], build: Callable[..., Any]) -> None:
        self.config, self._build = dict(config), build

    @classmethod
    def from_config(cls, value: Any, build: Callable[..., Any]) -> MakeEncoder:
        """Read a name, or a mapping with a name, and see that there is such an encoder."""
        config = {"name": value} if isinstance(value, str) else value
        if not isinstance(config, Mapping) or not isinstance(config.get("name"), str):
            raise AeframeError(f"expected an encoder's name or {{name: ..., options}}, found {value!r}")
        registry().entry("encoder", config["name"])
        return cls(config, build)

    @classmethod
    def usual(cls, spec: DataSpec, build: Callable[..., Any]) -> MakeEncoder:
        """Return three strided convolutions for data with positions, two dense layers for flat ones."""
        if len(spec.shape) == 1:
            return cls({"name": "mlp", "hidden": (256, 128), "activation": _LEAKY}, build)
        return cls({"name": "conv", "channels": (64, 128, 256), "activation": _LEAKY, "norm": "group"}, build)

    def __call__(self, spec: DataSpec, activation: MakeActivation) -> Encoder:
        """Return a new network for data of this shape and domain."""
        made: Encoder = self._build(
            "encoder", self.config, shape=spec.shape, domain=spec.domain, spec=spec, activation=activation
        )
        return made


def stages(network: Encoder, batch: Batch) -> list[Tensor]:
    """Return the features after each stage of a network, ``(B, C, *positions)`` each; the last are what it returns.

    A stage is what lies between two changes of shape along ``network.layers``, where that is a sequence; any other
    network has one stage.
    """
    found: list[Tensor] = []

    def keep(_: nn.Module, __: Any, features: Tensor) -> None:
        if found and found[-1].shape == features.shape:
            found.pop()
        found.append(features)

    layers = getattr(network, "layers", None)
    watched = [*(layers if isinstance(layers, nn.Sequential) else []), network]
    hooks = [module.register_forward_hook(keep) for module in watched]
    try:
        network(batch)
    finally:
        for hook in hooks:
            hook.remove()
    return found
