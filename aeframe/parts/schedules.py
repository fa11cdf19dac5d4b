"""Schedules: numbers of the config that change during training. They are functions of `TrainingProgress` alone.

Lengths are fractions of the planned run, or batches; see `length_in_batches`.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Literal

from aeframe.errors import AeframeError
from aeframe.types import TrainingProgress


class Schedule(ABC):
    """A number as a function of training progress.

    An option that is annotated `Schedule` can be set to a number or to ``{name: linear, start: 0, ...}`` in a config.
    """

    # The kind of the parts that an option with this annotation can name.
    part_kind: ClassVar[str] = "schedule"

    @abstractmethod
    def __call__(self, progress: TrainingProgress) -> float:
        """Return the value at this progress."""

    @classmethod
    def from_config(cls, value: Any, build: Callable[..., Any]) -> Schedule:
        """Return the schedule of a number, a name, or a mapping with a name."""
        if isinstance(value, (str, Mapping)):
            schedule: Schedule = build("schedule", value)
            return schedule
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise AeframeError(f"expected a number or a schedule such as {{name: linear, end: 1.0}}, found {value!r}")
        return Constant(value=value)


def fixed(value: float) -> Schedule:
    """Return a constant schedule, for the default of an option."""
    return Constant(value=value)


def length_in_batches(over: float, progress: TrainingProgress) -> float:
    """Return the length `over` in batches. Numbers above 1 are batches, those in [0, 1] fractions of the planned run.

    Raises:
        AeframeError: A negative length, or a fraction of a run whose length is unknown.
    """
    if over < 0:
        raise AeframeError(f"a length must be a fraction of the run in [0, 1] or a number of batches, found {over}")
    if over > 1 or over == 0:
        return over
    if not progress.planned:
        raise AeframeError(
            f"a schedule has the length {over:g} of the run, but the length of the run is unknown; set max_epochs or "
            "max_batches, or write the schedule in batches"
        )
    return over * progress.planned


class Constant(Schedule):
    """The same `value` at all times."""

    def __init__(self, *, value: float) -> None:
        self.value = float(value)

    def plain(self) -> float:
        """Return the value, as a config writes this schedule."""
        return self.value

    def __call__(self, progress: TrainingProgress) -> float:
        return self.value


class _Ramp(Schedule):
    """From `start` to `end` during the length `over`, after the length `delay`; see `length_in_batches`."""

    def __init__(self, *, start: float = 0.0, end: float = 1.0, over: float = 1.0, delay: float = 0.0) -> None:
        self.start, self.end, self.over, self.delay = float(start), float(end), over, delay

    def __call__(self, progress: TrainingProgress) -> float:
        span = length_in_batches(self.over, progress)
        passed = progress.batch - length_in_batches(self.delay, progress)
        fraction = min(1.0, max(0.0, passed / span)) if span > 0 else float(passed >= 0)
        return self.start + (self.end - self.start) * self.curve(fraction)

    @abstractmethod
    def curve(self, fraction: float) -> float:
        """Return the shape of the ramp, a map from [0, 1] to [0, 1]."""


class Linear(_Ramp):
    """A linear ramp from `start` to `end`."""

    def curve(self, fraction: float) -> float:
        return fraction


class Cosine(_Ramp):
    """A ramp from `start` to `end` along half a period of a cosine (Loshchilov & Hutter 2017, arXiv 1608.03983)."""

    def curve(self, fraction: float) -> float:
        return 0.5 * (1.0 - math.cos(math.pi * fraction))


class Logistic(_Ramp):
    """A ramp along a logistic curve, as for the annealing of KL weights (Bowman et al. 2016, arXiv 1511.06349).

    The curve sigmoid(steepness (t - 1/2)) for t in [0, 1] is rescaled to reach `start` and `end` exactly. A larger
    `steepness` is closer to a step in the middle.
    """

    def __init__(
        self,
        *,
        start: float = 0.0,
        end: float = 1.0,
        over: float = 1.0,
        delay: float = 0.0,
        steepness: float = 10.0,
    ) -> None:
        super().__init__(start=start, end=end, over=over, delay=delay)
        if steepness <= 0:
            raise AeframeError(f"logistic needs steepness above 0, found {steepness}")
        self.steepness = steepness

    def curve(self, fraction: float) -> float:
        # The logistic function, written as a hyperbolic tangent, which is rescaled by its value at t = 1.
        at_end = math.tanh(0.25 * self.steepness)
        return 0.5 + 0.5 * math.tanh(0.5 * self.steepness * (fraction - 0.5)) / at_end


class Exponential(_Ramp):
    """A ramp with a constant factor per batch, as for temperatures (Jang et al. 2017, arXiv 1611.01144)."""

    def __init__(self, *, start: float = 1.0, end: float = 0.01, over: float = 1.0, delay: float = 0.0) -> None:
        super().__init__(start=start, end=end, over=over, delay=delay)
        if self.start * self.end <= 0:
            raise AeframeError(
                f"exponential needs start and end of the same sign, other than 0, found {start} and {end}"
            )

    def curve(self, fraction: float) -> float:
        # The value factor^fraction, rescaled to [0, 1].
        factor = self.end / self.start
        return fraction if factor == 1 else (factor**fraction - 1) / (factor - 1)


class Cyclical(Schedule):
    """Repeated ramps from `start` to `end`, `cycles` times in the run (Fu et al. 2019, arXiv 1903.10145).

    `ratio` is the fraction of a cycle with the ramp; the rest of the cycle stays at `end`.
    """

    def __init__(
        self,
        *,
        start: float = 0.0,
        end: float = 1.0,
        cycles: int = 4,
        ratio: float = 0.5,
        shape: Literal["linear", "cosine"] = "linear",
    ) -> None:
        if cycles < 1 or not 0 < ratio <= 1:
            raise AeframeError(f"cyclical needs cycles >= 1 and ratio in (0, 1], found {cycles} and {ratio}")
        self.start, self.end, self.cycles, self.ratio = float(start), float(end), cycles, ratio
        self._curve = Linear().curve if shape == "linear" else Cosine().curve

    def __call__(self, progress: TrainingProgress) -> float:
        fraction = min(1.0, progress.batch / length_in_batches(1.0, progress))
        cycle = fraction * self.cycles
        fraction_of_cycle = 1.0 if fraction >= 1.0 else cycle - math.floor(cycle)
        return self.start + (self.end - self.start) * self._curve(min(1.0, fraction_of_cycle / self.ratio))


class Step(Schedule):
    """`value`, multiplied by `factor` after each of the lengths `at` (see `length_in_batches`)."""

    def __init__(self, *, value: float, factor: float = 0.1, at: tuple[float, ...] = (0.5, 0.75)) -> None:
        self.value, self.factor, self.at = float(value), float(factor), at

    def __call__(self, progress: TrainingProgress) -> float:
        return self.value * self.factor ** sum(
            progress.batch >= length_in_batches(moment, progress) for moment in self.at
        )


class Warmup(Schedule):
    """A linear rise from 0 to `peak` during `warmup`, then a cosine decay to `end`: usual for learning rates."""

    def __init__(self, *, peak: float, end: float = 0.0, warmup: float = 0.05) -> None:
        self.peak, self.end, self.warmup = float(peak), float(end), warmup

    def __call__(self, progress: TrainingProgress) -> float:
        rise_batches = length_in_batches(self.warmup, progress)
        if progress.batch < rise_batches:
            return self.peak * (progress.batch + 1) / (rise_batches + 1)
        decay_batches = max(1.0, length_in_batches(1.0, progress) - rise_batches)
        fraction = min(1.0, (progress.batch - rise_batches) / decay_batches)
        return self.end + (self.peak - self.end) * 0.5 * (1.0 + math.cos(math.pi * fraction))
