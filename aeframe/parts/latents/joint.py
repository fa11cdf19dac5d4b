"""The joint latent: numbers and classes beside each other."""

from __future__ import annotations

from torch import Tensor

from aeframe.parts.distributions.one_hot import ProductDistribution
from aeframe.parts.latents.base import LatentSpace, drawn
from aeframe.parts.latents.categorical import Categorical
from aeframe.parts.latents.gaussian import Gaussian
from aeframe.parts.schedules import Schedule, fixed
from aeframe.types import Latent, Shape, TrainingProgress


class Joint(LatentSpace):
    """q(z|x) is a diagonal normal of `dim` numbers beside `variables` of `classes` classes (JointVAE; Dupont 2018,
    arXiv 1804.00104).

    z is the numbers, then the classes as `Categorical` has them; `groups` says which belong together.

    Args:
        feature_shape: ``(C, *positions)``.
        dim: How many numbers.
        variables: How many variables of classes.
        classes: How many classes each variable has.
        temperature: Of the classes drawn in training, above 0; a number or a schedule.
        hard: Classes are one-hot in training too, with the gradient of the relaxed ones (straight through).
    """

    provides = frozenset({"posterior"})
    space = "joint"

    def __init__(
        self,
        feature_shape: Shape,
        *,
        dim: int = 16,
        variables: int = 1,
        classes: int = 10,
        temperature: Schedule = fixed(2 / 3),
        hard: bool = False,
    ) -> None:
        super().__init__()
        self.numbers = Gaussian(feature_shape, dim=dim)
        self.classes = Categorical(feature_shape, dim=variables, classes=classes, temperature=temperature, hard=hard)
        self.groups = (dim, *self.classes.groups)
        self.shape = (sum(self.groups),)

    def on_progress(self, progress: TrainingProgress) -> None:
        """Take the temperature of this moment."""
        self.classes.on_progress(progress)

    def forward(self, features: Tensor, *, sample: bool, num_samples: int | None = None) -> Latent:
        parts = (part(features, sample=False).posterior for part in (self.numbers, self.classes))
        posterior = ProductDistribution(*parts)
        return drawn(posterior, posterior.mean, sample=sample, num_samples=num_samples)
