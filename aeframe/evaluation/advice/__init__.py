"""Advice on a run: what its measurements show to be wrong, and the overrides to try.

Each rule (an `Illness`) reads the `Evidence` of a run and returns a `Finding` or None.
"""

from __future__ import annotations

from aeframe.evaluation.advice.codes import (
    DeadCodes,
    DeadFeatures,
    DenseCode,
    Identity,
    PosteriorCollapse,
    UnusedUnits,
)
from aeframe.evaluation.advice.curves import Overfit, RateTooHigh, RateTooLow, WrongMonitor
from aeframe.evaluation.advice.evidence import Curve, Evidence
from aeframe.evaluation.advice.finding import EXPLAINS, Finding, Illness
from aeframe.evaluation.advice.reconstruction import SaturatedOutput, Underfit, WrongScale
from aeframe.evaluation.advice.samples import CriticWins, PriorMismatch, UnusedCondition

ILLNESSES: tuple[Illness, ...] = (
    RateTooHigh(),
    RateTooLow(),
    Overfit(),
    WrongMonitor(),
    Underfit(),
    SaturatedOutput(),
    WrongScale(),
    PosteriorCollapse(),
    UnusedUnits(),
    Identity(),
    DeadCodes(),
    DenseCode(),
    DeadFeatures(),
    CriticWins(),
    UnusedCondition(),
    PriorMismatch(),
)
"""Every rule, in the order in which a run without findings lists what was looked at."""
MOST = 3
"""Findings that are printed of one run: a reader changes one thing at a time."""


def advise(run: Evidence) -> list[Finding]:
    """Return what is wrong with a run: at most `MOST` findings, the most severe first, none that another explains."""
    findings = [found for illness in ILLNESSES if illness.applies(run) and (found := illness.find(run)) is not None]
    explained = {name for each in findings for name in EXPLAINS.get(each.illness, ())}
    left = [each for each in findings if each.illness not in explained]
    return sorted(left, key=lambda each: -each.severity)[:MOST]


def looked_at(run: Evidence) -> list[str]:
    """Return in words what the rules have looked at: that of each rule whose measurements the run has."""
    return [illness.evidence for illness in ILLNESSES if illness.applies(run)]


__all__ = ["ILLNESSES", "MOST", "Curve", "Evidence", "Finding", "Illness", "advise", "looked_at"]
