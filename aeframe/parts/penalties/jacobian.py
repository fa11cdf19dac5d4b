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
        probes: 0 computes the norm exactly, with one backward pass for each row of the Jacobian (m passes). If it has
            fewer columns than rows (n < m), it is computed by column instead, with n + 1 passes: the first one computes
            the vector-Jacobian product that is then differentiated. k > 0 estimates the norm without bias from k random
            directions of the output (Hutchinson 1990), with one backward pass each.
        training: Draw the random directions anew for each sample and call; otherwise they are fixed, so that evaluation
            is repeatable.
    """
    x = at.detach().requires_grad_()
    # Evaluation disables gradients, but the Jacobian needs them.
    create_graph = torch.is_grad_enabled()
    with torch.enable_grad():
        outputs = function(x).flatten(1)
        if probes == 0 and x[0].numel() < outputs.shape[1]:
            # J^T u is linear in u, so the gradient of one of its elements with respect to u is a column of J.
            cotangent = torch.zeros_like(outputs).requires_grad_()
            (vector_jacobian,) = torch.autograd.grad(outputs, x, cotangent, create_graph=True)
            differentiated, variable = vector_jacobian.flatten(1), cotangent
        else:
            differentiated, variable = outputs, x
        if probes and training:
            directions = [torch.randn_like(differentiated) for _ in range(probes)]
        else:
            size = differentiated.shape[1]
            generator = torch.Generator().manual_seed(0)
            rows = (
                torch.randn(probes, size, generator=generator, device="cpu").to(differentiated)
                if probes
                else torch.eye(size, dtype=differentiated.dtype, device=differentiated.device)
            )
            directions = [row.expand_as(differentiated) for row in rows]
        squared_norm = x.new_zeros(len(x))
        for direction in directions:
            # A row or column of J, or the product of J^T with a random direction.
            (product,) = torch.autograd.grad(
                differentiated, variable, direction, create_graph=create_graph, retain_graph=True
            )
            # `per_sample` sums over all dimensions but that of the batch.
            squared_norm = squared_norm + per_sample(product.square())
    return squared_norm / max(1, probes)
