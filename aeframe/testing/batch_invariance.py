"""Check that the outputs for a sample, and metrics, do not depend on how samples are batched or padded."""

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
from aeframe.testing.expectations import expect
from aeframe.testing.model_outputs import all_terms, deterministic_forward_pass
from aeframe.testing.reference import CPU, PROGRESS
from aeframe.types import Batch, DataSpec


def small_model(modality: Modality, spec: DataSpec, **parts: Any) -> Autoencoder:
    """Return a model of the modality's default parts whose latent is a point, a vector z of 4 numbers without noise.

    The initial weights are the same at each call.

    Args:
        modality: The modality.
        spec: Shape and domain of the data.
        parts: Parts to use in place of the defaults, by kind: a name or a config.
    """
    config = {**modality.defaults, "latent": {"name": "point", "dim": 4}, "objective": "deterministic", **parts}
    with noise_of(CPU, 1):
        return assemble(config, spec)


def outputs_per_sample(model: Autoencoder, batch: Batch) -> dict[str, Tensor]:
    """Return the mean code, the reconstruction ``x_hat`` and each loss term of a batch in evaluation mode.

    A term is a summand of the loss, ``(B,)``; the others are ``(B, ...)``.
    """
    with evaluation_mode(model), torch.no_grad():
        out = deterministic_forward_pass(model, batch)
        # What a mask of x hides is not compared; the elements of an unordered reconstruction are all compared.
        _, x_hat = model.loss.masked_x_and_reconstruction(out.output, out.batch)
        return {"code": out.latent.mean, "x_hat": x_hat, **all_terms(model, out, PROGRESS)}


def expect_batch_invariance(model: Autoencoder, batch: Batch, *, rtol: float = 1e-4, atol: float = 1e-5) -> None:
    """Check that `outputs_per_sample` are the same in other batches.

    The batch is compared with each sample alone, with the reversed order, and with other values at masked elements.

    Args:
        model: A model that draws nothing in evaluation, and has no term that compares samples of a batch.
        batch: Samples that differ in length, or in their masks, as real samples of the modality do.
        rtol: The relative tolerance of `torch.allclose`. Sums in float32 depend slightly on the batch size.
        atol: The absolute tolerance of `torch.allclose`.

    Raises:
        CheckFailedError: An output differs.
    """
    expected = outputs_per_sample(model, batch)

    def compare(outputs: Mapping[str, Tensor], rows: Tensor, when: str) -> None:
        for name, value in expected.items():
            difference = outputs[name] - value[rows]
            expect(
                torch.allclose(outputs[name], value[rows], rtol=rtol, atol=atol),
                f"'{name}' changes {when}, by up to {float(difference.abs().max()):.3g}",
            )

    rows = torch.arange(len(batch))
    for row in rows.split(1):
        compare(outputs_per_sample(model, batch.rows(row)), row, f"when sample {int(row)} is alone")
    compare(outputs_per_sample(model, batch.rows(rows.flip(0))), rows.flip(0), "with the order of the batch")
    if batch.mask is not None:
        masked = ~broadcast_mask(batch.mask, batch.x.ndim)
        for description, filling in _fillings(batch.x).items():
            filled = batch.with_x(torch.where(masked, filling, batch.x))
            compare(outputs_per_sample(model, filled), rows, f"with {description} where x is masked")


def _fillings(x: Tensor) -> dict[str, Tensor]:
    """Return values for masked elements of x, by description."""
    fillings = {"values of other samples": x.roll(1, 0).flip(-1)}
    return fillings | ({"NaN": torch.full_like(x, torch.nan)} if x.is_floating_point() else {})


def expect_invariant_metrics(
    model: Autoencoder,
    modality: Modality,
    source: Source,
    *,
    also: Sequence[str] = (),
    sizes: Sequence[int] = (1, 4),
    rtol: float = 1e-4,
) -> dict[str, float]:
    """Check that metrics of a source are the same for all batch sizes in `sizes`, and in the reversed order.

    Args:
        model: A model that draws nothing in evaluation.
        modality: The modality, which names its metrics; the metrics that the latent names are added.
        source: The samples.
        also: Names of further metrics.
        sizes: Batch sizes to compare with one batch of all samples.
        rtol: The largest relative difference.

    Returns:
        The metrics by name.

    Raises:
        CheckFailedError: A metric differs.
    """

    def metrics_for(rows: Tensor, batch_size: int) -> dict[str, float]:
        evaluator = Evaluator(model, metrics_of([*modality.metrics, *also]), seed=1, modality=modality)
        return measure(evaluator, map(source.batch, rows.split(batch_size)), PROGRESS, CPU)

    rows = torch.arange(len(source))
    expected = metrics_for(rows, len(rows))
    metrics_by_batching = {f"in batches of {size}": metrics_for(rows, size) for size in sizes}
    metrics_by_batching["in the reversed order"] = metrics_for(rows.flip(0), max(sizes))
    for when, metrics in metrics_by_batching.items():
        for name, value in expected.items():
            near = abs(metrics[name] - value) <= max(rtol * abs(value), 1e-6)
            expect(near, f"'{name}' is {value:.6g} in one batch, and {metrics[name]:.6g} {when}")
    return expected
