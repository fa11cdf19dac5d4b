"""Feature matching: a reconstruction looks to a discriminator as its x does."""

from __future__ import annotations

from typing import Literal, Protocol, runtime_checkable

import torch
from torch import Tensor

from aeframe.errors import AeframeError
from aeframe.parts.penalties.base import Penalty, first_output, reconstructed
from aeframe.parts.schedules import Schedule, fixed
from aeframe.tensors import per_sample
from aeframe.types import Batch, ForwardOutput, Model, TrainingProgress


@runtime_checkable
class HasFeatures(Protocol):
    """A player whose network can be looked into."""

    def features(self, batch: Batch) -> list[Tensor]:
        """Return what it sees in samples, stage by stage: ``(B, C, *positions)`` each."""


class FeatureMatching(Penalty):
    """The distance of x from its reconstruction in the features of a discriminator, summed over all of its stages.

    The discriminator is another penalty's, and is not trained by this one. Of K importance samples the first counts.

    Args:
        distance: ``absolute``: the sum of |f(x) - f(x_hat)| (pix2pixHD: Wang et al. 2018, arXiv 1711.11585);
            ``squared``: half the sum of squares, a Gaussian on features (VAE-GAN: Larsen et al. 2016,
            arXiv 1512.09300).
        of: The player whose features these are.
    """

    def __init__(
        self,
        *,
        weight: Schedule = fixed(0.1),
        distance: Literal["absolute", "squared"] = "absolute",
        of: str = "discriminator_x",
    ) -> None:
        super().__init__()
        self.weight, self.distance, self.of = weight, distance, of

    def weight_at(self, model: Model, progress: TrainingProgress) -> float:
        judge = model.critics().get(self.of)
        return self.weight(progress) if judge is None else judge.weight_from_start(self.weight, progress)

    def forward(self, model: Model, out: ForwardOutput) -> Tensor:
        players = {name: player.features for name, player in model.critics().items() if isinstance(player, HasFeatures)}
        if self.of not in players:
            raise AeframeError(
                f"penalty feature_matching needs a player '{self.of}' that has features, but those of this model are "
                f"{', '.join(players) or 'none'}; add penalties.adversarial, or set penalties.feature_matching.of"
            )
        features = players[self.of]
        with torch.no_grad():
            real = features(out.batch)
        fake = features(reconstructed(model, first_output(out), out.batch))
        apart = [one - other for one, other in zip(real, fake, strict=True)]
        if self.distance == "squared":
            return 0.5 * torch.stack([per_sample(each.square()) for each in apart]).sum(0)
        return torch.stack([per_sample(each.abs()) for each in apart]).sum(0)
