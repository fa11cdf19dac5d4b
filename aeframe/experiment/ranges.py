"""Which values a run's settings may have, beyond their types."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from aeframe.errors import AeframeError, did_you_mean


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
    "trainer.devices": _Range(1),
    "trainer.num_nodes": _Range(1),
    "trainer.threads": _Range(1),
}
_CHOICES = {
    "monitor": ("bound", "loss", "reconstruction"),
    "trainer.accelerator": ("auto", "cpu", "gpu", "cuda", "mps", "tpu"),
    "trainer.precision": ("32-true", "bf16-mixed", "16-mixed", "64-true", "bf16-true", "16-true"),
}


def check_ranges(settings: Mapping[str, Any]) -> None:
    """Refuse settings whose type is right and whose value is not.

    Batch size, accumulation and the moves of players are not here: what they may be depends on data, devices and model.

    Raises:
        AeframeError: The first one, with what it may be.
    """
    flat = {**settings, **{f"trainer.{name}": value for name, value in settings["trainer"].items()}}
    clips = {f"players.{label}.clip": player["clip"] for label, player in settings["players"].items()}
    for key, value in {**flat, **clips}.items():
        allowed = _RANGES["clip"] if key in clips else _RANGES.get(key)
        if allowed is not None and value is not None and not allowed.holds(value):
            raise AeframeError(f"setting '{key}' must {allowed}, found {value}; set {key} to such a number")
        names = _CHOICES.get(key)
        if names is not None and value not in names:
            raise AeframeError(
                f"setting '{key}' has no value '{value}'{did_you_mean(value, names)}; choose {', '.join(names)}"
            )
