"""The units of loss terms and metrics, as far as they are known."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aeframe.registry import registry


def units_of(loss_unit: str, metrics: Mapping[str, Mapping[str, Any] | None]) -> dict[str, str]:
    """Return the unit of each term and metric by name; names of an unknown unit are left out.

    The reconstruction has the unit of the loss. Its sum with other terms has a unit only if that is nats, as of a KL.

    Args:
        loss_unit: `Loss.unit` of the model's loss.
        metrics: The options of each metric by name, see `aeframe.evaluation.evaluator.metrics_of`.
    """
    nats = ("loss", "bound") if loss_unit == "nats" else ()
    units = {"kl": "nats", "reconstruction": loss_unit, **dict.fromkeys(nats, "nats")}
    for label, metric in metric_classes(metrics).items():
        units[label] = getattr(metric, "unit", "")
    return {name: unit for name, unit in units.items() if unit}


def metric_classes(metrics: Mapping[str, Mapping[str, Any] | None]) -> dict[str, type]:
    """Return the class of each metric by label; a label without options (None) is left out."""
    return {
        label: registry().load("metric", options.get("name", label))
        for label, options in metrics.items()
        if options is not None
    }
