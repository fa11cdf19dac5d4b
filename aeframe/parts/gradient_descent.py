"""The training loop for small networks that are fitted outside a Lightning run, such as densities of z."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Container, Iterable, Iterator

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler


@torch.enable_grad()
def minimise(
    module: nn.Module,
    loss: Callable[[Tensor], Tensor],
    batches: Iterable[Tensor],
    optimizer: Optimizer,
    *,
    schedule: LRScheduler | None = None,
    held_out: Tensor | None = None,
    validate_at: Container[int] = (),
) -> None:
    """Take one optimizer step for each batch; with `held_out`, restore the weights with the lowest validation loss.

    Args:
        module: The module that `optimizer` trains.
        loss: Maps a batch of n rows to their losses ``(n,)``, or to their mean ``()``.
        batches: One batch of rows for each step.
        optimizer: The optimizer of `module`'s parameters.
        schedule: The schedule of the learning rate, which is updated after each step.
        held_out: The validation rows; None for no validation.
        validate_at: The numbers of steps after which the validation loss is computed; 0 is before the first step.
    """
    best_weights, lowest_loss = module.state_dict(), math.inf

    def validate(step: int) -> None:
        nonlocal best_weights, lowest_loss
        if held_out is not None and step in validate_at:
            with torch.no_grad():
                value = float(loss(held_out).mean())
            if value < lowest_loss:
                best_weights, lowest_loss = copy.deepcopy(module.state_dict()), value

    step = 0
    for step, batch in enumerate(batches, start=1):
        validate(step - 1)
        optimizer.zero_grad()
        loss(batch).mean().backward()
        optimizer.step()
        if schedule is not None:
            schedule.step()
    validate(step)
    if held_out is not None:
        module.load_state_dict(best_weights)


def hold_out(rows: Tensor, *, at_most: int | None = None) -> tuple[Tensor, Tensor]:
    """Return validation rows and training rows of shuffled rows ``(N, ...)``.

    A tenth of the rows is held out, but no more than `at_most` and no fewer than one. A single row is returned in both.
    """
    rows = rows[torch.randperm(len(rows)).to(rows.device)]
    tenth = len(rows) // 10
    num_held_out = max(1, tenth if at_most is None else min(tenth, at_most))
    return rows[:num_held_out], rows[num_held_out if len(rows) > 1 else 0 :]


def random_batches(rows: Tensor, batch_size: int, steps: int) -> Iterator[Tensor]:
    """Yield `steps` batches ``(batch_size, ...)`` of rows ``(N, ...)``, drawn with replacement.

    The row numbers come from the CPU's default generator, so that a fit depends on the seed and not on the device.
    """
    for _ in range(steps):
        yield rows[torch.randint(len(rows), (batch_size,)).to(rows.device)]
