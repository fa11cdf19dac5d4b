"""Train on the list of batches that one call of ``training_step`` receives."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from torch import Tensor

from aeframe.training.lightning_progress import call_batch_end
from aeframe.types import Batch

if TYPE_CHECKING:
    from aeframe.training.module import AutoencoderModule


def train_on_batches(module: AutoencoderModule, batches: Sequence[Batch]) -> Tensor | None:
    """Train on batches one after the other, up to `max_batches`; return the detached loss of the last one."""
    loss = None
    for number, current in enumerate(batches, start=1):
        if module.reached_max_batches():
            break
        loss = module.train_on(current)
        if number < len(batches):
            end_batch_of_several(module, loss, current)
    return loss


def end_batch_of_several(module: AutoencoderModule, loss: Tensor | None, batch: Batch) -> None:
    """Call the callbacks after a batch that is not the last one of a call of ``training_step``."""
    if not module.reached_max_batches():
        call_batch_end(module, loss, batch, module.progress.batch_in_epoch - 1)
