import torch
from torch import nn

from aeframe.parts import LatentSpace
from aeframe.types import Latent


class Plain(LatentSpace):
    """A 3-dimensional code without a fault, the base class of the others."""

    def __init__(self, feature_shape):
        super().__init__()
        self.layer = nn.Linear(feature_shape[0], 3)
        self.shape = (3,)

    def forward(self, features, *, sample, num_samples=None):
        z = self.layer(features)
        return Latent(z if num_samples is None else z.expand(num_samples, *z.shape), mean=z)


class NoisyEvaluation(Plain):
    """Adds noise in evaluation mode too."""

    def forward(self, features, *, sample, num_samples=None):
        return super().forward(features + 0.1 * torch.randn_like(features), sample=sample, num_samples=num_samples)


class Misshapen(Plain):
    """Ignores `num_samples`, so that z has the wrong shape."""

    def forward(self, features, *, sample, num_samples=None):
        return super().forward(features, sample=sample)
