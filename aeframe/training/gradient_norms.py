"""The gradient norm of each loss term."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from aeframe.devices import mean_over_devices
from aeframe.types import LossTerms


def gradient_norms(terms: LossTerms, parameters: Sequence[nn.Parameter]) -> dict[str, Tensor]:
    """Return the norm of each weighted term's own gradient over all devices; no parameter and no ``.grad`` changes.

    Two terms of like size can have gradients of very different norms, and a term whose gradient is much smaller than
    the others' is not learned. It costs a backward pass for each term, and keeps the graph.

    Args:
        terms: Of one optimizer group, with their graph.
        parameters: What the group trains.
    """
    norms: dict[str, Tensor] = {}
    for name, value in terms.raw.items():
        if not value.requires_grad or terms.weights[name] == 0:
            continue
        loss = terms.weights[name] * value.mean()
        gradients = torch.autograd.grad(loss, parameters, retain_graph=True, allow_unused=True)
        found = [mean_over_devices(gradient) for gradient in gradients if gradient is not None]
        if found:
            norms[name] = nn.utils.get_total_norm(found)
    return norms
