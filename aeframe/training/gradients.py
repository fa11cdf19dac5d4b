"""How hard each term pulls."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from aeframe.batch import Terms
from aeframe.devices import mean_over_devices


def gradient_norms(terms: Terms, parameters: Sequence[nn.Parameter]) -> dict[str, Tensor]:
    """Return the length of each weighted term's own gradient over all devices, without moving anything.

    Two terms that are alike in size may pull very differently, and one whose gradient is nothing beside another's is
    not learned. It costs a backward pass for each term, so it is asked for once in an epoch. The graph stays.

    Args:
        terms: Of one player, on their graph.
        parameters: What the player trains.
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
