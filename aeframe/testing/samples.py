"""A sample's numbers are its own: alone and with others, in any order, whatever stands where nothing counts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from aeframe.data.modality import Modality, Source
from aeframe.evaluation.evaluator import Evaluator, evaluation_mode, measure, metrics_of
from aeframe.model.assembly import assemble
from aeframe.model.autoencoder import Autoencoder
from aeframe.noise import noise_of
from aeframe.tensors import broadcast_mask
from aeframe.testing.check import expect
from aeframe.testing.reference import CPU, PROGRESS
from aeframe.testing.terms import all_terms, undrawn
from aeframe.types import Batch, DataSpec


def small_model(modality: Modality, spec: DataSpec, **parts: Any) -> Autoencoder:
    """Return a model of a modality's defaults, with other `parts` over them and the same first weights each time."""
    config = {**modality.defaults, "latent": {"name": "point", "dim": 4}, "objective": "deterministic", **parts}
    with noise_of(CPU, 1):
        return assemble(config, spec)


def numbers(model: Autoencoder, batch: Batch) -> dict[str, Tensor]:
    """Return what evaluation makes of each sample, ``(B, ...)`` by name: its code, its reconstruction, its terms."""
    with evaluation_mode(model), torch.no_grad():
        p = undrawn(model, batch)
        made = p.batch.with_x(model.loss.mean(p.output)).masked_x()
        return {"code": p.latent.mean, "x_hat": made, **all_terms(model, p, PROGRESS)}


def expect_own_numbers(model: Autoencoder, batch: Batch, *, rtol: float = 1e-4, atol: float = 1e-5) -> None:
    """Compare a batch with each of its samples alone, with another order, and with other values where x is masked.

    Args:
        model: Without anything that draws in evaluation, or compares the samples of a batch.
        batch: Samples that differ in length, or in what the mask counts, as those of the modality do.
        rtol: As in `torch.allclose`; sums of single precision depend a little on how many rows there are.
        atol: Likewise.

    Raises:
        CheckFailedError: A number that changes.
    """
    together = numbers(model, batch)

    def same(found: Mapping[str, Tensor], rows: Tensor, when: str) -> None:
        for name, value in together.items():
            own = value[rows]
            expect(
                torch.allclose(found[name], own, rtol=rtol, atol=atol),
                f"'{name}' changes {when}, by up to {float((found[name] - own).abs().max()):.3g}",
            )

    everyone = torch.arange(len(batch))
    for row in everyone.split(1):
        same(numbers(model, batch.rows(row)), row, f"when sample {int(row)} is alone")
    same(numbers(model, batch.rows(everyone.flip(0))), everyone.flip(0), "with the order of the batch")
    if batch.mask is not None:
        hidden = ~broadcast_mask(batch.mask, batch.x.ndim)
        for what, filling in _rubbish(batch.x).items():
            filled = batch.with_x(torch.where(hidden, filling, batch.x))
            same(numbers(model, filled), everyone, f"with {what} where x is masked")


def _rubbish(x: Tensor) -> dict[str, Tensor]:
    found = {"values of other samples": x.roll(1, 0).flip(-1)}
    return found | ({"NaN": torch.full_like(x, torch.nan)} if x.is_floating_point() else {})


def expect_same_metrics(
    model: Autoencoder,
    modality: Modality,
    source: Source,
    *,
    also: Sequence[str] = (),
    sizes: Sequence[int] = (1, 4),
    rtol: float = 1e-4,
) -> dict[str, float]:
    """Measure a source in one batch, and again in batches of other sizes and in the opposite order.

    Args:
        model: Without anything that draws in evaluation.
        modality: Whose metrics these are, and those of the latent.
        source: A split.
        also: Further metrics, by name.
        sizes: Of the batches.
        rtol: How far a number may be off, relative to itself.

    Returns:
        The numbers, by name.

    Raises:
        CheckFailedError: One that differs.
    """

    def measured(rows: Tensor, size: int) -> dict[str, float]:
        evaluator = Evaluator(model, metrics_of([*modality.metrics, *also]), seed=1)
        return measure(evaluator, map(source.batch, rows.split(size)), PROGRESS, CPU)

    rows = torch.arange(len(source))
    whole = measured(rows, len(rows))
    others = {f"in batches of {size}": measured(rows, size) for size in sizes}
    others["in the opposite order"] = measured(rows.flip(0), max(sizes))
    for when, found in others.items():
        for name, value in whole.items():
            near = abs(found[name] - value) <= max(rtol * abs(value), 1e-6)
            expect(near, f"'{name}' is {value:.6g} in one batch, and {found[name]:.6g} {when}")
    return whole
