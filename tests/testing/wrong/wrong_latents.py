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

    def forward(self, features, *, sample):
        z = self.layer(features)
        return Latent(z, mean=z)


class NoisyEvaluation(Plain):
    """Adds noise in evaluation mode too."""

    def forward(self, features, *, sample):
        return super().forward(features + 0.1 * torch.randn_like(features), sample=sample)


class Misshapen(Plain):
    """Returns a mean of another shape than it declares."""

    def forward(self, features, *, sample):
        z = self.layer(features)
        return Latent(z, mean=z[:, :2])
