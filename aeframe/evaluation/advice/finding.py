"""`Finding`: one sign of a poor run with what to try; `Illness`: a rule that finds it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from aeframe.evaluation.advice.evidence import Evidence


@dataclass(frozen=True, slots=True)
class Finding:
    """One sign of a poor run."""

    illness: str
    """The name of the rule."""
    severity: int
    """Findings of a higher severity are printed first: see `SEVERITIES`."""
    found: str
    """What was found, with a figure."""
    remedies: tuple[tuple[str, ...], ...]
    """Alternatives, the best first; each is the overrides of a new run, unquoted."""

    def __str__(self) -> str:
        alternatives = [" ".join(_quoted(override) for override in remedy) for remedy in self.remedies]
        return f"{self.found}; try {' or '.join(alternatives)}"


class Illness(Protocol):
    """A rule that finds one sign of a poor run."""

    name: str
    evidence: str
    """What it looks at, in words; it completes the sentence "looked at ..."."""

    def applies(self, run: Evidence) -> bool:
        """Return whether the run has measured what the rule looks at."""

    def find(self, run: Evidence) -> Finding | None:
        """Return the finding, or None for a run without this illness. It is called only where `applies` is true."""


SEVERITIES = {
    # The numbers of such a run mean nothing else.
    "rate_too_high": 100,
    "wrong_scale": 95,
    # The saved weights are not those that were trained.
    "wrong_monitor": 90,
    "saturated_output": 85,
    "posterior_collapse": 80,
    "critic_wins": 75,
    "dense_code": 70,
    "dead_codes": 65,
    "dead_features": 60,
    "overfit": 55,
    "rate_too_low": 50,
    "unused_condition": 45,
    "underfit": 40,
    "prior_mismatch": 35,
    # The code is larger than it need be, but the model works.
    "identity": 30,
    "unused_units": 20,
}
"""The severity of each illness: what would explain the others comes first."""

EXPLAINS = {
    "rate_too_high": {"posterior_collapse", "underfit", "saturated_output", "rate_too_low", "unused_condition"},
    "wrong_scale": {"underfit", "identity"},
    "wrong_monitor": {"underfit", "posterior_collapse", "unused_units", "unused_condition", "overfit"},
    "saturated_output": {"underfit"},
    "posterior_collapse": {"underfit", "unused_units", "prior_mismatch"},
    "dead_codes": {"underfit"},
    "overfit": {"underfit"},
}
"""What follows from an illness and is not printed next to it: its remedy would be another one on its own."""


def finding(illness: str, found: str, *remedies: tuple[str, ...]) -> Finding:
    """Return a finding of the severity of its illness."""
    return Finding(illness, SEVERITIES[illness], found, remedies)


def _quoted(override: str) -> str:
    """Return an override as it is typed in a shell."""
    return f"'{override}'" if any(character in override for character in " {}*") else override
