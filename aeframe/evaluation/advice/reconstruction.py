"""Illnesses that the reconstruction shows: underfitting, outputs at a bound, the scale of the data."""

from __future__ import annotations

import math

from aeframe.evaluation.advice.curves import is_falling, longer, with_rate
from aeframe.evaluation.advice.evidence import Evidence
from aeframe.evaluation.advice.finding import Finding, finding

_ABOVE_PCA, _ABOVE_PCA_WITH_KL = 1.25, 2.0
"""Error over that of PCA with as many numbers. PCA is linear, so a network that is trained long enough is below 1
(measured: 0.67 to 1.12 in healthy runs). A KL term pays for a simple code with the error: measured 1.3 in a healthy
VAE."""
_FEW_BATCHES = 500
"""Batches below which a longer run is tried before a larger network."""
_SMALLEST = 64
"""The size of a layer that is suggested at least."""
_STUCK = 0.05
"""Share of reconstructions at a wrong bound: measured 0.12 and 0.32 for relu and hardsigmoid with dead gradients, and
0.003 at most in healthy runs."""
_DOMINANT, _TIMES_MEDIAN = 0.9, 100.0
"""Share of one element in the variance of x, and its variance over the median: a column of ten times the scale of the
others has 100 times their variance, and the loss is a loss of that column."""
_MIN_ELEMENTS = 3
"""With two elements, one of them may well have 90 % of the variance."""


class Underfit:
    """The error is far above that of PCA with as many numbers, and no longer falls."""

    name = "underfit"
    evidence = "the error beside that of PCA"

    def applies(self, run: Evidence) -> bool:
        return run.metrics.get("mse_of_pca", 0.0) > 0 and "mse" in run.metrics

    def find(self, run: Evidence) -> Finding | None:
        error, baseline = run.metrics["mse"], run.metrics["mse_of_pca"]
        limit = _ABOVE_PCA_WITH_KL if "kl" in run.metrics else _ABOVE_PCA
        # A curve that still falls is the illness of another rule, with the same remedy.
        if not error > limit * baseline or is_falling(run):
            return None
        found = (
            f"PCA with as many numbers as the code reconstructs better: mse {baseline:.3g}, here {error:.3g}, "
            f"{error / baseline:.1f} times as much"
        )
        if run.num_batches < _FEW_BATCHES:
            return finding(self.name, f"{found} after {run.num_batches:,} batches", longer(run))
        beta = run.option("objective", "beta")
        if "kl" in run.metrics and isinstance(beta, (int, float)) and beta > 0:
            return finding(self.name, found, (f"objective.beta={beta / 10:g}",), *_larger(run))
        return finding(self.name, found, *(_larger(run) or [longer(run)]))


class SaturatedOutput:
    """Reconstructions are at a bound of their range where x is not, so that their gradient vanishes."""

    name = "saturated_output"
    evidence = "outputs at a bound"

    def applies(self, run: Evidence) -> bool:
        return "at_bound" in run.diagnosis

    def find(self, run: Evidence) -> Finding | None:
        share = run.diagnosis["at_bound"]
        if share < _STUCK:
            return None
        found = f"{share:.0%} of the reconstructed elements are stuck at a bound of their range, where x is not"
        activation = run.option("loss", "activation")
        usual = {"unit": "sigmoid", "binary": "sigmoid", "signed": "tanh"}.get(run.domain, "identity")
        if run.has_option("loss", "activation") and activation not in (None, usual):
            return finding(self.name, f"{found} (loss.activation={activation})", (f"loss.activation={usual}",))
        return finding(self.name, found, with_rate(run, 0.1), ("clip=1.0",))


class WrongScale:
    """One element has nearly all the variance of x, so that the loss of all others is negligible."""

    name = "wrong_scale"
    evidence = "the scale of the elements"

    def applies(self, run: Evidence) -> bool:
        return "variance_ratio" in run.diagnosis and run.option("modality", "scale") == "none"

    def find(self, run: Evidence) -> Finding | None:
        share, ratio = run.diagnosis["largest_variance"], run.diagnosis["variance_ratio"]
        num_elements = math.prod(run.shape)
        if share < _DOMINANT or ratio < _TIMES_MEDIAN or num_elements < _MIN_ELEMENTS:
            return None
        found = (
            f"one of the {num_elements:,} elements has {share:.1%} of the variance of x, {ratio:.2g} times the median, "
            "so the loss is that of this element"
        )
        scale = "standard" if run.domain == "real" else "minmax"
        return finding(self.name, f"{found} (modality.scale=none)", (f"modality.scale={scale}",))


def _larger(run: Evidence) -> list[tuple[str, ...]]:
    """Return the override of a larger encoder; empty for one without sizes."""
    for name in ("hidden", "channels"):
        sizes = run.option("encoder", name)
        if isinstance(sizes, (list, tuple)):
            wider = [max(_SMALLEST if name == "hidden" else 16, 2 * int(size)) for size in sizes] or [256]
            return [(f"encoder.{name}=[{','.join(map(str, wider))}]",)]
    return []
