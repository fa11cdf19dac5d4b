"""The units of loss terms and metrics, as far as they are known."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aeframe.model.autoencoder import Autoencoder
from aeframe.registry import registry


def units_of(model: Autoencoder, metrics: Mapping[str, Mapping[str, Any] | None]) -> dict[str, str]:
    """Return the unit of each term and metric by name; names of an unknown unit are left out.

    The reconstruction has the unit of the loss. Its sum with other terms has a unit only if that is nats, as of a KL.

    Args:
        model: The model whose loss terms are printed.
        metrics: The options of each metric by name, see `aeframe.evaluation.evaluator.metrics_of`.
    """
    nats = ("loss", "bound") if model.loss.unit == "nats" else ()
    units = {"kl": "nats", "reconstruction": model.loss.unit, **dict.fromkeys(nats, "nats")}
    for label, options in metrics.items():
        if options is not None:
            units[label] = getattr(registry().load("metric", options.get("name", label)), "unit", "")
    return {name: unit for name, unit in units.items() if unit}
