"""The joint latent: continuous numbers and categorical variables."""

from __future__ import annotations

from torch import Tensor

from aeframe.parts.distributions.one_hot import ProductDistribution
from aeframe.parts.latents.base import LatentSpace, latent_of
from aeframe.parts.latents.categorical import Categorical
from aeframe.parts.latents.gaussian import Gaussian
from aeframe.parts.schedules import Schedule, fixed
from aeframe.types import Latent, Shape, TrainingProgress


class Joint(LatentSpace):
    """q(z|x) is the product of a diagonal normal of `dim` numbers and `variables` categorical variables (JointVAE;
    Dupont 2018, arXiv 1804.00104).

    z is the concatenation of the numbers and the relaxed one-hot vectors of `Categorical`.

    Args:
        feature_shape: ``(C, *positions)``.
        dim: Number of continuous numbers, the dimension of the normal.
        variables: Number of categorical variables.
        classes: Number of classes of each variable.
        temperature: Temperature of the relaxation in training, above 0; a number or a schedule.
        hard: Sample one-hot vectors in training too, with the gradient of the relaxed ones (straight through).
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
        # The latents of the continuous numbers and of the categorical variables; z concatenates theirs.
        self.numbers = Gaussian(feature_shape, dim=dim)
        self.classes = Categorical(feature_shape, dim=variables, classes=classes, temperature=temperature, hard=hard)
        self.groups, self.num_continuous = (dim, *self.classes.groups), dim
        self.shape = (sum(self.groups),)

    def on_progress(self, progress: TrainingProgress) -> None:
        """Set the temperature for the next training batch."""
        self.classes.on_progress(progress)

    def forward(self, features: Tensor, *, sample: bool) -> Latent:
        posteriors = (latent(features, sample=False).posterior for latent in (self.numbers, self.classes))
        posterior = ProductDistribution(*posteriors)
        return latent_of(posterior, posterior.mean, sample=sample)
