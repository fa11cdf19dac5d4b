"""Small modules for the parts named ``own``, which `aeframe.fit` receives as objects and no config can hold."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn

from aeframe.parts.own import OWN, OWN_KINDS

NUM_VALUES = 12
"""Values of one sample that the decoder returns."""


def own_modules(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return new objects by kind for the parts named ``own`` in the config of a model.

    Encoder and decoder accept any shape. Their weights are drawn when a model is built, as those of other parts are.
    """
    modules = {
        "encoder": nn.Sequential(nn.Flatten(), nn.LazyLinear(16), nn.Tanh()),
        "decoder": nn.Sequential(nn.Flatten(), nn.LazyLinear(NUM_VALUES)),
        "loss": nn.functional.mse_loss,
    }
    return {kind: modules[kind] for kind in OWN_KINDS if _name_of(config.get(kind)) == OWN}


def _name_of(part: Any) -> Any:
    return part.get("name") if isinstance(part, Mapping) else part
