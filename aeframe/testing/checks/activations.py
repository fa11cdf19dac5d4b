"""Checks of an activation on its own."""

from __future__ import annotations

import torch
from torch import nn

from aeframe.factory import build
from aeframe.parts.activations import traits
from aeframe.testing.check import check, expect
from aeframe.testing.part_under_test import PartUnderTest

_SHAPE = (5, 4, 6, 8)


@check(
    "stated traits",
    "the checks of a composition believe the range that an activation states",
    kinds=["activation"],
    after=("plain defaults",),
)
def stated_traits(tested: PartUnderTest) -> None:
    module: nn.Module = build("activation", tested.config)
    known = traits(tested.target)
    x = torch.linspace(-30, 30, 5 * 4 * 6 * 8).reshape(_SHAPE).requires_grad_()
    output = module(x)
    y = output.detach()
    expect(bool(y.isfinite().all()), f"{tested.id} is not finite on [-30, 30]")
    expect(
        (y.shape == x.shape) == known.same_shape,
        f"{tested.id} states same_shape={known.same_shape}, and makes {tuple(y.shape)} of {tuple(x.shape)}",
    )
    expect(
        float(y.min()) >= known.low - 1e-6 and float(y.max()) <= known.high + 1e-6,
        f"{tested.id} states values in [{known.low:g}, {known.high:g}], and gives some in "
        f"[{float(y.min()):.3g}, {float(y.max()):.3g}]",
    )
    expect(
        any(parameter.requires_grad for parameter in module.parameters()) == known.learnable,
        f"{tested.id} states learnable={known.learnable}",
    )
    output.square().sum().backward()
    reached = [x, *module.parameters()]
    expect(
        all(each.grad is not None and bool(each.grad.isfinite().all()) for each in reached),
        f"{tested.id} gives a gradient that is not finite, or none",
    )
    module.eval()
    expect(torch.equal(module(x), module(x)), f"{tested.id} differs from one call to the next in evaluation")


CHECKS = (stated_traits,)
