"""Freeze the parameters of optimizer groups, without a Trainer.

An optimizer group is the model, or one critic (such as a discriminator), with the parameters that its optimizer trains.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from aeframe.training.optimizer_groups import OptimizerGroup


@contextmanager
def freeze_others(group: OptimizerGroup, groups: Sequence[OptimizerGroup]) -> Iterator[None]:
    """Freeze the parameters of all groups but `group` inside the block, as ``toggle_model`` of Lightning does.

    Gradients still flow *through* frozen parameters, as from a discriminator to the code that it classifies.
    """
    frozen = [parameter for other in groups if other is not group for parameter in other.parameters]
    for parameter in frozen:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in frozen:
            parameter.requires_grad_(True)
