"""Illnesses of new samples: codes far from the prior, a critic that wins, a condition without effect."""

from __future__ import annotations

import math

from aeframe.evaluation.advice.evidence import Evidence
from aeframe.evaluation.advice.finding import Finding, finding

_PRIOR_KL = 0.25
"""KL in nats of a dimension from its mean and variance over all codes to the standard normal. A standard deviation of
0.55 or 1.7 has 0.25; measured below 0.02 in healthy VAEs."""
_CHANCE = {"hinge": 2.0, "vanilla": 2 * math.log(2), "non_saturating": 2 * math.log(2), "least_squares": 0.5}
"""The loss of a critic that cannot separate its two classes, by its kind of loss."""
_WINS = 0.25
"""Loss of a critic over that of chance, below which it separates its classes nearly always."""
_NO_EFFECT = 0.05
"""Mean squared change of the reconstruction with the condition, relative to its variance. Measured: 0.014 for a label
that is independent of x, 2.1 for digits; 0.084 for digits with a KL of weight 1e-4 and a code of half the size of x."""


class PriorMismatch:
    """The codes are far from the prior that new samples are drawn from."""

    name = "prior_mismatch"
    evidence = "codes beside the prior"

    def applies(self, run: Evidence) -> bool:
        return run.option("sampler", "name") == "prior" and bool(self._measured(run))

    def find(self, run: Evidence) -> Finding | None:
        for name, (value, limit, unit) in self._measured(run).items():
            if value > limit:
                found = f"the codes are far from the prior that new samples are drawn from ({name} {value:.2g}{unit})"
                return finding(self.name, found, ("sampler=gmm",))
        return None

    def _measured(self, run: Evidence) -> dict[str, tuple[float, float, str]]:
        values = {}
        if "prior_kl" in run.diagnosis:
            values["moments"] = (run.diagnosis["prior_kl"], _PRIOR_KL, " nats by dimension")
        if "prior_gap" in run.metrics and run.diagnosis.get("code_size", 0) > 0:
            # In nats for the whole code, with correlations between dimensions.
            gap = run.metrics["prior_gap"] / run.diagnosis["code_size"]
            values["prior_gap"] = (gap, _PRIOR_KL, " nats by dimension")
        return values


class CriticWins:
    """A critic separates its two classes nearly always, so its gradient says little to the autoencoder."""

    name = "critic_wins"
    evidence = "the losses of critics"

    def applies(self, run: Evidence) -> bool:
        return any(len(run.curve("val", f"{label}/loss")) for label in run.config.get("critics") or {})

    def find(self, run: Evidence) -> Finding | None:
        for label, options in (run.config.get("critics") or {}).items():
            curve = run.curve("val", f"{label}/loss")
            kind = (options or {}).get("loss", "non_saturating")
            if not len(curve) or not curve.is_finite or kind not in _CHANCE:
                continue
            loss = curve.mean_between(0.5, 1.0)
            if loss < _WINS * _CHANCE[kind]:
                found = f"critic {label} wins: its loss is {loss:.2g} in the second half of training, chance is"
                return finding(self.name, f"{found} {_CHANCE[kind]:.2g}", *_weaker(run, label))
        return None


class UnusedCondition:
    """The reconstruction does not depend on the condition."""

    name = "unused_condition"
    evidence = "the effect of the condition"

    def applies(self, run: Evidence) -> bool:
        return "condition_effect" in run.diagnosis

    def find(self, run: Evidence) -> Finding | None:
        effect = run.diagnosis["condition_effect"]
        if effect >= _NO_EFFECT:
            return None
        found = (
            f"the condition of another sample changes the reconstruction by {effect:.1%} of its variance: the code "
            "holds what the condition holds, or the condition holds nothing of x"
        )
        return finding(self.name, found, *_pressure(run))


def _weaker(run: Evidence, label: str) -> list[tuple[str, ...]]:
    """Return overrides that make a critic weaker."""
    settings = (run.config.get("optimizers") or {}).get(label) or {}
    configured = (settings.get("optimizer") or {}).get("lr")
    recorded = max(run.curve("train", f"lr/{label}").values, default=None)
    rate = recorded if recorded is not None else configured if isinstance(configured, (int, float)) else run.rate
    lower = f"{0.1 * (rate or 1e-3):.0e}".replace("e-0", "e-")
    every = max(2, 2 * int(settings.get("every") or 1))
    return [(f"optimizers.{label}.optimizer.lr={lower}",), (f"optimizers.{label}.every={every}",)]


def _pressure(run: Evidence) -> list[tuple[str, ...]]:
    """Return overrides that keep the code from holding what the condition holds."""
    remedies: list[tuple[str, ...]] = []
    beta, dim = run.option("objective", "beta"), run.option("latent", "dim")
    if isinstance(beta, (int, float)) and beta < 1:
        remedies.append(("objective.beta=1",))
    if isinstance(dim, int) and dim > 1:
        remedies.append((f"latent.dim={max(1, dim // 4)}",))
    return remedies or [("condition_encoder=false",)]
