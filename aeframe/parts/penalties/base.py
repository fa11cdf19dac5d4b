"""The base class of penalties, and helpers for penalties and critics that compare x with its reconstruction."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import ClassVar

from torch import Tensor, nn

from aeframe.errors import AeframeError
from aeframe.parts.schedules import Schedule
from aeframe.types import Batch, ForwardOutput, Model, TrainingProgress


class Penalty(nn.Module):
    """An extra loss term with a weight. Every penalty has an option ``weight: Schedule``."""

    weight: Schedule
    batch_term: ClassVar[bool] = False
    """Whether the penalty compares the samples of a batch, so that a sample's value depends on the others."""
    feeds_reconstruction: ClassVar[bool] = False
    """Whether another network receives the reconstruction, with a gradient, which data with classes do not have."""
    used_critics: Mapping[str, tuple[str, ...]] = {}
    """Names of the methods that the penalty calls of each critic, by the critic's label in the config section
    ``critics:``."""

    def weight_at(self, model: Model, progress: TrainingProgress) -> float:
        """Return the weight at this point of training."""
        return self.weight(progress)

    def forward(self, model: Model, out: ForwardOutput) -> Tensor:
        """Return ``(B,)``: each sample's penalty, unweighted. In training it is not called while the weight is 0."""
        raise NotImplementedError


def with_reconstruction(model: Model, output: Tensor, batch: Batch) -> Batch:
    """Return the batch with x replaced by its reconstruction, as the input of another network.

    Raises:
        AeframeError: The reconstruction has classes, through which no gradient flows.
    """
    x = model.loss.mean(output)
    if model.spec.domain.has_classes or not x.is_floating_point():
        raise AeframeError(
            f"the reconstruction of {type(model.loss).__name__} has classes, through which no gradient flows from "
            "another network; leave out the penalties adversarial, feature_consistency, feature_matching and "
            "perceptual"
        )
    # The mask belongs to the elements of x, to which those of an unordered reconstruction do not correspond.
    return batch.with_x(x) if model.loss.by_position else replace(batch, x=x, mask=None)
