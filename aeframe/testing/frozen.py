"""One optimizer group at a time, without a Trainer."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from aeframe.training.optimizer_groups import OptimizerGroup


@contextmanager
def freeze_others(group: OptimizerGroup, groups: Sequence[OptimizerGroup]) -> Iterator[None]:
    """Freeze the parameters of all other groups inside, as Lightning's ``toggle_model`` does in a Trainer.

    Gradients still flow *through* them, as from a discriminator to the code it judges.
    """
    others = [p for other in groups if other is not group for p in other.parameters]
    for parameter in others:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in others:
            parameter.requires_grad_(True)
