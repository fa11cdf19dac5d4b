"""The squared Frobenius norm of a Jacobian for each sample, exact or estimated."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from aeframe.tensors import per_sample


def squared_jacobian(
    function: Callable[[Tensor], Tensor], at: Tensor, *, probes: int = 0, training: bool = True
) -> Tensor:
    """Return ``(B,)``: the squared Frobenius norm of the Jacobian of `function` at each sample of `at`.

    Args:
        function: ``(B, *n)`` -> ``(B, *m)``, computed for each sample independently.
        at: ``(B, *n)``; no gradient flows back to it.
        probes: 0 is exact, with one backward pass for each of the m outputs, or for each of the n inputs (and one more)
            where those are fewer. k > 0 estimates the norm without bias from k random directions of the output
            (Hutchinson 1990), with one backward pass each.
        training: Draw the random directions anew for each sample and call; otherwise they are fixed, so that evaluation
            is repeatable.
    """
    at = at.detach().requires_grad_()
    # Evaluation disables gradients, but the Jacobian needs them.
    create_graph = torch.is_grad_enabled()
    with torch.enable_grad():
        value = function(at).flatten(1)
        inputs = at
        if probes == 0 and at[0].numel() < value.shape[1]:
            # J^T u is linear in u, so the gradient of one of its elements with respect to u is a column of J.
            inputs = torch.zeros_like(value).requires_grad_()
            (vector_jacobian,) = torch.autograd.grad(value, at, inputs, create_graph=True)
            value = vector_jacobian.flatten(1)
        if probes and training:
            directions = [torch.randn_like(value) for _ in range(probes)]
        else:
            size = value.shape[1]
            generator = torch.Generator().manual_seed(0)
            rows = (
                torch.randn(probes, size, generator=generator, device="cpu").to(value)
                if probes
                else torch.eye(size, dtype=value.dtype, device=value.device)
            )
            directions = [row.expand_as(value) for row in rows]
        norm = at.new_zeros(len(at))
        for direction in directions:
            (slope,) = torch.autograd.grad(value, inputs, direction, create_graph=create_graph, retain_graph=True)
            norm = norm + per_sample(slope.square())
    return norm / max(1, probes)
