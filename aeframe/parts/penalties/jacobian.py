"""The size of a Jacobian, sample by sample."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from aeframe.tensors import per_sample


def squared_jacobian(
    function: Callable[[Tensor], Tensor], at: Tensor, *, probes: int = 0, training: bool = True
) -> Tensor:
    """Return ``(B,)``: the squared Frobenius norm of each sample's own Jacobian of `function` at `at`.

    Args:
        function: ``(B, *n)`` -> ``(B, *m)``, of which no sample depends on another.
        at: ``(B, *n)``; no gradient flows back to it.
        probes: 0 is exact: one backward pass for each of the m outputs, or one for each of the n inputs (and one more)
            where those are fewer. k > 0 estimates the norm without bias from k random directions of the output
            (Hutchinson 1990), one backward pass each.
        training: Otherwise the directions are the same for each sample and at each call: evaluation repeats itself.
    """
    at = at.detach().requires_grad_()
    # In evaluation gradients are off around us, but this number is made of them.
    keep = torch.is_grad_enabled()
    with torch.enable_grad():
        value = function(at).flatten(1)
        by = at
        if probes == 0 and at[0].numel() < value.shape[1]:
            # J^T u is linear in u, so its own slope by u along an input's direction is a column of J.
            by = torch.zeros_like(value).requires_grad_()
            (pulled,) = torch.autograd.grad(value, at, by, create_graph=True)
            value = pulled.flatten(1)
        if probes and training:
            directions = [torch.randn_like(value) for _ in range(probes)]
        else:
            size = value.shape[1]
            fixed = torch.Generator().manual_seed(0)
            rows = (
                torch.randn(probes, size, generator=fixed, device="cpu").to(value)
                if probes
                else torch.eye(size, dtype=value.dtype, device=value.device)
            )
            directions = [row.expand_as(value) for row in rows]
        norm = at.new_zeros(len(at))
        for direction in directions:
            (slope,) = torch.autograd.grad(value, by, direction, create_graph=keep, retain_graph=True)
            norm = norm + per_sample(slope.square())
    return norm / max(1, probes)
