"""Schedules: how a number of the config moves during a run. They are functions of the clock, so nothing is stored.

Lengths are fractions of the planned run, or batches; see `length` for a run whose length is not known.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Literal

from aeframe.errors import AeframeError
from aeframe.types import TrainingProgress


class Schedule(ABC):
    """A number that depends on where the run stands.

    Annotate an option as `Schedule` and a config may give it a plain number, or ``{name: linear, start: 0, ...}``.
    """

    part_kind: ClassVar[str] = "schedule"

    @abstractmethod
    def __call__(self, progress: TrainingProgress) -> float:
        """Return the number at this moment."""

    @classmethod
    def from_config(cls, value: Any, build: Callable[..., Any]) -> Schedule:
        """Make a schedule from a number, a name, or a mapping with a name."""
        if isinstance(value, (str, Mapping)):
            made: Schedule = build("schedule", value)
            return made
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise AeframeError(f"expected a number or a schedule such as {{name: linear, end: 1.0}}, found {value!r}")
        return Constant(value=value)


def fixed(value: float) -> Schedule:
    """Return a schedule that stays at `value`, which is how an option's default is written."""
    return Constant(value=value)


def length(over: float, progress: TrainingProgress) -> float:
    """Return a length in batches: a whole number above 1 is one already, 0 to 1 is a fraction of the planned run.

    Raises:
        AeframeError: A negative length, or a fraction of a run whose own length is not known: whatever it were taken
            for, the schedule would be another one than was asked for, and nobody would be told.
    """
    if over < 0:
        raise AeframeError(f"a length is a fraction of the run in [0, 1] or a number of batches, found {over}")
    if over > 1 or over == 0:
        return over
    if not progress.planned:
        raise AeframeError(
            f"a schedule counts on {over:g} of the run, but how long the run will be is not known; plan its length "
            "(max_epochs or max_batches), or write the schedule in batches"
        )
    return over * progress.planned


class Constant(Schedule):
    """Stay at `value`."""

    def __init__(self, *, value: float) -> None:
        self.value = float(value)

    def plain(self) -> float:
        """Return what a config shows for it: the number."""
        return self.value

    def __call__(self, progress: TrainingProgress) -> float:
        return self.value


class _Ramp(Schedule):
    """Move from `start` to `end` in `over`, after `delay`; both are fractions of the run, or batches when above 1."""

    def __init__(self, *, start: float = 0.0, end: float = 1.0, over: float = 1.0, delay: float = 0.0) -> None:
        self.start, self.end, self.over, self.delay = float(start), float(end), over, delay

    def __call__(self, progress: TrainingProgress) -> float:
        span = length(self.over, progress)
        passed = progress.batch - length(self.delay, progress)
        fraction = min(1.0, max(0.0, passed / span)) if span > 0 else float(passed >= 0)
        return self.start + (self.end - self.start) * self.curve(fraction)

    @abstractmethod
    def curve(self, fraction: float) -> float:
        """Map [0, 1] to [0, 1]."""


class Linear(_Ramp):
    """Move in a straight line."""

    def curve(self, fraction: float) -> float:
        return fraction


class Cosine(_Ramp):
    """Move along half a cosine: slow, fast, slow (Loshchilov & Hutter 2017, arXiv 1608.03983)."""

    def curve(self, fraction: float) -> float:
        return 0.5 * (1.0 - math.cos(math.pi * fraction))


class Logistic(_Ramp):
    """Move along a logistic curve: an S, as KL weights are annealed (Bowman et al. 2016, arXiv 1511.06349).

    `start` and `end` are reached, which a logistic curve by itself never does: it is stretched to them. `steepness` is
    how many of its own widths the whole way has; the larger, the more it is a step in the middle.
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
        # A logistic function is a hyperbolic tangent.
        half = math.tanh(0.25 * self.steepness)
        return 0.5 + 0.5 * math.tanh(0.5 * self.steepness * (fraction - 0.5)) / half


class Exponential(_Ramp):
    """Move by the same factor at each batch, as temperatures are annealed (Jang et al. 2017, arXiv 1611.01144)."""

    def __init__(self, *, start: float = 1.0, end: float = 0.01, over: float = 1.0, delay: float = 0.0) -> None:
        super().__init__(start=start, end=end, over=over, delay=delay)
        if self.start * self.end <= 0:
            raise AeframeError(
                f"exponential needs start and end on the same side of 0, found {start} and {end}; it never gets to 0"
            )

    def curve(self, fraction: float) -> float:
        # The share of the way between the ends, which is what a ramp asks for.
        factor = self.end / self.start
        return fraction if factor == 1 else (factor**fraction - 1) / (factor - 1)


class Cyclical(Schedule):
    """Rise from `start` to `end` and fall back at once, `cycles` times in the run (Fu et al. 2019, arXiv 1903.10145).

    `ratio` is the part of a cycle spent rising; the rest stays at `end`.
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
        self._curve = Linear(end=1.0).curve if shape == "linear" else Cosine(end=1.0).curve

    def __call__(self, progress: TrainingProgress) -> float:
        fraction = min(1.0, progress.batch / length(1.0, progress))
        at = fraction * self.cycles
        within = 1.0 if fraction >= 1.0 else at - math.floor(at)
        return self.start + (self.end - self.start) * self._curve(min(1.0, within / self.ratio))


class Step(Schedule):
    """Multiply `value` by `factor` at each of the moments `at` (fractions of the run, or batches when above 1)."""

    def __init__(self, *, value: float, factor: float = 0.1, at: tuple[float, ...] = (0.5, 0.75)) -> None:
        self.value, self.factor, self.at = float(value), float(factor), at

    def __call__(self, progress: TrainingProgress) -> float:
        return self.value * self.factor ** sum(progress.batch >= length(moment, progress) for moment in self.at)


class Warmup(Schedule):
    """Rise linearly from 0 to `peak` during `warmup`, then fall along a cosine to `end`: the usual learning rate."""

    def __init__(self, *, peak: float, end: float = 0.0, warmup: float = 0.05) -> None:
        self.peak, self.end, self.warmup = float(peak), float(end), warmup

    def __call__(self, progress: TrainingProgress) -> float:
        rise = length(self.warmup, progress)
        if progress.batch < rise:
            return self.peak * (progress.batch + 1) / (rise + 1)
        fall = max(1.0, length(1.0, progress) - rise)
        fraction = min(1.0, (progress.batch - rise) / fall)
        return self.end + (self.peak - self.end) * 0.5 * (1.0 + math.cos(math.pi * fraction))
