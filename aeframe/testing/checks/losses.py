"""Checks of a loss on decoder outputs, without a model.

A decoder output is ``(B, outputs, *shape)``: for each element, the parameters of the loss, such as mean and variance.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import torch
from torch import Tensor
from torch.distributions import constraints

from aeframe.errors import AeframeError
from aeframe.factory import build
from aeframe.noise import noise_of
from aeframe.parts.losses.base import Likelihood, Loss
from aeframe.tensors import per_sample
from aeframe.testing.check import check
from aeframe.testing.expectations import NotApplicableError, expect
from aeframe.testing.own_modules import own_modules
from aeframe.testing.part_under_test import PartUnderTest
from aeframe.testing.reference import BATCH_SIZE, CPU, ReferenceSetup
from aeframe.types import DataSpec, Domain

_STEPS, _LEARNING_RATE = 100, 0.1


@check(
    "minimum at the data",
    "minimising the loss must bring reconstructions closer to x",
    kinds=["loss"],
    depends_on=("per-sample terms",),
)
def minimum_at_the_data(part: PartUnderTest) -> None:
    """Minimise the loss by the decoder's output for 100 steps, and expect the reconstruction closer to x than before.

    The loss of a sample must also be lower for its own x than for that of another sample, on average.
    """
    for domain, setup, loss in _in_each_domain(part):
        batch = setup.batch()
        with noise_of(CPU, 6):
            output = 0.1 * torch.randn(BATCH_SIZE, *loss.output_shape(setup.spec.shape))
        output.requires_grad_()
        error_before = _error(loss, output, batch.x)
        optimizer = torch.optim.Adam([output], lr=_LEARNING_RATE)
        for _ in range(_STEPS):
            optimizer.zero_grad()
            loss(output, batch).sum().backward()
            optimizer.step()
        with torch.no_grad():
            error_after = _error(loss, output, batch.x)
            loss_of_own = loss(output, batch)
            loss_of_other = loss(output, batch.rows(torch.arange(BATCH_SIZE).roll(1)))
        expect(
            float(error_after) < float(error_before),
            f"{part.id} on {domain} data: minimising it moves reconstructions away from x "
            f"(|x - x_hat| changes from {float(error_before):.3g} to {float(error_after):.3g})",
        )
        expect(
            float(loss_of_own.sum()) <= float(loss_of_other.sum()),
            f"{part.id} on {domain} data: the mean loss of reconstructions is {float(loss_of_own.mean()):.3g} for "
            f"their own x, and only {float(loss_of_other.mean()):.3g} for another sample's x",
        )


@check(
    "masked output",
    "the decoder output at masked elements must not affect the loss",
    kinds=["loss"],
    depends_on=("per-sample terms",),
)
def masked_output(part: PartUnderTest) -> None:
    """Change the decoder's output where x is masked, and expect the same loss.

    It does not apply to losses of unordered elements, whose reconstruction has no element for each one of x.
    """
    if not part.target.by_position:
        raise NotApplicableError("it does not compare elements by their position")
    for domain, setup, loss in _in_each_domain(part):
        if domain.kind == "simplex":
            # The elements of a sample sum to one, so that they are never masked.
            continue
        batch = setup.batch()
        with noise_of(CPU, 6), torch.no_grad():
            batch.mask = torch.rand(batch.x.shape) < 0.6
            output, changed_output = torch.randn(2, BATCH_SIZE, *loss.output_shape(setup.spec.shape))
            expected = loss(output, batch)
            actual = loss(torch.where(_at_outputs(batch.mask, domain).unsqueeze(1), output, changed_output), batch)
        expect(
            torch.allclose(expected, actual, rtol=1e-4, atol=1e-5),
            f"{part.id} on {domain} data: it changes with the output at masked elements, by up to "
            f"{float((expected - actual).abs().max()):.3g}",
        )


@check(
    "samples in the domain",
    "generated samples must be valid data",
    kinds=["loss"],
    depends_on=("shapes",),
)
def samples_in_the_domain(part: PartUnderTest) -> None:
    """Compute mean and samples of large outputs, and expect finite values inside `output_range` and the domain.

    Samples of a likelihood of all real numbers, such as a normal one, may lie outside of the domain.
    """
    for domain, setup, loss in _in_each_domain(part):
        with noise_of(CPU, 6), torch.no_grad():
            # Large outputs reach the ends of the range that a loss declares.
            output = 8 * torch.randn(BATCH_SIZE, *loss.output_shape(setup.spec.shape))
            mean, samples = loss.mean(output), loss.sample(output)
        declared = loss.output_range
        expect(
            bool(mean.isfinite().all()) and _within(mean, declared.low, declared.high),
            f"{part.id} on {domain} data: it declares reconstructions in [{declared.low:g}, {declared.high:g}], but "
            f"returns values in [{float(mean.min()):.3g}, {float(mean.max()):.3g}]",
        )
        low, high = domain.bounds
        if declared.low >= low and declared.high <= high and not _has_unbounded_noise(loss, output):
            # A loss without its own `sample` returns the mean, which need not be an integer for counts.
            has_distribution = type(loss).sample is not Loss.sample
            outside = domain.violations(samples) if has_distribution else torch.tensor(not _within(samples, low, high))
            expect(
                not bool(outside.any()),
                f"{part.id} on {domain} data: it samples values that are not {domain}, such as "
                f"{_outermost(samples, domain):.3g}",
            )


def _has_unbounded_noise(loss: Loss, output: Tensor) -> bool:
    """Return whether samples of a likelihood are any real numbers, whatever the range of its mean."""
    if not isinstance(loss, Likelihood):
        return False
    try:
        return loss.distribution(output).support is constraints.real
    except NotImplementedError:
        return False


@check(
    "loss of padding",
    "the loss of a sample must not depend on how much padding follows it",
    kinds=["loss"],
    depends_on=("per-sample terms",),
)
def loss_of_padding(part: PartUnderTest) -> None:
    """Compare the loss of a sample with that of the same sample behind which masked padding was added.

    A loss that divides by the number of elements divides by that of the unmasked ones, ``batch.mask.sum(-1)``.
    """
    if not part.target.by_position and not part.target.any_length:
        raise NotApplicableError("the reconstruction of unordered elements has as many as x, also for padding")
    compared = False
    for domain, setup, loss in _in_each_domain(part):
        if domain.kind in ("simplex", "mixed"):
            # The elements sum to one, or each has a domain of its own: samples have one size.
            continue
        padded = setup.padded()
        with noise_of(CPU, 1):
            module = own_modules({"loss": part.config}).get("loss")
            try:
                spec = padded.spec
                longer = build("loss", part.config, shape=spec.shape, domain=domain, spec=spec, module=module)
            except AeframeError:
                continue
        compared = True
        with noise_of(CPU, 6), torch.no_grad():
            output, padding = torch.randn(2, BATCH_SIZE, *loss.output_shape(setup.spec.shape))
            longer_output = torch.cat([output, padding], setup.length_axis + 2) if loss.by_position else output
            batch = padded.batch()
            expected = loss(output, padded.shortened(batch, setup.spec.shape[setup.length_axis]))
            actual = longer(longer_output, batch)
        expect(
            torch.allclose(expected, actual, rtol=1e-4, atol=1e-5),
            f"{part.id} on {domain} data: it changes when masked padding is added behind a sample, by up to "
            f"{float((expected - actual).abs().max()):.3g}; leave masked elements out, and divide by the number of the "
            "unmasked ones",
        )
    if not compared:
        raise NotApplicableError("it takes samples of one size only")


@check(
    "order of the elements",
    "the elements of unordered data are a set",
    kinds=["loss"],
    depends_on=("per-sample terms",),
)
def order_of_the_elements(part: PartUnderTest) -> None:
    """Permute the elements of x, and those of the output, and expect the same loss.

    It applies to losses with ``by_position = False``, which alone are accepted for unordered data.
    """
    if part.target.by_position:
        raise NotApplicableError("it compares elements by their position, and is refused for unordered ones")
    for domain, setup, loss in _in_each_domain(part):
        batch = setup.batch()
        order = torch.arange(setup.spec.shape[0]).flip(0)
        with noise_of(CPU, 6), torch.no_grad():
            output = torch.randn(BATCH_SIZE, *loss.output_shape(setup.spec.shape))
            expected = loss(output, batch)
            mask = None if batch.mask is None else batch.mask[:, order]
            losses = {
                "x": loss(output, replace(batch, x=batch.x[:, order], mask=mask)),
                "the output": loss(output[:, :, order], batch),
            }
        for what, actual in losses.items():
            expect(
                torch.allclose(expected, actual, rtol=1e-4, atol=1e-5),
                f"{part.id} on {domain} data: it changes with the order of the elements of {what}, by up to "
                f"{float((expected - actual).abs().max()):.3g}; set by_position = True",
            )


def _in_each_domain(part: PartUnderTest) -> Iterator[tuple[Domain, ReferenceSetup, Loss]]:
    """Yield each domain that the loss declares, with data of the domain and the loss built for them."""
    for kind in sorted(part.target.domains):
        known = part.setup.spec.domain
        domain = known if kind == known.kind else Domain.parse("category(5)" if kind == "category" else kind)
        setup = part.setup if domain == part.setup.spec.domain else part.setup.with_domain(domain)
        spec: DataSpec = setup.spec
        with noise_of(CPU, 1):
            module = own_modules({"loss": part.config}).get("loss")
            yield domain, setup, build("loss", part.config, shape=spec.shape, domain=domain, spec=spec, module=module)


def _at_outputs(mask: Tensor, domain: Domain) -> Tensor:
    """Return a mask of elements ``(B, *shape)`` as one of the decoder's outputs, which are several for a class."""
    if domain.kind != "mixed":
        return mask
    return mask.repeat_interleave(torch.tensor(domain.element_classes).clamp(min=1), 1)


def _error(loss: Loss, output: Tensor, x: Tensor) -> Tensor:
    """Return the sum of |x - x_hat| over the batch; for unordered elements, with the nearest one of x_hat."""
    with torch.no_grad():
        x_hat = loss.mean(output).float()
        if loss.by_position:
            return per_sample((x_hat - x).abs()).sum()
        elements, others = x.float().flatten(2), x_hat.flatten(2)
        return torch.cdist(elements, others, p=1.0).amin(-1).sum() + torch.cdist(others, elements, p=1.0).amin(-1).sum()


def _within(values: Tensor, low: float, high: float) -> bool:
    return float(values.min()) >= low - 1e-5 and float(values.max()) <= high + 1e-5


def _outermost(values: Tensor, domain: Domain) -> float:
    """Return the value furthest outside the bounds of the domain; the first value if all are within the bounds."""
    low, high = domain.bounds
    distance = (values - max(low, -1e30)).clamp(max=0).abs() + (values - min(high, 1e30)).clamp(min=0)
    return float(values.flatten()[distance.flatten().argmax()])


CHECKS = (minimum_at_the_data, masked_output, loss_of_padding, order_of_the_elements, samples_in_the_domain)
