"""Critics of z: discriminators between two sets of codes."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from aeframe.parts.activations import MakeActivation
from aeframe.parts.critics.base import Critic
from aeframe.parts.networks.mlp import dense_layers
from aeframe.parts.objectives.base import gather_rows
from aeframe.tensors import at_least_float32
from aeframe.types import ForwardOutput, LossTerms, Model, Shape, TrainingProgress


class DiscriminatorZ(Critic):
    """A classifier of codes against draws from the prior (AAE: Makhzani et al. 2016, arXiv 1511.05644).

    Its loss terms are cross-entropies in nats: ``real`` of draws from the prior (one for each sample of the batch),
    ``fake`` of the codes.

    Args:
        hidden: Sizes of the dense layers.
        activation: Activation between the layers; null takes the model's.
    """

    def __init__(
        self, z_shape: Shape, *, hidden: tuple[int, ...] = (256, 256), activation: MakeActivation | None = None
    ) -> None:
        super().__init__()
        sizes = [math.prod(z_shape), *hidden]
        self.layers = nn.Sequential(
            nn.Flatten(), dense_layers(sizes, activation, norm=False, dropout=0.0), nn.Linear(sizes[-1], 1)
        )

    def logit(self, z: Tensor) -> Tensor:
        """Return ``(B,)``: the logit of the probability that z ``(B, *z_shape)`` is real, not the code of a sample."""
        logit: Tensor = self.layers(at_least_float32(z))
        return logit.squeeze(1)

    def terms(self, model: Model, out: ForwardOutput, progress: TrainingProgress) -> LossTerms:
        with torch.no_grad():
            real = self.real_samples(model, out.latent.z)
        return LossTerms().add("real", F.softplus(-self.logit(real))).add("fake", F.softplus(self.logit(out.latent.z)))

    def real_samples(self, model: Model, z: Tensor) -> Tensor:
        """Return the samples of the class "real", as many as there are codes z ``(B, *z_shape)``."""
        return model.prior.sample(len(z))


class PermutedCodes(DiscriminatorZ):
    """A classifier of codes against codes with independent dimensions (FactorVAE: Kim & Mnih 2018, arXiv 1802.05983).

    Permuting each dimension over the batch makes the dimensions independent. The paper permutes a second batch; here it
    is the same batch.

    Args:
        hidden: Sizes of the dense layers.
        activation: Activation between the layers; null takes the model's.
    """

    batch_terms = frozenset({"real"})

    def real_samples(self, model: Model, z: Tensor) -> Tensor:
        """Return the codes with each dimension permuted over the batch of all devices."""
        all_codes, local = gather_rows(z)
        # The order of random keys is a random permutation, here one for each dimension.
        keys, _ = gather_rows(torch.rand_like(all_codes[local]))
        return all_codes.gather(0, keys.argsort(0))[local]
