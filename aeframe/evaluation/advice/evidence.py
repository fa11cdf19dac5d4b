"""`Evidence`: what is known of a run, which the advice is derived from."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

from aeframe.evaluation.measurement import Measurement

_EPOCH_MEAN = "train_epoch"


class Curve(NamedTuple):
    """Values of a term or metric in the order of training."""

    steps: tuple[int, ...]
    """Batches trained on before each measurement."""
    values: tuple[float, ...]

    def __len__(self) -> int:
        return len(self.values)

    @property
    def is_finite(self) -> bool:
        """Whether every value is a finite number."""
        return all(map(math.isfinite, self.values))

    def mean_between(self, start: float, end: float) -> float:
        """Return the mean of the values from the fraction `start` of the measurements to `end`; at least one value."""
        first = min(int(start * len(self.values)), len(self.values) - 1)
        chosen = self.values[first : max(first + 1, math.ceil(end * len(self.values)))]
        return math.fsum(chosen) / len(chosen)


@dataclass(frozen=True)
class Evidence:
    """What is known of a run: its config, and what it has measured."""

    config: Mapping[str, Any]
    """The resolved config: one mapping with ``name`` and all options for each part."""
    metrics: Mapping[str, float] = field(default_factory=dict)
    """Test metrics by name; of a run that has not been tested, the newest ones of the validation split."""
    measurements: Sequence[Measurement] = ()
    diagnosis: Mapping[str, float] = field(default_factory=dict)
    """See `aeframe.evaluation.diagnosis.diagnose`; empty for a run that has not been tested."""
    shape: tuple[int, ...] = ()
    """The shape of one sample; empty if it is not known."""
    domain: str = ""
    """The kind of the domain of x, such as ``unit``; empty if it is not known."""
    num_test: int = 0
    """Samples of the test split; 0 if it is not known."""

    @cached_property
    def num_batches(self) -> int:
        """The number of batches that the run has trained on."""
        return max((row.step for row in self.measurements), default=0)

    @cached_property
    def _curves(self) -> dict[tuple[str, str], Curve]:
        points: dict[tuple[str, str], list[tuple[int, float]]] = {}
        for row in self.measurements:
            points.setdefault((row.split, row.name), []).append((row.step, row.value))
        return {key: Curve(*zip(*sorted(rows, key=lambda row: row[0]), strict=True)) for key, rows in points.items()}

    def curve(self, split: str, name: str) -> Curve:
        """Return the curve of a value; empty if it was not measured. Training has means over epochs, if there are any.

        Args:
            split: ``train`` or ``val``.
            name: The name of the term or metric.
        """
        epochs = self._curves.get((_EPOCH_MEAN, name)) if split == "train" else None
        return epochs or self._curves.get((split, name)) or Curve((), ())

    @cached_property
    def rate(self) -> float | None:
        """The largest learning rate of the autoencoder; None if it was not recorded and is a schedule."""
        recorded = [value for value in self.curve("train", "lr/autoencoder").values if math.isfinite(value)]
        configured = self.option("optimizer", "lr")
        return max(recorded, default=float(configured) if isinstance(configured, (int, float)) else None)

    def option(self, part: str, name: str) -> Any:
        """Return an option of a part, such as ``latent.dim``; None if the part has no such option."""
        options = self.config.get(part)
        return options.get(name) if isinstance(options, Mapping) else None

    def has_option(self, part: str, name: str) -> bool:
        """Return whether a part of the run has an option, such as ``objective.free_bits``."""
        options = self.config.get(part)
        return isinstance(options, Mapping) and name in options
