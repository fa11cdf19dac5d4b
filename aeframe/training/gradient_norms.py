"""The gradient norm of each loss term: of each summand of the training loss, such as the reconstruction."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

from aeframe.devices import LocalRows, mean_over_devices
from aeframe.training.sharding import whole
from aeframe.types import LossTerms


def gradient_norms(
    terms: LossTerms, parameters: Sequence[nn.Parameter], *, rows: LocalRows | None = None
) -> dict[str, Tensor]:
    """Return the norm of the gradient of each weighted term, averaged over devices; ``.grad`` does not change.

    Two terms of similar value can have gradients of very different norms, and a term with a much smaller gradient than
    the others is hardly optimised. This takes one backward pass for each term, and keeps the graph.

    Args:
        terms: The terms of one optimizer group (the parameters of one optimizer), with their graph.
        parameters: The parameters of that group.
        rows: The rows of this device; None on one device.
    """
    norms: dict[str, Tensor] = {}
    for name, value in terms.raw.items():
        if not value.requires_grad or terms.weights[name] == 0:
            continue
        loss = terms.weights[name] * value.mean() * (1.0 if rows is None else rows.weight)
        if isinstance(parameters[0], DTensor):
            norms |= _sharded_norm(name, loss, parameters)
            continue
        gradients = torch.autograd.grad(loss, parameters, retain_graph=True, allow_unused=True)
        averaged = [mean_over_devices(gradient) for gradient in gradients if gradient is not None]
        if averaged:
            norms[name] = nn.utils.get_total_norm(averaged)
    return norms


def _sharded_norm(name: str, loss: Tensor, parameters: Sequence[nn.Parameter]) -> dict[str, Tensor]:
    """Return the norm by name for sharded parameters, whose gradients exist in ``.grad`` only; it must be empty."""
    loss.backward(retain_graph=True)
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    for parameter in parameters:
        parameter.grad = None
    return {name: whole(nn.utils.get_total_norm(gradients))} if gradients else {}
