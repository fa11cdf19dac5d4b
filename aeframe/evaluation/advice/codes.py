"""Illnesses of the latent: collapse, codes and features that are not used, a code that is too large or not sparse."""

from __future__ import annotations

import math

from aeframe.evaluation.advice.curves import longer, with_rate
from aeframe.evaluation.advice.evidence import Evidence
from aeframe.evaluation.advice.finding import Finding, finding

_COLLAPSED = 0.1
"""KL in nats below which the code holds no information."""
_FEW_BATCHES = 200
"""Number of training batches below which an unused code may be one that is not trained yet."""
_HIGH_RATE = 1e-2
"""Learning rate from which it is a likely reason for a code that does not vary."""
_USED_OF_EXPECTED = 0.25
"""Share of codes in use, relative to what uniform draws of as many codes would use. Measured: 0.04 with k-means
initialisation of 2,048 codes and no revival, 1.0 in a healthy run."""
_DEAD, _SHOWN = 0.5, 0.9
"""Fraction of dead features, and the fraction that uniform activity would show on as many samples: where the test split
is too small for that, dead features are not counted."""
_DENSE = 0.5
"""Fraction of active features of a sample above which a code is not sparse."""
_UNUSED = 0.25
"""Fraction of dimensions in use, with a KL above `_COLLAPSED`, below which a code is too large. Measured: 0.19 for 64
dimensions of 30 correlated columns, 0.5 to 1 in healthy runs."""
_MIN_UNITS = 8
"""In a smaller code, unused dimensions cost nothing."""
_IDENTITY = 0.9
"""R² above which a code of the size of x is a copy."""


class PosteriorCollapse:
    """The posterior is the prior, or is the same for all samples."""

    name = "posterior_collapse"
    evidence = "KL and active units"

    def applies(self, run: Evidence) -> bool:
        return "kl" in run.metrics or "active_units" in run.metrics

    def find(self, run: Evidence) -> Finding | None:
        kl, active = run.metrics.get("kl"), run.metrics.get("active_units")
        is_collapsed = kl is not None and kl < _COLLAPSED
        if not is_collapsed and active != 0:
            return None
        figures = [] if kl is None else [f"kl {kl:.2g} nats"]
        figures += [] if active is None else [f"{active:.0f} active units"]
        found = f"the code holds no information about x ({', '.join(figures)})"
        if run.num_batches < _FEW_BATCHES:
            return finding(self.name, f"{found} after {run.num_batches:,} batches", longer(run))
        if not is_collapsed:
            # The posterior differs from the prior, but by the same amount for all samples, as before training.
            remedy = with_rate(run, 0.1) if (run.rate or 0) >= _HIGH_RATE else longer(run)
            return finding(self.name, found, remedy)
        return finding(self.name, f"{found}: the posterior has collapsed onto the prior", *self._remedies(run))

    def _remedies(self, run: Evidence) -> list[tuple[str, ...]]:
        beta = run.option("objective", "beta")
        remedies: list[tuple[str, ...]] = []
        if isinstance(beta, (int, float)) and beta > 1:
            remedies.append((f"objective.beta={max(1.0, beta / 10):g}",))
        if run.option("objective", "free_bits") == 0 and run.option("objective", "capacity") is None:
            remedies.append(("objective.free_bits=0.5",))
        if isinstance(beta, (int, float)) and beta > 0:
            remedies.append((f"objective.beta={{name: linear, end: {min(1.0, beta):g}, over: 0.3}}",))
        return remedies[:2] or [longer(run)]


class DeadCodes:
    """Few codes of a codebook are in use."""

    name = "dead_codes"
    evidence = "codes in use"

    def applies(self, run: Evidence) -> bool:
        size = run.option("latent", "codebook_size")
        return "codebook_used" in run.metrics and isinstance(size, int) and run.num_test > 0

    def find(self, run: Evidence) -> Finding | None:
        used, size = run.metrics["codebook_used"], int(run.option("latent", "codebook_size"))
        num_codes = run.num_test * run.diagnosis.get("code_positions", 1.0)
        if used >= _USED_OF_EXPECTED * -math.expm1(-num_codes / size):
            return None
        num_used = max(1, round(used * size))
        found = f"{num_used:,} of {size:,} codes are in use on {run.num_test:,} test samples"
        smaller = (f"latent.codebook_size={min(size // 2, _power_of_two(2 * num_used))}",)
        # Codes without a gradient are dead for good unless they are moved.
        revive = [("latent.revive=0.1",)] if run.option("latent", "revive") == 0 else []
        return finding(self.name, found, *revive, smaller)


class DeadFeatures:
    """Most features of a sparse code are never active."""

    name = "dead_features"
    evidence = "dead features"

    def applies(self, run: Evidence) -> bool:
        size = run.diagnosis.get("code_size", 0)
        return "dead" in run.metrics and size > 0 and run.num_test > 0

    def find(self, run: Evidence) -> Finding | None:
        dead, size = run.metrics["dead"], run.diagnosis["code_size"]
        expected = -math.expm1(-run.num_test * run.metrics.get("l0", 0.0) / size)
        if dead <= _DEAD or expected < _SHOWN:
            return None
        found = f"{dead:.0%} of the {size:,.0f} features are active for none of {run.num_test:,} test samples"
        smaller = (f"latent.dim={min(int(size) // 2, _power_of_two(round((1 - dead) * size)))}",)
        revive = [("latent.auxk=0.03125",)] if run.option("latent", "auxk") == 0 else []
        return finding(self.name, found, *revive, *([smaller] if run.has_option("latent", "dim") else []))


class DenseCode:
    """A sparse code has most of its features active in a sample."""

    name = "dense_code"
    evidence = "active features of a sample"

    def applies(self, run: Evidence) -> bool:
        return "l0" in run.metrics and run.diagnosis.get("code_size", 0) > 0

    def find(self, run: Evidence) -> Finding | None:
        active, size = run.metrics["l0"], run.diagnosis["code_size"]
        remedies = self._remedies(run, int(size))
        if active <= _DENSE * size or not remedies:
            return None
        return finding(self.name, f"{active:,.0f} of {size:,.0f} features are active in a sample (l0)", *remedies)

    def _remedies(self, run: Evidence, size: int) -> list[tuple[str, ...]]:
        few, sparsity = max(1, min(32, size // 16)), run.option("latent", "sparsity")
        if run.has_option("latent", "k"):
            return [(f"latent.k={few}",)]
        if run.has_option("latent", "target_l0"):
            # A weight of one's own and a target exclude each other.
            return [(f"latent.target_l0={few}", *(["latent.sparsity=null"] if sparsity is not None else []))]
        if isinstance(sparsity, (int, float)):
            return [(f"latent.sparsity={10 * sparsity or 0.1:g}",)]
        end = sparsity.get("end") if isinstance(sparsity, dict) else None
        return [(f"latent.sparsity.end={10 * end:g}",)] if isinstance(end, (int, float)) else []


class UnusedUnits:
    """Few dimensions of a code with a posterior differ from the prior."""

    name = "unused_units"
    evidence = "KL by dimension"

    def applies(self, run: Evidence) -> bool:
        size = run.diagnosis.get("code_size", 0)
        # The KL of each is recorded for codes of up to 64 dimensions.
        is_by_dimension = size >= _MIN_UNITS and f"kl/{size:.0f}" in run.metrics
        return is_by_dimension and run.option("latent", "dim") == size

    def find(self, run: Evidence) -> Finding | None:
        size = int(run.diagnosis["code_size"])
        used = sum(run.metrics[f"kl/{number}"] > _COLLAPSED for number in range(1, size + 1))
        if used >= _UNUSED * size or used == 0:
            return None
        found = f"{used} of the {size} dimensions of the code are in use (KL above {_COLLAPSED:g} nats)"
        return finding(self.name, found, (f"latent.dim={min(size // 2, max(2, round(1.5 * used)))}",))


class Identity:
    """A code that is at least as large as x and is not restricted copies x."""

    name = "identity"
    evidence = "the size of the code"

    def applies(self, run: Evidence) -> bool:
        restricted = {"kl", "l0", "codebook_used"} & run.metrics.keys()
        return (
            "code_size" in run.diagnosis
            and "r2" in run.metrics
            and bool(run.shape)
            and not restricted
            and not run.config.get("penalties")
            and not run.config.get("critics")
            and run.option("corruption", "name") == "none"
            and run.option("objective", "name") == "deterministic"
            and run.has_option("latent", "dim")
        )

    def find(self, run: Evidence) -> Finding | None:
        size, num_elements = int(run.diagnosis["code_size"]), math.prod(run.shape)
        if size < num_elements or run.metrics["r2"] < _IDENTITY:
            return None
        found = (
            f"the code has {size:,} numbers for {num_elements:,} elements of x, so the model can copy x "
            f"(r2 {run.metrics['r2']:.3f})"
        )
        return finding(self.name, found, (f"latent.dim={max(1, num_elements // 4)}",), ("corruption=gaussian",))


def _power_of_two(number: int) -> int:
    """Return the smallest power of two that is at least `number`, and at least 2."""
    return max(2, 1 << max(0, number - 1).bit_length())
