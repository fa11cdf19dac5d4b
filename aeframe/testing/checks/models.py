"""Checks of a part inside a small model.

Terms are the named summands of the loss (and the bound), with one number for each sample: ``(B,)``.
"""

from __future__ import annotations

import copy
from dataclasses import replace

import torch
from torch import Tensor, nn

from aeframe.evaluation.evaluator import evaluation_mode
from aeframe.kinds import KINDS
from aeframe.model.autoencoder import Autoencoder
from aeframe.noise import noise_of
from aeframe.tensors import broadcast_mask
from aeframe.testing.check import MODEL_KINDS, check
from aeframe.testing.expectations import NotApplicableError, expect
from aeframe.testing.freezing import freeze_others
from aeframe.testing.model_outputs import all_terms, deterministic_forward_pass, forward_pass
from aeframe.testing.noise import RowNoise
from aeframe.testing.part_under_test import PartUnderTest
from aeframe.testing.reference import BATCH_SIZE, CPU, PROGRESS
from aeframe.training.optimizer_groups import check_ownership, make_optimizer_groups
from aeframe.types import Batch, DataSpec, Domain

_ORDER = [3, 0, 5, 1, 6, 2, 4]
"""An order of the samples of a batch in which none has the neighbours that it had, also not from end to start."""


@check(
    "builds",
    "a part must work with the other parts' defaults",
    kinds=MODEL_KINDS,
    depends_on=("complete", "plain defaults", "registered defaults"),
)
def builds(part: PartUnderTest) -> None:
    """Build a small model with the part and compute its loss terms, on data of each shape and domain until one fits.

    A part refuses a shape or a domain with an `AeframeError`. Parts that fit none of the synthetic data are tested on
    the data of the plugin's modalities.
    """
    # Raises if there is no working setup.
    assert part.setup is not None


@check("shapes", "other parts rely on the shapes that a part declares", kinds=MODEL_KINDS, depends_on=("builds",))
def shapes(part: PartUnderTest) -> None:
    """Compare the shapes of input, features, z, output and reconstruction with those that the parts declare.

    With a loss of `any_length`, the output may have another number of elements than x. No part may change the batch
    that it is given: return a new one, as `Batch.with_x` and `dataclasses.replace` do.
    """
    model, batch = part.setup.model(), part.setup.batch()
    x = batch.x.clone()

    def expect_shape(name: str, tensor: Tensor, expected: tuple[int, ...]) -> None:
        expect(
            tuple(tensor.shape) == expected, f"{part.id}: {name} has shape {tuple(tensor.shape)}, expected {expected}"
        )

    with noise_of(CPU, 4):
        out = forward_pass(model, batch)
        # Where the objective draws K importance samples, z and the output have K * B rows.
        num_rows = BATCH_SIZE * (model.objective.num_samples or 1)
        sample_shape = part.setup.spec.shape
        expect_shape("the encoder input", out.encoder_input.x, tuple(batch.x.shape))
        expect_shape("the encoder output", model.encoder(batch), (BATCH_SIZE, *model.encoder.out_shape))
        expect_shape("z", out.latent.z, (num_rows, *model.latent.shape))
        expect_shape("the mean of z", out.latent.mean, (num_rows, *model.latent.shape))
        if model.loss.any_length:
            sample_shape = (out.output.shape[2] if out.output.ndim > 2 else -1, *sample_shape[1:])
        expect_shape("the decoder output", out.output, (num_rows, *model.loss.output_shape(sample_shape)))
        expect_shape("the reconstruction", model.loss.mean(out.output), (num_rows, *sample_shape))
        prior_sample = model.prior.sample(BATCH_SIZE)
        expect_shape("a sample from the prior", prior_sample, (BATCH_SIZE, *model.latent.shape))
    expect(same_values(batch.x, x), f"{part.id} changes its input batch in place; return a new batch")


@check(
    "per-sample terms",
    "means over batches of different sizes are exact only with one number per sample",
    kinds=MODEL_KINDS,
    depends_on=("shapes",),
)
def per_sample_terms(part: PartUnderTest) -> None:
    """Expect shape (B,) of each term of the loss, also with importance samples: no mean over the batch."""
    with noise_of(CPU, 4):
        model = part.setup.model()
        out = forward_pass(model, part.setup.batch())
        terms = all_terms(model, out, PROGRESS)
    for name, value in terms.items():
        expect(
            tuple(value.shape) == (BATCH_SIZE,),
            f"{part.id}: the term '{name}' has shape {tuple(value.shape)} for a batch of {BATCH_SIZE}, expected "
            f"({BATCH_SIZE},): one number per sample",
        )


@check(
    "gradients",
    "a parameter without a gradient is never trained",
    kinds=MODEL_KINDS,
    depends_on=("per-sample terms",),
)
def gradients(part: PartUnderTest) -> None:
    """Expect a finite gradient for each parameter of the part, and one that is not zero for some of them."""
    model = part.setup.model()
    groups = make_optimizer_groups(model, {"name": "sgd", "lr": 0.1})
    check_ownership(model, groups)
    with noise_of(CPU, 4):
        out = forward_pass(model, part.setup.batch())
        for group in groups:
            with freeze_others(group, groups):
                total = group.terms(model, out, PROGRESS).total()
                expect(bool(total.isfinite().all()), f"{part.id}: the loss of '{group.name}' is not finite")
                total.mean().backward()
    module = _module(model, part.kind)
    for name, parameter in module.named_parameters():
        if not parameter.requires_grad:
            continue
        expect(parameter.grad is not None, f"{part.id}: parameter '{name}' has no gradient")
        assert parameter.grad is not None
        expect(bool(parameter.grad.isfinite().all()), f"{part.id}: the gradient of '{name}' is not finite")
    all_gradients = [parameter.grad for parameter in module.parameters() if parameter.grad is not None]
    expect(
        not all_gradients or any(bool(gradient.any()) for gradient in all_gradients),
        f"{part.id}: the gradients of all its parameters are zero",
    )


@check(
    "batch invariance",
    "the terms of a sample must not depend on the other samples of its batch",
    kinds=MODEL_KINDS,
    depends_on=("per-sample terms",),
)
def batch_invariance(part: PartUnderTest) -> None:
    """Compare the terms of a sample in several batches, with the same noise for each sample.

    In training, the batch has every sample twice, or the samples are in another order; in evaluation, other samples are
    added. Terms that compare the samples of a batch on purpose are named in `batch_terms`, and left out. So are all
    terms in training where the corruption has `compares_samples`.
    """
    setup, rows = part.setup, torch.arange(BATCH_SIZE)
    model = setup.model()
    with noise_of(CPU, 4):
        # The result is not needed: some parts, such as a codebook, initialise themselves from the first batch in
        # training, which is recognised by its gradients.
        forward_pass(model, setup.batch())
    copied, reordered = copy.deepcopy(model), copy.deepcopy(model)
    once = _terms(model, setup.batch(), rows)
    twice = _terms(copied, setup.batch().rows(rows.repeat(2)), rows.repeat(2))
    # Terms that compare the samples of a batch, such as a divergence between their distribution and the prior.
    batch_terms = model.batch_terms

    def without_batch_terms(terms: dict[str, Tensor]) -> dict[str, Tensor]:
        return {name: value for name, value in terms.items() if name not in batch_terms}

    if model.corruption.compares_samples:
        # In training all terms depend on the other samples, by the encoder's input.
        once = {}
    _expect_same_terms(part, without_batch_terms(once), twice, "in training, when the batch has every sample twice")
    order = torch.tensor(_ORDER)
    in_order = _terms(reordered, setup.batch().rows(order), order)
    in_order = {name: value[order.argsort()] for name, value in in_order.items()}
    _expect_same_terms(
        part, without_batch_terms(once), in_order, "in training, when the samples of the batch are in another order"
    )
    with evaluation_mode(model):
        alone = _terms(model, setup.batch(), rows)
        with_others = _terms(model, setup.batch(2 * BATCH_SIZE), torch.arange(2 * BATCH_SIZE))
    _expect_same_terms(
        part, without_batch_terms(alone), with_others, "in evaluation, when other samples are added to the batch"
    )


def _terms(model: Autoencoder, batch: Batch, rows: Tensor) -> dict[str, Tensor]:
    """Return all terms of a batch, with the noise of the sample ids `rows`."""
    with RowNoise(rows, num_samples=model.objective.num_samples):
        terms = all_terms(model, forward_pass(model, batch, sample=True), PROGRESS)
        return {name: value.detach() for name, value in terms.items()}


def _expect_same_terms(part: PartUnderTest, expected: dict[str, Tensor], actual: dict[str, Tensor], when: str) -> None:
    """Compare the terms of the first samples; `actual` may have more samples."""
    for name, value in expected.items():
        first = actual[name][: len(value)]
        expect(
            torch.allclose(first, value, rtol=1e-4, atol=1e-5, equal_nan=True),
            f"{part.id}: the term '{name}' changes {when}, by up to {float((first - value).abs().max()):.3g}",
        )


@check(
    "padding invariance",
    "masked elements of x must not affect the terms or the code",
    kinds=MODEL_KINDS - {"latent", "prior", "modality"},
    depends_on=("per-sample terms",),
)
def padding_invariance(part: PartUnderTest) -> None:
    """Put other values, and NaN, under the mask, and expect the same terms and the same code.

    Read x through `Batch.masked_x`, which has 0 there, and leave masked elements out of sums, means and maxima.
    """
    if part.setup.spec.domain.kind == "simplex":
        raise NotApplicableError("the elements of a simplex sum to one, so that they are never masked")
    model, batch = part.setup.model(), part.setup.batch()
    mask = _random_mask(part.setup.spec, len(batch))
    # The data may have masked elements of their own.
    batch.mask = mask if batch.mask is None else broadcast_mask(batch.mask, mask.ndim) & mask
    masked = broadcast_mask(~batch.mask, batch.x.ndim)
    fillings = {"another value": batch.x.flip(0)}
    if batch.x.is_floating_point():
        fillings["NaN"] = torch.full_like(batch.x, torch.nan)
    rows = torch.arange(BATCH_SIZE)
    for description, filling in fillings.items():
        filled = batch.with_x(torch.where(masked, filling, batch.x))
        when = f"when masked elements of x are {description}"
        # A corruption acts in training mode only; for other kinds, that mode would only add dropout.
        model.train(part.kind == "corruption")
        _expect_same_terms(part, _terms(model, batch, rows), _terms(model, filled, rows), when)
        model.eval()
        expect(torch.allclose(model.embed(batch).mean, model.embed(filled).mean), f"{part.id}: the code changes {when}")


@check(
    "condition",
    "every part must accept data with a condition, and the decoder must use it",
    kinds=MODEL_KINDS,
    depends_on=("per-sample terms",),
)
def condition(part: PartUnderTest) -> None:
    """Train on data with a condition of three classes, and expect encoder and decoder to depend on it.

    An encoder that does not depend on the condition may have it at the wrong place: see `DataSpec.condition_axis`.
    """
    setup = part.setup.with_condition()
    model, batch = setup.model(), setup.batch()
    assert batch.condition is not None
    with noise_of(CPU, 4):
        terms = all_terms(model, forward_pass(model, batch), PROGRESS)
    for name, value in terms.items():
        expect(
            tuple(value.shape) == (BATCH_SIZE,),
            f"{part.id}: with a condition, the term '{name}' has shape {tuple(value.shape)}, expected ({BATCH_SIZE},)",
        )
    if part.kind in ("encoder", "modality") and model.condition_encoder:
        with evaluation_mode(model), torch.no_grad():
            features = model.encode_features(batch)
            changed_features = model.encode_features(replace(batch, condition=batch.condition.roll(1, 1)))
        expect(
            not torch.allclose(features, changed_features, atol=1e-7),
            f"{part.id}: the encoder returns the same features for different conditions, which are appended along axis "
            f"{setup.spec.encoder_condition_axis} of a sample; use them, or set DataSpec.condition_axis",
        )
    if part.kind == "decoder":
        with evaluation_mode(model), torch.no_grad():
            z = model.embed(batch).mean
            output = model.decode(z, condition=batch.condition)
            changed = model.decode(z, condition=batch.condition.roll(1, 1))
        expect(not torch.equal(output, changed), f"{part.id} returns the same output for different conditions")


@check(
    "repeatable evaluation",
    "embeddings and reconstructions are the same at each call",
    kinds=MODEL_KINDS,
    depends_on=("shapes",),
)
def repeatable_evaluation(part: PartUnderTest) -> None:
    """Compute code, output and reconstruction loss twice in evaluation mode, and expect the same numbers."""
    model, batch = part.setup.model().eval(), part.setup.batch()
    with torch.no_grad():
        first, second = (deterministic_forward_pass(model, batch) for _ in range(2))
        pairs = {
            "embedding": (first.latent.mean, second.latent.mean),
            "output": (first.output, second.output),
            "reconstruction term": (first.reconstruction, second.reconstruction),
            "reconstruction": (model.loss.mean(first.output), model.loss.mean(second.output)),
        }
    for name, (first_value, second_value) in pairs.items():
        expect(
            torch.equal(first_value, second_value),
            f"{part.id}: the {name} differs at each call in evaluation mode; draw noise in training mode only",
        )


@check(
    "nonzero terms",
    "a term that is 0 for all samples passes every other check",
    kinds=("loss", "penalty", "critic"),
    depends_on=("per-sample terms",),
)
def nonzero_terms(part: PartUnderTest) -> None:
    """Expect terms of the part that are not 0 for all samples, in training or in evaluation.

    A penalty that acts on close points only is 0 in a model with initial weights, and a mistake in it stays unseen.
    Give the part options in the suite under which its terms are not 0.
    """
    model, batch = part.setup.model(), part.setup.batch()
    with noise_of(CPU, 4), torch.no_grad():
        in_training = all_terms(model, forward_pass(model, batch), PROGRESS)
        with evaluation_mode(model):
            in_evaluation = all_terms(model, forward_pass(model, batch), PROGRESS)
    prefix = f"{part.entry.name}/" if part.kind == "critic" else ""
    names = {"loss": ["reconstruction"], "penalty": [part.entry.name]}.get(
        part.kind, [name for name in in_evaluation if name.startswith(prefix)]
    )
    for name in names:
        values = [terms[name] for terms in (in_training, in_evaluation) if name in terms]
        expect(
            not values or any(bool(value.any()) for value in values),
            f"{part.id}: the term '{name}' is 0 for all samples, so that nothing is tested; set options in the suite "
            f"under which it is not: options = {{{part.id!r}: {{...}}}}",
        )


@check(
    "padding length",
    "the code of a sample must not depend on how much padding follows it",
    kinds=["encoder"],
    depends_on=("padding invariance",),
)
def padding_length(part: PartUnderTest) -> None:
    """Compare the features of a sample with those of the same sample behind which masked padding was added.

    It applies to encoders that take samples of several lengths. An encoder that takes the mean over the padded length,
    or reads padding as elements of value 0, fails.
    """
    setup = part.setup.padded()
    try:
        model, size = setup.model().eval(), part.setup.spec.shape[setup.length_axis]
        with torch.no_grad():
            batches = [setup.batch().with_x(x) for x in _away_from_zero(setup.batch().x, setup.spec.domain)]
            features = torch.cat([model.encoder(batch) for batch in batches])
            shorter = torch.cat([model.encoder(setup.shortened(batch, size)) for batch in batches])
    except Exception as error:
        raise NotApplicableError("it takes samples of one size only") from error
    if shorter.shape != features.shape:
        raise NotApplicableError("its features have a position for each element of a sample")
    expect(
        torch.allclose(shorter, features, rtol=1e-4, atol=1e-5),
        f"{part.id}: the features change when masked padding is added behind a sample, by up to "
        f"{float((shorter - features).abs().max()):.3g}; leave masked elements out of means and maxima",
    )


def _away_from_zero(x: Tensor, domain: Domain) -> list[Tensor]:
    """Return x, and values of the domain that are all above 0, or all below: padding read as zeros is then extreme."""
    if domain.kind not in ("real", "signed", "unit"):
        return [x]
    positive = (x.abs() + 1) if domain.kind == "real" else (x.abs() + 1) / 2
    return [shifted for shifted in (x, positive, -positive) if float(shifted.nan_to_num().min()) >= domain.bounds[0]]


def same_values(actual: Tensor, expected: Tensor) -> bool:
    """Return whether two tensors have equal shapes and values; NaN, as under a mask, equals NaN."""
    if actual.shape != expected.shape:
        return False
    equal = actual == expected
    if actual.is_floating_point() and expected.is_floating_point():
        equal |= actual.isnan() & expected.isnan()
    return bool(equal.all())


def _random_mask(spec: DataSpec, num: int) -> Tensor:
    """Return a mask of samples that is True for about 60 % of the elements, and for the first of unordered ones."""
    shape = spec.shape[:1] if spec.unordered else spec.shape
    mask = torch.rand(num, *shape, generator=torch.Generator().manual_seed(3)) < 0.6
    if spec.unordered:
        mask[:, 0] = True
    return mask


def _module(model: Autoencoder, kind: str) -> nn.Module:
    """Return the module of a model that a part of `kind` became; the whole model for a modality."""
    if kind == "modality":
        return model
    module = getattr(model, KINDS[kind].key)
    assert isinstance(module, nn.Module)
    return module


@check(
    "use of the code",
    "a decoder that ignores z learns the mean of the data, or what the condition says",
    kinds=["decoder", "modality"],
    depends_on=("condition",),
)
def use_of_the_code(part: PartUnderTest) -> None:
    """Decode two codes, with and without a condition, and expect different outputs."""
    for setup in (part.setup, part.setup.with_condition()):
        model, batch = setup.model(), setup.batch()
        with evaluation_mode(model), torch.no_grad():
            z = model.embed(batch).mean
            others = z.flip(0) if not torch.equal(z.flip(0), z) else z + 1
            outputs = [
                model.decode(each, condition=batch.condition[:1].expand_as(batch.condition))
                if batch.condition is not None
                else model.decode(each)
                for each in (z, others)
            ]
        expect(
            not torch.equal(outputs[0], outputs[1]),
            f"{part.id}: the decoder returns the same output for different codes",
        )


@check(
    "order of elements",
    "unordered elements must have the same code in any order",
    kinds=["modality"],
    depends_on=("per-sample terms",),
)
def order_of_elements(part: PartUnderTest) -> None:
    """Compare the codes of samples of unordered elements, by the modality's encoder, with those in another order."""
    if not part.setup.spec.unordered:
        raise NotApplicableError("its elements have an order")
    model, batch = part.setup.model(), part.setup.batch()
    order = torch.randperm(batch.x.shape[1], generator=torch.Generator().manual_seed(3))
    permuted = replace(batch.with_x(batch.x[:, order]), mask=None if batch.mask is None else batch.mask[:, order])
    with evaluation_mode(model), torch.no_grad():
        z, z_permuted = model.embed(batch).mean, model.embed(permuted).mean
    expect(
        torch.allclose(z, z_permuted, rtol=1e-4, atol=1e-5),
        f"{part.id}: the code changes by up to {float((z - z_permuted).abs().max()):.3g} when the elements of a sample "
        "are in another order; choose an encoder of sets as the default",
    )


CHECKS = (
    builds,
    shapes,
    per_sample_terms,
    gradients,
    batch_invariance,
    padding_invariance,
    condition,
    repeatable_evaluation,
    nonzero_terms,
    padding_length,
    use_of_the_code,
    order_of_elements,
)
