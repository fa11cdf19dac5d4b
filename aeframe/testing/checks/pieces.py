"""Checks of schedules, optimisers, samplers and metrics."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from aeframe.evaluation.evaluator import evaluation_mode
from aeframe.factory import build
from aeframe.model.autoencoder import Autoencoder
from aeframe.noise import noise_of
from aeframe.testing.check import CheckFailedError, NotApplicableError, check, expect
from aeframe.testing.part_under_test import PartUnderTest
from aeframe.testing.reference import CPU, SAMPLES, Reference
from aeframe.types import TrainingProgress

_PLANNED = 20


@check("schedule", "a number at each moment, and the same when asked again", kinds=["schedule"], after=("complete",))
def schedule(tested: PartUnderTest) -> None:
    made = build("schedule", tested.config)
    moments = [TrainingProgress(batch=batch, planned=_PLANNED) for batch in range(_PLANNED + 5)]
    first = [made(progress) for progress in moments]
    expect(
        all(isinstance(value, float) and math.isfinite(value) for value in first),
        f"{tested.id} gives something else than a finite float: {first}",
    )
    again = [made(progress) for progress in reversed(moments)][::-1]
    expect(first == again, f"{tested.id} depends on when it was asked before; it is a function of the clock only")


@check("optimizer", "a step moves the weights, and its state can be kept", kinds=["optimizer"], after=("imports",))
def optimizer(tested: PartUnderTest) -> None:
    def stepped(state: dict[str, object] | None, weight: Tensor) -> tuple[dict[str, object], Tensor]:
        parameter = torch.nn.Parameter(weight.clone())
        made = build("optimizer", {**tested.config, "lr": 1e-2}, params=[parameter])
        if state is not None:
            made.load_state_dict(state)
        for _ in range(2):
            made.zero_grad()
            (parameter - 3).square().sum().backward()
            made.step()
        return made.state_dict(), parameter.detach()

    start = torch.ones(4, 3)
    state, once = stepped(None, start)
    expect(bool(once.isfinite().all()) and not torch.equal(once, start), f"{tested.id} moves nothing, or to no number")
    expect(float((once - 3).square().sum()) < float((start - 3).square().sum()), f"{tested.id} climbs")
    path = tested.folder / "state.pt"
    torch.save(state, path)
    kept = torch.load(path, weights_only=True)
    expect(torch.equal(stepped(state, once)[1], stepped(kept, once)[1]), f"{tested.id} loses some of its state")


@check("sampler", "what a density has learned is saved with the model", kinds=["sampler"], after=("plain defaults",))
def sampler(tested: PartUnderTest) -> None:
    model = _model_for(tested).eval()
    made = build("sampler", tested.config, model=model)
    with noise_of(CPU, 8), torch.no_grad():
        z = torch.randn(40, *model.latent.shape)
        codes = torch.randint(max(1, model.latent.num_codes), (40, *model.latent.shape[1:], model.latent.num_levels))
        if made.requires_fit:
            made.fit(z, codes if model.latent.num_codes else None)
    again = build("sampler", tested.config, model=model)
    again.load_state_dict(made.state_dict())
    draws = []
    for each in (made, again):
        with noise_of(CPU, 9), torch.no_grad():
            draws.append(each.sample(model, SAMPLES))
    expect(
        tuple(draws[0].shape) == (SAMPLES, *model.latent.shape) and bool(draws[0].isfinite().all()),
        f"{tested.id} draws {tuple(draws[0].shape)}, expected finite numbers {(SAMPLES, *model.latent.shape)}",
    )
    expect(
        torch.equal(*draws),
        f"{tested.id} draws something else once its state is saved and loaded; keep all that is learned in buffers",
    )


@check("metric", "a measurement adds up over batches and devices", kinds=["metric"], after=("plain defaults",))
def metric(tested: PartUnderTest) -> None:
    tried: Exception | None = None
    applies = False
    for reference in _metric_references(tested):
        model = reference.model().eval()
        if not tested.target.applies(model):
            continue
        applies = True
        try:
            whole = _measured(tested, model, reference, [2 * SAMPLES])
            parts = _measured(tested, model, reference, [3, 2 * SAMPLES - 3])
        except Exception as error:  # noqa: BLE001 -- the plugin boundary: other data may suit it better
            tried = tried or error
            continue
        for name, value in whole.items():
            expect(value.numel() == 1 and bool(value.isfinite()), f"{tested.id}: '{name}' is {value}")
            expect(
                torch.allclose(value, parts[name], rtol=1e-4),
                f"{tested.id}: '{name}' is {float(value):.6g} in one batch and {float(parts[name]):.6g} in two",
            )
        return
    if not applies:
        raise NotApplicableError("it applies to none of the small models")
    raise CheckFailedError(f"{tested.id} works on none of the small models: {tried}") from tried


def _measured(tested: PartUnderTest, model: Autoencoder, reference: Reference, sizes: list[int]) -> dict[str, Tensor]:
    made = build("metric", tested.config, model=model)
    batch = reference.batch(sum(sizes))
    with torch.no_grad(), evaluation_mode(model):
        for index in torch.arange(sum(sizes)).split(sizes):
            made.update(model, model(batch.rows(index), sample=False))
        found = made.compute()
    return found if isinstance(found, dict) else {tested.entry.name: found}


def _metric_references(tested: PartUnderTest) -> list[Reference]:
    """Return models of every sort of latent, for a metric may be of one sort."""
    latents = (
        {"name": "gaussian", "dim": 3},
        {"name": "vq", "dim": 2, "codebook_size": 8, "tokens": 4},
        {"name": "topk", "dim": 12, "k": 3},
    )
    return [
        Reference(
            {**reference.config, "latent": latent, "objective": objective},
            reference.spec,
            reference.rows,
            reference.modality,
        )
        for reference in tested.references
        for latent, objective in zip(latents, ("elbo", "deterministic", "deterministic"), strict=True)
    ]


def _model_for(tested: PartUnderTest) -> Autoencoder:
    return tested.references[0].model()


CHECKS = (schedule, optimizer, sampler, metric)
