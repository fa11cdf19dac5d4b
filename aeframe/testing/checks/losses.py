"""Checks of a loss on its own: nothing stands between it and its output but the optimiser of a check."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from aeframe.factory import build
from aeframe.noise import noise_of
from aeframe.parts.losses.base import Loss
from aeframe.tensors import per_sample
from aeframe.testing.check import check, expect
from aeframe.testing.part_under_test import PartUnderTest
from aeframe.testing.reference import CPU, SAMPLES, Reference
from aeframe.types import DataSpec, Domain

_STEPS, _RATE = 100, 0.1


@check(
    "prefers the truth",
    "the lower the loss of an output, the nearer it is to x",
    kinds=["loss"],
    after=("per-sample terms",),
)
def prefers_the_truth(tested: PartUnderTest) -> None:
    for domain, reference, loss in _in_each_domain(tested):
        batch = reference.batch()
        with noise_of(CPU, 6):
            output = 0.1 * torch.randn(SAMPLES, loss.num_outputs, *reference.spec.shape)
        output.requires_grad_()
        far = _error(loss, output, batch.x)
        optimizer = torch.optim.Adam([output], lr=_RATE)
        for _ in range(_STEPS):
            optimizer.zero_grad()
            loss(output, batch).sum().backward()
            optimizer.step()
        with torch.no_grad():
            near = _error(loss, output, batch.x)
            right, wrong = loss(output, batch), loss(output, batch.rows(torch.arange(SAMPLES).roll(1)))
        expect(
            float(near) < float(far),
            f"{tested.id} on {domain} data: the lower it is, the further the reconstruction is from x "
            f"(|x - x_hat| went from {float(far):.3g} to {float(near):.3g})",
        )
        expect(
            float(right.sum()) <= float(wrong.sum()),
            f"{tested.id} on {domain} data: a reconstruction of x has the loss {float(right.mean()):.3g}, and "
            f"{float(wrong.mean()):.3g} when it is compared with another sample",
        )


@check(
    "hidden output",
    "what the decoder says where the mask hides x counts for nothing",
    kinds=["loss"],
    after=("per-sample terms",),
)
def hidden_output(tested: PartUnderTest) -> None:
    for domain, reference, loss in _in_each_domain(tested):
        if domain.kind == "simplex":
            # Its parts sum to one, so that they are never masked.
            continue
        batch = reference.batch()
        with noise_of(CPU, 6), torch.no_grad():
            batch.mask = torch.rand(batch.x.shape) < 0.6
            one, other = torch.randn(2, SAMPLES, loss.num_outputs, *reference.spec.shape)
            found = loss(one, batch)
            again = loss(torch.where(batch.mask.unsqueeze(1), one, other), batch)
        expect(
            torch.allclose(found, again, rtol=1e-4, atol=1e-5),
            f"{tested.id} on {domain} data: it changes with the output where the mask hides x, by up to "
            f"{float((found - again).abs().max()):.3g}",
        )


@check(
    "samples in the domain",
    "what is generated has values that data can have",
    kinds=["loss"],
    after=("shapes",),
)
def samples_in_the_domain(tested: PartUnderTest) -> None:
    for domain, reference, loss in _in_each_domain(tested):
        with noise_of(CPU, 6), torch.no_grad():
            output = 8 * torch.randn(SAMPLES, loss.num_outputs, *reference.spec.shape)
            mean, drawn = loss.mean(output), loss.sample(output)
        values = loss.output_range
        expect(
            bool(mean.isfinite().all()) and _within(mean, values.low, values.high),
            f"{tested.id} on {domain} data: it states reconstructions in [{values.low:g}, {values.high:g}], and gives "
            f"some in [{float(mean.min()):.3g}, {float(mean.max()):.3g}]",
        )
        low, high = domain.bounds
        if values.low >= low and values.high <= high:
            # A mean of counts is no count, but a draw is one; a distance draws nothing.
            whole = type(loss).sample is not Loss.sample
            outside = domain.violations(drawn) if whole else torch.tensor(not _within(drawn, low, high))
            expect(
                not bool(outside.any()),
                f"{tested.id} on {domain} data: it draws values that are not {domain}, such as "
                f"{_worst(drawn, domain):.3g}",
            )


def _in_each_domain(tested: PartUnderTest) -> Iterator[tuple[Domain, Reference, Loss]]:
    """Yield every domain the loss says it is for, with data of it and the loss made for them."""
    first = tested.reference
    for kind in sorted(tested.target.domains):
        domain = Domain.parse("category(5)" if kind == "category" else kind)
        reference = first if domain == first.spec.domain else first.in_domain(domain)
        spec: DataSpec = reference.spec
        with noise_of(CPU, 1):
            yield domain, reference, build("loss", tested.config, shape=spec.shape, domain=domain, spec=spec)


def _error(loss: Loss, output: Tensor, x: Tensor) -> Tensor:
    with torch.no_grad():
        return per_sample((loss.mean(output).float() - x).abs()).sum()


def _within(value: Tensor, low: float, high: float) -> bool:
    return float(value.min()) >= low - 1e-5 and float(value.max()) <= high + 1e-5


def _worst(value: Tensor, domain: Domain) -> float:
    """Return the value that is furthest outside; the first where none is beyond the bounds."""
    low, high = domain.bounds
    beyond = (value - max(low, -1e30)).clamp(max=0).abs() + (value - min(high, 1e30)).clamp(min=0)
    return float(value.flatten()[beyond.flatten().argmax()])


CHECKS = (prefers_the_truth, hidden_output, samples_in_the_domain)
