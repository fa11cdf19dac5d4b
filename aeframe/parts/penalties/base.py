"""What every penalty is: an extra term with a weight of its own."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor, nn

from aeframe.errors import AeframeError
from aeframe.parts.schedules import Schedule
from aeframe.types import Batch, ForwardOutput, Model, TrainingProgress


class Penalty(nn.Module):
    """One extra term. Every penalty has an option ``weight: Schedule``."""

    weight: Schedule
    batch_term: ClassVar[bool] = False
    """Whether it compares the samples of a batch with each other, so that it is no sample's own."""

    def weight_at(self, model: Model, progress: TrainingProgress) -> float:
        """Return the weight at this moment of training."""
        return self.weight(progress)

    def forward(self, model: Model, out: ForwardOutput) -> Tensor:
        """Return ``(B,)``: the penalty of each sample, before the weight. In training it is not called at weight 0."""
        raise NotImplementedError


def first_output(out: ForwardOutput) -> Tensor:
    """Return the decoder's output ``(B, outputs, *shape)``: of K importance samples the first."""
    return out.output if out.output.ndim == out.batch.x.ndim + 1 else out.output[0]


def reconstructed(model: Model, output: Tensor, batch: Batch) -> Batch:
    """Return the batch with its reconstruction in place of x, for a network to look at as it looks at x.

    Raises:
        AeframeError: A reconstruction of whole numbers, which no gradient passes.
    """
    x = model.loss.mean(output)
    if not x.is_floating_point():
        raise AeframeError(
            f"a network cannot judge the reconstruction of {type(model.loss).__name__}: it is made of classes, "
            "which no gradient passes; leave out the penalties adversarial, feature_matching and perceptual"
        )
    return batch.with_x(x)
