"""Which values a run's settings may have, beyond their types."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from aeframe.errors import AeframeError, did_you_mean
from aeframe.experiment.trainer_arguments import check_accelerator, check_devices, check_strategy


@dataclass(frozen=True, slots=True)
class _Range:
    """The numbers a setting may be; `exclusive` leaves the ends out."""

    low: float
    high: float = math.inf
    exclusive: bool = False

    def holds(self, value: float) -> bool:
        return self.low < value < self.high if self.exclusive else self.low <= value <= self.high

    def __str__(self) -> str:
        if self.high == math.inf:
            return f"be above {self.low:.10g}" if self.exclusive else f"be at least {self.low:.10g}"
        return f"lie between {self.low:.10g} and {self.high:.10g}{', exclusive' * self.exclusive}"


_RANGES = {
    # What numpy's generator, which libraries draw from, can be seeded with.
    "seed": _Range(0, 2**32 - 1),
    "workers": _Range(0),
    "max_epochs": _Range(1),
    "max_batches": _Range(1),
    "steps_per_call": _Range(1),
    "log_every": _Range(1),
    "clip": _Range(0, exclusive=True),
    "ema": _Range(0, 1, exclusive=True),
    "label_classes": _Range(0),
    "patience": _Range(1),
    "trainer.num_nodes": _Range(1),
    "trainer.threads": _Range(1),
}
_PRECISIONS = (
    "32-true",
    "bf16-mixed",
    "16-mixed",
    "64-true",
    "transformer-engine",
    "transformer-engine-float16",
)

_LOSSY = {"bf16-true": "bf16-mixed", "16-true": "16-mixed"}
"""Precisions of Lightning in which the parts do not work, and those that serve the same purpose."""


def check_ranges(settings: Mapping[str, Any]) -> None:
    """Refuse settings whose type is right and whose value is not.

    Batch size, accumulation and the intervals of optimizer groups are not checked here: what they may be depends on
    data, devices and model.

    Raises:
        AeframeError: The first one, with what it may be.
    """
    trainer = settings["trainer"]
    flat = {**settings, **{f"trainer.{name}": value for name, value in trainer.items()}}
    clips = {f"optimizers.{label}.clip": group["clip"] for label, group in settings["optimizers"].items()}
    for key, value in {**flat, **clips}.items():
        allowed = _RANGES["clip"] if key in clips else _RANGES.get(key)
        if allowed is not None and isinstance(value, (int, float)) and not allowed.holds(value):
            raise AeframeError(f"setting '{key}' must {allowed}, found {value}; set {key} to such a number")
    if (precision := trainer["precision"]) in _LOSSY:
        raise AeframeError(
            f"setting 'trainer.precision={precision}' would keep weights, likelihoods and codebooks in 8 to 11 bits, "
            f"which no recipe trains with; set trainer.precision={_LOSSY[precision]}"
        )
    if precision not in _PRECISIONS:
        raise AeframeError(
            f"setting 'trainer.precision' has no value '{precision}'{did_you_mean(precision, _PRECISIONS)}; choose "
            f"{', '.join(_PRECISIONS)}"
        )
    check_accelerator(trainer["accelerator"])
    check_devices(trainer["devices"])
    check_strategy(trainer["strategy"])
