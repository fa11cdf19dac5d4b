"""Checks of a part inside a small model."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from aeframe.evaluation.evaluator import evaluation_mode
from aeframe.kinds import KINDS
from aeframe.model.autoencoder import Autoencoder
from aeframe.noise import noise_of
from aeframe.tensors import broadcast_mask
from aeframe.testing.check import MODEL_KINDS, NotApplicableError, check, expect
from aeframe.testing.frozen import freeze_others
from aeframe.testing.noise import RowNoise
from aeframe.testing.part_under_test import PartUnderTest
from aeframe.testing.reference import CPU, PROGRESS, SAMPLES, Reference
from aeframe.testing.terms import all_terms, passed, undrawn
from aeframe.training.optimizer_groups import check_ownership, make_optimizer_groups
from aeframe.types import Batch

_SAMPLES = 3


@check(
    "builds",
    "a name alone, or with any recipe, makes a model",
    kinds=MODEL_KINDS,
    after=("complete", "plain defaults", "known defaults"),
)
def builds(tested: PartUnderTest) -> None:
    assert tested.reference is not None


@check("shapes", "a part's neighbours rely on the shapes it states", kinds=MODEL_KINDS, after=("builds",))
def shapes(tested: PartUnderTest) -> None:
    model, batch = tested.reference.model(), tested.reference.batch()
    before = batch.x.clone()

    def same(what: str, found: Tensor, expected: tuple[int, ...]) -> None:
        expect(tuple(found.shape) == expected, f"{tested.id}: {what} is {tuple(found.shape)}, expected {expected}")

    with noise_of(CPU, 4):
        out = passed(model, batch)
        k = () if model.objective.num_samples is None else (model.objective.num_samples,)
        same("what the encoder sees", out.encoder_input.x, tuple(batch.x.shape))
        same("the features", model.encoder(batch), (SAMPLES, *model.encoder.out_shape))
        same("z", out.latent.z, (*k, SAMPLES, *model.latent.shape))
        same("the mean of z", out.latent.mean, (SAMPLES, *model.latent.shape))
        same("the output", out.output, (*k, SAMPLES, model.loss.num_outputs, *tested.reference.spec.shape))
        same("the reconstruction", model.loss.mean(out.output), (*k, SAMPLES, *tested.reference.spec.shape))
        several = model(batch, num_samples=_SAMPLES)
        same(f"z of {_SAMPLES} importance samples", several.latent.z, (_SAMPLES, SAMPLES, *model.latent.shape))
        drawn = model.prior.sample(SAMPLES)
        same("a draw from the prior", drawn, (SAMPLES, *model.latent.shape))
    expect(torch.equal(batch.x, before), f"{tested.id} changes the batch it is given; return a new one")


@check("per-sample terms", "one number for each sample, so that means are exact", kinds=MODEL_KINDS, after=("shapes",))
def per_sample_terms(tested: PartUnderTest) -> None:
    with noise_of(CPU, 4):
        model = tested.reference.model()
        out = passed(model, tested.reference.batch())
        found = all_terms(model, out, PROGRESS)
        several = model(tested.reference.batch(), num_samples=_SAMPLES).reconstruction
    for name, value in found.items():
        expect(
            tuple(value.shape) == (SAMPLES,),
            f"{tested.id}: the term '{name}' has shape {tuple(value.shape)} for a batch of {SAMPLES}, expected "
            f"({SAMPLES},): one number for each sample",
        )
    expect(
        tuple(several.shape) == (_SAMPLES, SAMPLES),
        f"{tested.id}: the reconstruction term of {_SAMPLES} importance samples of {SAMPLES} has shape "
        f"{tuple(several.shape)}, expected ({_SAMPLES}, {SAMPLES})",
    )


@check("gradients", "a parameter that no term reaches is never trained", kinds=MODEL_KINDS, after=("per-sample terms",))
def gradients(tested: PartUnderTest) -> None:
    model = tested.reference.model()
    groups = make_optimizer_groups(model, {"name": "sgd", "lr": 0.1})
    check_ownership(model, groups)
    with noise_of(CPU, 4):
        out = passed(model, tested.reference.batch())
        for group in groups:
            with freeze_others(group, groups):
                total = group.terms(model, out, PROGRESS).total()
                expect(bool(total.isfinite().all()), f"{tested.id}: the loss of '{group.name}' is not finite")
                total.mean().backward()
    own = _module(model, tested.kind)
    for name, parameter in own.named_parameters():
        if not parameter.requires_grad:
            continue
        expect(parameter.grad is not None, f"{tested.id}: no gradient reaches parameter '{name}'")
        assert parameter.grad is not None
        expect(bool(parameter.grad.isfinite().all()), f"{tested.id}: the gradient of '{name}' is not finite")
    moving = [parameter for parameter in own.parameters() if parameter.grad is not None]
    expect(
        not moving or any(bool(parameter.grad.any()) for parameter in moving if parameter.grad is not None),
        f"{tested.id}: the gradient is zero in all of its parameters",
    )


@check(
    "batch invariance",
    "a sample's terms are its own, whatever it is batched with",
    kinds=MODEL_KINDS,
    after=("per-sample terms",),
)
def batch_invariance(tested: PartUnderTest) -> None:
    reference, rows = tested.reference, torch.arange(SAMPLES)
    model = reference.model()
    with noise_of(CPU, 4), torch.no_grad():
        # A first step, for whatever is placed by the first batch it sees.
        passed(model, reference.batch())
    doubled = copy.deepcopy(model)
    once = _terms(model, reference.batch(), rows)
    twice = _terms(doubled, reference.batch().rows(rows.repeat(2)), rows.repeat(2))
    between = model.batch_terms

    def own(terms: dict[str, Tensor]) -> dict[str, Tensor]:
        return {name: value for name, value in terms.items() if name not in between}

    _same(tested, own(once), twice, "in training, when the batch holds every sample twice")
    more = torch.arange(2 * SAMPLES)
    with evaluation_mode(model):
        alone_there = _terms(model, reference.batch(), rows)
        with_others = _terms(model, reference.batch(2 * SAMPLES), more)
    _same(tested, own(alone_there), with_others, "in evaluation, when other samples are in its batch")


def _terms(model: Autoencoder, batch: Batch, rows: Tensor) -> dict[str, Tensor]:
    with RowNoise(rows, num_samples=model.objective.num_samples):
        return {
            name: value.detach()
            for name, value in all_terms(model, passed(model, batch, sample=True), PROGRESS).items()
        }


def _same(tested: PartUnderTest, one: dict[str, Tensor], other: dict[str, Tensor], when: str) -> None:
    for name, value in one.items():
        found = other[name][: len(value)]
        expect(
            torch.allclose(found, value, rtol=1e-4, atol=1e-5, equal_nan=True),
            f"{tested.id}: the term '{name}' changes {when}, by up to {float((found - value).abs().max()):.3g}",
        )


@check(
    "padding invariance",
    "what the mask hides changes nothing",
    kinds=MODEL_KINDS - {"latent", "prior", "modality"},
    after=("per-sample terms",),
)
def padding_invariance(tested: PartUnderTest) -> None:
    reference = tested.reference
    if reference.spec.domain.kind == "simplex":
        raise NotApplicableError("parts of a simplex do not sum to one, so that they are never masked")
    model, batch = reference.model(), reference.batch()
    batch.mask = torch.rand(batch.x.shape, generator=torch.Generator().manual_seed(3)) < 0.6
    hidden = broadcast_mask(~batch.mask, batch.x.ndim)
    fillings = {"another value": batch.x.flip(0)}
    if batch.x.is_floating_point():
        fillings["NaN"] = torch.full_like(batch.x, torch.nan)
    for what, filling in fillings.items():
        # A corruption has its say in training only; elsewhere dropout would draw for nothing.
        model.train(tested.kind == "corruption")
        one = _terms(model, batch, torch.arange(SAMPLES))
        other = _terms(model, batch.with_x(torch.where(hidden, filling, batch.x)), torch.arange(SAMPLES))
        _same(tested, one, other, f"when x has {what} where the mask hides it")
        model.eval()
        code = model.embed(batch).mean
        again = model.embed(batch.with_x(torch.where(hidden, filling, batch.x))).mean
        expect(torch.allclose(code, again), f"{tested.id}: the code changes when x has {what} where the mask hides it")


@check("condition", "a condition is accepted by every part, and heard", kinds=MODEL_KINDS, after=("per-sample terms",))
def condition(tested: PartUnderTest) -> None:
    reference: Reference = tested.reference.conditioned()
    model, batch = reference.model(), reference.batch()
    assert batch.condition is not None
    with noise_of(CPU, 4):
        found = all_terms(model, passed(model, batch), PROGRESS)
    for name, value in found.items():
        expect(
            tuple(value.shape) == (SAMPLES,),
            f"{tested.id}: with a condition the term '{name}' has shape {tuple(value.shape)}, expected ({SAMPLES},)",
        )
    if tested.kind == "decoder":
        with evaluation_mode(model), torch.no_grad():
            z = model.embed(batch).mean
            one = model.decode(z, condition=batch.condition)
            other = model.decode(z, condition=batch.condition.roll(1, 1))
        expect(not torch.equal(one, other), f"{tested.id} gives the same whatever the condition is")


@check(
    "repeatable evaluation",
    "an embedding or a reconstruction is the same at each call",
    kinds=MODEL_KINDS,
    after=("shapes",),
)
def repeatable_evaluation(tested: PartUnderTest) -> None:
    model, batch = tested.reference.model().eval(), tested.reference.batch()
    with torch.no_grad():
        first, second = (undrawn(model, batch) for _ in range(2))
        pairs = {
            "embedding": (first.latent.mean, second.latent.mean),
            "output": (first.output, second.output),
            "reconstruction term": (first.reconstruction, second.reconstruction),
            "reconstruction": (model.loss.mean(first.output), model.loss.mean(second.output)),
        }
    for what, (one, other) in pairs.items():
        expect(
            torch.equal(one, other),
            f"{tested.id}: in evaluation the {what} differs from one call to the next; draw in training only",
        )


def _module(model: Autoencoder, kind: str) -> nn.Module:
    """Return what `kind` stands for in a model."""
    if kind == "modality":
        return model
    found = getattr(model, KINDS[kind].key)
    assert isinstance(found, nn.Module)
    return found


CHECKS = (
    builds,
    shapes,
    per_sample_terms,
    gradients,
    batch_invariance,
    padding_invariance,
    condition,
    repeatable_evaluation,
)
