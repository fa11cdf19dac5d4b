"""The check of an activation function."""

from __future__ import annotations

import math

import torch
from torch import nn

from aeframe.factory import build
from aeframe.parts.activations import traits
from aeframe.testing.check import check
from aeframe.testing.expectations import expect
from aeframe.testing.part_under_test import PartUnderTest

_SHAPE = (5, 4, 6, 8)


@check(
    "declared traits",
    "a config is validated by the range that an activation declares",
    kinds=["activation"],
    depends_on=("plain defaults",),
)
def declared_traits(part: PartUnderTest) -> None:
    """Compare the outputs for inputs from -30 to 30 with `ActivationTraits`: range, shape and parameters.

    Gradients must be finite, and the outputs repeatable in evaluation mode.
    """
    module: nn.Module = build("activation", part.config)
    declared = traits(part.target)
    x = torch.linspace(-30, 30, math.prod(_SHAPE)).reshape(_SHAPE).requires_grad_()
    output = module(x)
    y = output.detach()
    expect(bool(y.isfinite().all()), f"{part.id} is not finite on [-30, 30]")
    expect(
        (y.shape == x.shape) == declared.same_shape,
        f"{part.id} declares same_shape={declared.same_shape}, but maps shape {tuple(x.shape)} to {tuple(y.shape)}",
    )
    expect(
        float(y.min()) >= declared.low - 1e-6 and float(y.max()) <= declared.high + 1e-6,
        f"{part.id} declares values in [{declared.low:g}, {declared.high:g}], but returns values in "
        f"[{float(y.min()):.3g}, {float(y.max()):.3g}]",
    )
    learnable = any(parameter.requires_grad for parameter in module.parameters())
    expect(
        learnable == declared.learnable,
        f"{part.id} declares learnable={declared.learnable}, expected learnable={learnable}",
    )
    output.square().sum().backward()
    leaves = [x, *module.parameters()]
    expect(
        all(leaf.grad is not None and bool(leaf.grad.isfinite().all()) for leaf in leaves),
        f"{part.id} has a gradient that is not finite, or none",
    )
    module.eval()
    expect(torch.equal(module(x), module(x)), f"{part.id} returns different values at each call in evaluation mode")


CHECKS = (declared_traits,)
