"""A sampler that draws from a second VAE, fitted to the training codes."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from aeframe.errors import AeframeError
from aeframe.parts.corruptions import NoCorruption
from aeframe.parts.gradient_descent import minimise, random_batches
from aeframe.parts.latents.gaussian import Gaussian
from aeframe.parts.losses.likelihoods import Gaussian as GaussianLoss
from aeframe.parts.networks.mlp import MLPDecoder, MLPEncoder
from aeframe.parts.priors.normal import StandardNormal
from aeframe.parts.samplers.base import Sampler, check_fitted
from aeframe.tensors import per_sample
from aeframe.types import Batch, Domain, Model


class TwoStageSampler(Sampler):
    """Draws from a second, small VAE that is trained on the codes (Dai & Wipf 2019, arXiv 1903.05789).

    The distribution of the codes is not the prior. But unlike data, codes fill all dimensions of z, so a second VAE
    with as many latent dimensions can model them. The noise of its decoder is learned and is part of the samples.
    Codes are standardised first. The paper trains on samples of the first posterior; here, as for all samplers, the VAE
    is trained on the posterior means.

    Args:
        model: A trained model; its z is flattened.
        hidden: Units of the second encoder's dense layers; the decoder has them in reverse.
        steps: Number of training batches.
        batch_size: Codes in a batch, drawn with replacement.
        lr: Initial learning rate of Adam; it decays to 0 along a cosine.
    """

    requires_fit = True
    center: Tensor
    """``(D,)``: the mean of the training codes, each flattened to D numbers."""
    scale: Tensor
    """``(D,)``: the standard deviation of the codes; 0 before the fit."""

    def __init__(
        self,
        model: Model,
        *,
        hidden: tuple[int, ...] = (128, 128),
        steps: int = 2000,
        batch_size: int = 128,
        lr: float = 3e-3,
    ) -> None:
        super().__init__()
        if steps < 1 or batch_size < 1:
            raise AeframeError(
                f"sampler two_stage needs steps and batch_size of at least 1, found {steps} and {batch_size}"
            )
        self.dim = math.prod(model.latent.shape)
        self.hidden, self.steps, self.batch_size, self.lr = hidden, steps, batch_size, lr
        self.second = _SecondStage(self.dim, hidden)
        self.register_buffer("center", torch.zeros(self.dim))
        self.register_buffer("scale", torch.zeros(self.dim))

    def fit(self, z: Tensor, codes: Tensor | None) -> None:
        rows = z.flatten(1).float()
        if len(rows) < 2:
            raise AeframeError(f"sampler two_stage needs at least 2 codes to fit, found {len(rows)}")
        center, scale = rows.mean(0), rows.std(0)
        # A constant dimension is not scaled.
        scale = scale.where(scale > 0, 1.0)
        rows = (rows - center) / scale
        second = _SecondStage(self.dim, self.hidden).to(rows.device)
        optimizer = torch.optim.Adam(second.parameters(), lr=self.lr)
        minimise(
            module=second,
            loss=second,
            batches=random_batches(rows, self.batch_size, self.steps),
            optimizer=optimizer,
            schedule=torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, self.steps),
        )
        self.second.load_state_dict(second.state_dict())
        self.center.copy_(center)
        self.scale.copy_(scale)

    def sample(self, model: Model, num: int) -> Tensor:
        check_fitted("two_stage", self.scale)
        z = self.center + self.scale * self.second.sample(num)
        return z.reshape(num, *model.latent.shape)


class _SecondStage(nn.Module):
    """A VAE of vectors ``(B, D)`` with D latent dimensions."""

    def __init__(self, dim: int, hidden: tuple[int, ...]) -> None:
        super().__init__()
        self.encoder = MLPEncoder((dim,), Domain("real"), NoCorruption(), hidden=hidden)
        self.latent = Gaussian(self.encoder.out_shape, dim=dim)
        self.prior = StandardNormal(self.latent.shape)
        self.decoder = MLPDecoder(self.latent.shape, (1, dim), hidden=hidden[::-1])
        # With an initial standard deviation of 1, that of the codes, training would stay at their mean.
        self.loss = GaussianLoss((dim,), Domain("real"), variance="shared", scale=0.2)

    def forward(self, rows: Tensor) -> Tensor:
        """Return ``(B,)``: the negative evidence lower bound in nats."""
        batch = Batch(rows)
        latent = self.latent(self.encoder(batch), sample=True)
        loss: Tensor = self.loss(self.decoder(latent.z), batch)
        return loss + per_sample(self.prior.kl(latent))

    def sample(self, num: int) -> Tensor:
        """Draw ``(num, D)``, including the decoder's noise."""
        return self.loss.sample(self.decoder(self.prior.sample(num)))
