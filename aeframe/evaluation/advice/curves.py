"""Illnesses that curves show: a learning rate that is too high or too low, overfitting, the wrong best epoch."""

from __future__ import annotations

import itertools
import math

from aeframe.evaluation.advice.evidence import Curve, Evidence
from aeframe.evaluation.advice.finding import Finding, finding

_MIN_EPOCHS = 5
"""Measurements below which a curve has no shape."""
_BURST = 3.0
"""First epoch's training loss over that of the mean sample, for a model that ends at the latter: it diverged at once.
Measured: 7 and 10,000 for Adam at 0.3 and 0.5; below 1.5 at rates up to 3e-3."""
_USELESS = 0.05
"""R² below which a model reconstructs no better than the mean sample."""
_JUMP, _JUMP_OF_FALL = 0.5, 0.3
"""A jump of the training loss by this fraction of its value and of its fall. Measured: at most 0.15 of the value from
the noise of 9 batches in an epoch, and 0.02 of the fall in healthy runs."""
_STEADY = 0.12
"""Share of the fall of the validation bound in the last quarter of the run (between the means of the third and of the
last quarter). A straight line has 0.25; measured: 0.25 at rates too low by a factor of 100, and at most 0.07 in healthy
runs of 30 to 100 epochs."""
_MONOTONE = 0.8
"""Fraction of epochs of the second half in which a steadily falling curve falls; a flat, noisy one falls in half."""
_AT_LOWEST = 0.02
"""Height of the last value above the lowest, as a fraction of the fall, of a curve that still falls."""
_LOW_RATE = 3e-4
"""Below this a higher rate is tried first, above it more epochs: Adam's default is 1e-3."""
_STILL = 0.01
"""Fall of the bound, as a fraction of its first value, of a run that hardly moves."""
_ADAPTIVE, _USUAL_RATE = ("adam", "adamw", "nadam", "radam", "adamax"), 1e-3
"""Optimizers whose step is about the learning rate, whatever the gradient, and their usual rate."""
_RISE = 0.1
"""Rise of the validation reconstruction from its minimum to the end, as a fraction of the minimum and of its fall.
Measured: 0.02 at most in healthy runs."""
_STILL_LEARNS = 0.1
"""Fall of the training reconstruction since the best epoch, as a fraction of its value there."""
_EARLY, _LOST = 0.5, 0.2
"""Fraction of the run in which a best epoch is early, and the share of the fall of the validation loss that comes after
it. Measured: 0 in healthy runs, whose best epochs are among the last; 0.4 and more with a weight of the KL of 0.001."""


def reconstruction(run: Evidence, split: str) -> Curve:
    """Return the curve of the reconstruction; of objectives without such a term, that of the loss."""
    curve = run.curve(split, "reconstruction")
    return curve if len(curve) else run.curve(split, "loss")


def share_in_last_quarter(curve: Curve) -> float:
    """Return the share of a curve's fall that happens in the last quarter; 0 for a curve that does not fall."""
    fall = curve.values[0] - min(curve.values)
    return 0.0 if fall <= 0 else (curve.mean_between(0.5, 0.75) - curve.mean_between(0.75, 1.0)) / fall


def is_falling(run: Evidence) -> bool:
    """Return whether the validation bound falls steadily until the end of the run."""
    curve = run.curve("val", "bound")
    if len(curve) < _MIN_EPOCHS or not curve.is_finite:
        return False
    second_half = curve.values[len(curve) // 2 :]
    # A curve that rises and falls again is not at its lowest.
    is_lowest = curve.values[-1] - min(curve.values) <= _AT_LOWEST * (curve.values[0] - min(curve.values))
    falls = sum(after < before for before, after in itertools.pairwise(second_half))
    return is_lowest and share_in_last_quarter(curve) > _STEADY and falls >= _MONOTONE * (len(second_half) - 1)


def longer(run: Evidence) -> tuple[str, ...]:
    """Return the override that doubles the length of the run."""
    batches = run.config.get("max_batches")
    if isinstance(batches, int):
        return (f"max_batches={2 * batches}",)
    return (f"max_epochs={2 * int(run.config.get('max_epochs') or 50)}",)


def with_rate(run: Evidence, factor: float) -> tuple[str, ...]:
    """Return the override of the learning rate times `factor`, with one digit; the usual rate if it is unknown."""
    return (f"optimizer.lr={_USUAL_RATE if run.rate is None else run.rate * factor:.0e}".replace("e-0", "e-"),)


class RateTooHigh:
    """The training loss is not finite, jumps, or the model diverged in the first epoch."""

    name = "rate_too_high"
    evidence = "jumps of the training loss"

    def applies(self, run: Evidence) -> bool:
        return len(reconstruction(run, "train")) > 0

    def find(self, run: Evidence) -> Finding | None:
        lower = with_rate(run, 0.1)
        loss = run.curve("train", "loss")
        for step, value in zip(loss.steps, loss.values, strict=True):
            if not math.isfinite(value):
                return self._finding(run, f"the training loss is {value:g} at batch {step:,}", lower, ("clip=1.0",))
        curve = reconstruction(run, "train")
        if not curve.is_finite or len(curve) < _MIN_EPOCHS:
            return None
        first, last = curve.values[0], curve.values[-1]
        # Of the last epoch: the test is of the best one.
        r2 = run.curve("val", "r2")
        if len(r2) and r2.values[-1] < _USELESS and last > 0 and first > _BURST * last:
            found = (
                f"the training reconstruction was {first:.3g} in the first epoch, {first / last:,.0f} times that of "
                f"the last one, where the model is no better than the mean sample (r2 {r2.values[-1]:.2g})"
            )
            return self._finding(run, found, lower, ("clip=1.0",))
        fall = max(curve.values) - min(curve.values)
        for index in range(2, len(curve)):
            before, after = curve.values[index - 1], curve.values[index]
            if after - before > max(_JUMP * abs(before), _JUMP_OF_FALL * fall):
                found = f"the training reconstruction jumped from {before:.3g} to {after:.3g} at batch"
                return self._finding(run, f"{found} {curve.steps[index]:,}", lower, ("clip=1.0",))
        return None

    def _finding(self, run: Evidence, found: str, *remedies: tuple[str, ...]) -> Finding:
        rate = "" if run.rate is None else f" with optimizer.lr={run.rate:g}"
        return finding(self.name, found + rate, *remedies)


class RateTooLow:
    """The validation bound still falls steadily when the run ends."""

    name = "rate_too_low"
    evidence = "the slope of the validation bound at the end"

    def applies(self, run: Evidence) -> bool:
        return len(run.curve("val", "bound")) >= _MIN_EPOCHS

    def find(self, run: Evidence) -> Finding | None:
        if not is_falling(run):
            return None
        curve = run.curve("val", "bound")
        first, last = curve.values[0], curve.values[-1]
        found = (
            f"the validation bound still falls at the end of training: {share_in_last_quarter(curve):.0%} of its fall "
            f"from {first:.6g} to {last:.6g} is in the last quarter"
        )
        if run.rate is None or run.rate >= _LOW_RATE:
            return finding(self.name, found, longer(run))
        is_still = abs(first - last) < _STILL * abs(first) and run.option("optimizer", "name") in _ADAPTIVE
        factor = max(10.0, _USUAL_RATE / run.rate) if is_still else 10.0
        return finding(self.name, f"{found} with optimizer.lr={run.rate:g}", with_rate(run, factor))


class Overfit:
    """The validation reconstruction rises from its best epoch on, while that of training falls."""

    name = "overfit"
    evidence = "validation beside training"

    def applies(self, run: Evidence) -> bool:
        curves = [reconstruction(run, split) for split in ("train", "val")]
        return all(len(curve) >= _MIN_EPOCHS and curve.is_finite for curve in curves)

    def find(self, run: Evidence) -> Finding | None:
        train, held_out = reconstruction(run, "train"), reconstruction(run, "val")
        best = min(range(len(held_out)), key=held_out.values.__getitem__)
        at_best, end = held_out.values[best], held_out.mean_between(0.9, 1.0)
        rise, fall = end - at_best, held_out.values[0] - at_best
        position = best / len(held_out)
        train_at_best, train_end = train.mean_between(position, position), train.mean_between(0.9, 1.0)
        has_risen = rise > max(_RISE * abs(at_best), _RISE * fall)
        if not has_risen or train_at_best - train_end < _STILL_LEARNS * abs(train_at_best):
            return None
        found = (
            f"the validation reconstruction rose from {at_best:.3g} at batch {held_out.steps[best]:,} to {end:.3g} at "
            f"the end, while that of training fell to {train_end:.3g}"
        )
        return finding(self.name, found, *_regularisation(run))


class WrongMonitor:
    """The saved weights are those of an early epoch, because the bound leaves out the weights of the loss."""

    name = "wrong_monitor"
    evidence = "the epoch of the saved weights"

    def applies(self, run: Evidence) -> bool:
        curves = [run.curve("val", name) for name in ("bound", "loss")]
        return run.config.get("monitor") == "bound" and all(
            len(curve) >= 2 * _MIN_EPOCHS and curve.is_finite for curve in curves
        )

    def find(self, run: Evidence) -> Finding | None:
        bound, loss = run.curve("val", "bound"), run.curve("val", "loss")
        best = min(range(len(bound)), key=bound.values.__getitem__)
        lowest = min(range(len(loss)), key=loss.values.__getitem__)
        fall, lost = loss.values[0] - loss.values[lowest], loss.values[best] - loss.values[lowest]
        if best >= _EARLY * len(bound) or lowest < len(loss) / 2 or lost < _LOST * fall:
            return None
        found = (
            f"the saved weights are those of epoch {best + 1} of {len(bound)}, where the unweighted bound was lowest, "
            f"while the loss fell from {loss.values[best]:.3g} to {loss.values[lowest]:.3g}"
        )
        return finding(self.name, found, ("monitor=loss",))


def _regularisation(run: Evidence) -> list[tuple[str, ...]]:
    """Return overrides against overfitting."""
    remedies: list[tuple[str, ...]] = []
    if run.option("encoder", "dropout") == 0:
        remedies.append(("encoder.dropout=0.1",))
    if run.has_option("optimizer", "weight_decay"):
        remedies.append((f"optimizer.weight_decay={max(1e-4, 10 * float(run.option('optimizer', 'weight_decay'))):g}",))
    return [*remedies, ("patience=10",)][:2]
