"""Feature matching: the distance between x and its reconstruction in a discriminator's features."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from aeframe.parts.penalties.base import Penalty, with_reconstruction
from aeframe.parts.schedules import Schedule, fixed
from aeframe.tensors import per_sample
from aeframe.types import ForwardOutput, Model, TrainingProgress


class FeatureMatching(Penalty):
    """The distance between x and its reconstruction in the features of a discriminator, summed over all its stages.

    The discriminator is a critic, trained by its own loss; this penalty does not train it.

    Args:
        distance: ``absolute``: the sum of |f(x) - f(x_hat)| (pix2pixHD: Wang et al. 2018, arXiv 1711.11585);
            ``squared``: half the sum of squares, a Gaussian on features (VAE-GAN: Larsen et al. 2016,
            arXiv 1512.09300).
        critic: Label of the discriminator in ``critics:``.
    """

    feeds_reconstruction = True

    def __init__(
        self,
        *,
        weight: Schedule = fixed(0.1),
        distance: Literal["absolute", "squared"] = "absolute",
        critic: str = "discriminator_x",
    ) -> None:
        super().__init__()
        self.weight, self.distance, self.critic = weight, distance, critic
        self.used_critics = {critic: ("features",)}

    def weight_at(self, model: Model, progress: TrainingProgress) -> float:
        return self.weight(progress) if model.critics[self.critic].has_started(progress) else 0.0

    def forward(self, model: Model, out: ForwardOutput) -> Tensor:
        features = model.critics[self.critic].features
        with torch.no_grad():
            x_features = features(out.batch)
        x_hat_features = features(with_reconstruction(model, out.output, out.batch))
        differences = [of_x - of_x_hat for of_x, of_x_hat in zip(x_features, x_hat_features, strict=True)]
        if self.distance == "squared":
            return 0.5 * torch.stack([per_sample(difference.square()) for difference in differences]).sum(0)
        return torch.stack([per_sample(difference.abs()) for difference in differences]).sum(0)
