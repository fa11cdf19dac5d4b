"""Checks of the parts around a model: schedules, optimizers, samplers and metrics."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace

import torch
from torch import Tensor

from aeframe.evaluation.evaluator import evaluation_mode
from aeframe.factory import build
from aeframe.model.autoencoder import Autoencoder
from aeframe.noise import noise_of
from aeframe.testing.check import check
from aeframe.testing.expectations import CheckFailedError, NotApplicableError, expect
from aeframe.testing.part_under_test import PartUnderTest
from aeframe.testing.reference import BATCH_SIZE, CPU, ReferenceSetup
from aeframe.types import TrainingProgress

_PLANNED_BATCHES = 20


@check(
    "schedule",
    "a schedule is a function of the training progress, so that a resumed run continues it",
    kinds=["schedule"],
    depends_on=("complete",),
)
def schedule(part: PartUnderTest) -> None:
    built = build("schedule", part.config)
    steps = [TrainingProgress(batch=batch, planned=_PLANNED_BATCHES) for batch in range(_PLANNED_BATCHES + 5)]
    values = [built(progress) for progress in steps]
    expect(
        all(isinstance(value, float) and math.isfinite(value) for value in values),
        f"{part.id} must return finite floats, found {values}",
    )
    values_in_reverse = [built(progress) for progress in reversed(steps)]
    expect(
        values == values_in_reverse[::-1],
        f"{part.id} depends on earlier calls; compute the value from the training progress only",
    )


@check(
    "optimizer",
    "an optimizer reduces the loss, and a resumed run restores its state",
    kinds=["optimizer"],
    depends_on=("imports",),
)
def optimizer(part: PartUnderTest) -> None:
    def two_steps(state: dict[str, object] | None, weight: Tensor) -> tuple[dict[str, object], Tensor]:
        """Return the optimizer's state and the weight after two steps, from `state` unless it is None."""
        parameter = torch.nn.Parameter(weight.clone())
        built = build("optimizer", {**part.config, "lr": 1e-2}, params=[parameter])
        if state is not None:
            built.load_state_dict(state)
        for _ in range(2):
            built.zero_grad()
            (parameter - 3).square().sum().backward()
            built.step()
        return built.state_dict(), parameter.detach()

    initial = torch.ones(4, 3)
    state, weight = two_steps(None, initial)
    expect(
        bool(weight.isfinite().all()) and not torch.equal(weight, initial),
        f"{part.id} does not change the weights, or makes them not finite",
    )
    expect(float((weight - 3).square().sum()) < float((initial - 3).square().sum()), f"{part.id} increases the loss")
    path = part.folder / "state.pt"
    torch.save(state, path)
    loaded = torch.load(path, weights_only=True)
    expect(
        torch.equal(two_steps(state, weight)[1], two_steps(loaded, weight)[1]),
        f"{part.id} continues differently after its state is saved and loaded",
    )


@check(
    "sampler",
    "a saved model includes the fitted density of its sampler",
    kinds=["sampler"],
    depends_on=("plain defaults",),
)
def sampler(part: PartUnderTest) -> None:
    model = part.setups[0].model().eval()
    built = build("sampler", part.config, model=model)
    with noise_of(CPU, 8), torch.no_grad():
        z = torch.randn(40, *model.latent.shape)
        codes = torch.randint(max(1, model.latent.num_codes), (40, *model.latent.shape[1:], model.latent.num_levels))
        if built.requires_fit:
            built.fit(z, codes if model.latent.num_codes else None)
    restored = build("sampler", part.config, model=model)
    restored.load_state_dict(built.state_dict())
    samples = []
    for fitted in (built, restored):
        with noise_of(CPU, 9), torch.no_grad():
            samples.append(fitted.sample(model, BATCH_SIZE))
    shape = (BATCH_SIZE, *model.latent.shape)
    expect(
        tuple(samples[0].shape) == shape and bool(samples[0].isfinite().all()),
        f"{part.id} must return finite samples of shape {shape}, found shape {tuple(samples[0].shape)}",
    )
    expect(
        torch.equal(*samples),
        f"{part.id} draws other samples after its state is saved and loaded; register what `fit` computes as buffers",
    )


@check(
    "metric",
    "a metric must not depend on how the data are divided into batches",
    kinds=["metric"],
    depends_on=("plain defaults",),
)
def metric(part: PartUnderTest) -> None:
    first_error: Exception | None = None
    applies = False
    for setup in _metric_setups(part):
        model = setup.model().eval()
        if not part.target.applies(model):
            continue
        applies = True
        try:
            in_one_batch = _compute_metric(part, model, setup, [2 * BATCH_SIZE])
            # Unequal batches, so that a mean over batches would differ.
            in_two_batches = _compute_metric(part, model, setup, [3, 2 * BATCH_SIZE - 3])
        except Exception as error:  # noqa: BLE001 -- the plugin boundary: the metric may require other data
            first_error = first_error or error
            continue
        for name, value in in_one_batch.items():
            value_in_two = in_two_batches[name]
            expect(value.numel() == 1 and bool(value.isfinite()), f"{part.id}: '{name}' is {value}")
            expect(
                torch.allclose(value, value_in_two, rtol=1e-4),
                f"{part.id}: '{name}' is {float(value):.6g} in one batch and {float(value_in_two):.6g} in two",
            )
        return
    if not applies:
        raise NotApplicableError("it applies to none of the small models")
    raise CheckFailedError(f"{part.id} fails on all small models; the first error is {first_error}") from first_error


def _compute_metric(
    part: PartUnderTest, model: Autoencoder, setup: ReferenceSetup, batch_sizes: list[int]
) -> dict[str, Tensor]:
    """Return the values of a metric by name, for the first samples in batches of these sizes."""
    built = build("metric", part.config, model=model)
    batch = setup.batch(sum(batch_sizes))
    with torch.no_grad(), evaluation_mode(model):
        for rows in torch.arange(sum(batch_sizes)).split(batch_sizes):
            built.update(model, model(batch.rows(rows), sample=False))
        values = built.compute()
    return values if isinstance(values, dict) else {part.entry.name: values}


def _metric_setups(part: PartUnderTest) -> Iterator[ReferenceSetup]:
    """Yield each setup with a Gaussian, a quantised and a sparse latent: a metric may apply to only one of these."""
    latents = (
        ({"name": "gaussian", "dim": 3}, "elbo"),
        ({"name": "vq", "dim": 2, "codebook_size": 8, "tokens": 4}, "deterministic"),
        ({"name": "topk", "dim": 12, "k": 3}, "deterministic"),
    )
    for setup in part.setups:
        for latent, objective in latents:
            yield replace(setup, config={**setup.config, "latent": latent, "objective": objective})


CHECKS = (schedule, optimizer, sampler, metric)
