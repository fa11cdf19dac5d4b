"""How a density that is a network is fitted to rows."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

_LOOKS = 20
_HELD_OUT = 4


@torch.enable_grad()
def minimise(
    module: nn.Module,
    rows: Tensor,
    loss: Callable[[Tensor], Tensor],
    *,
    steps: int,
    batch_size: int,
    lr: float,
) -> None:
    """Train a module by Adam, and leave it as it was when it was best on rows it had not seen.

    Args:
        module: Its parameters are trained.
        rows: ``(N, ...)``, of which a tenth, or four batches if that is less, is held out; one row is seen and held
            out alike.
        loss: ``(n,)`` of rows ``(n, ...)``.
        steps: Batches, drawn with replacement from torch's generator.
        batch_size: Rows of each.
        lr: Falls along half a cosine to 0.
    """
    rows = rows[torch.randperm(len(rows)).to(rows.device)]
    num_held_out = max(1, min(len(rows) // 10, _HELD_OUT * batch_size))
    held_out, seen = rows[:num_held_out], rows[num_held_out if len(rows) > 1 else 0 :]
    optimizer = torch.optim.Adam(module.parameters(), lr=lr)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    every = math.ceil(steps / _LOOKS)
    best, lowest = module.state_dict(), math.inf
    for step in range(steps + 1):
        if step % every == 0 or step == steps:
            with torch.no_grad():
                now = float(loss(held_out).mean())
            if now < lowest:
                best, lowest = copy.deepcopy(module.state_dict()), now
        if step < steps:
            optimizer.zero_grad()
            loss(seen[torch.randint(len(seen), (batch_size,)).to(seen.device)]).mean().backward()
            optimizer.step()
            schedule.step()
    module.load_state_dict(best)
