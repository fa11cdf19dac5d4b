"""Point latents, deterministic codes without a distribution: a linear layer, or the features themselves."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from aeframe.parts.activations import MakeActivation
from aeframe.parts.latents.base import LatentSpace
from aeframe.parts.networks.head import Head
from aeframe.parts.schedules import Constant, Schedule, fixed
from aeframe.types import Latent, Shape, TrainingProgress

NoiseScale = Literal["fixed", "uniform", "half_normal"]
"""The standard deviation of each sample's noise: ``fixed``: `noise`; ``uniform``: uniform in [0, `noise`];
``half_normal``: |N(0, noise²)|, as in RAE (Zheng et al. 2025, arXiv 2510.11690)."""


class PointLatent(LatentSpace):
    """A deterministic code, with Gaussian noise on z in training.

    The decoder then learns to decode codes near those of the data, such as the samples of a density of codes. Only z is
    noisy, not `Latent.mean`; evaluation and `Autoencoder.embed` have no noise.

    Args:
        noise: Standard deviation of the noise, in the units of z; 0 for none.
        noise_scale: How it is drawn for each sample: ``fixed``, ``uniform`` or ``half_normal`` (see `NoiseScale`).
    """

    noise_std: Tensor

    def __init__(self, *, noise: Schedule = fixed(0.0), noise_scale: NoiseScale = "fixed") -> None:
        super().__init__()
        self._noise, self.noise_scale = noise, noise_scale
        # Without noise no random numbers are drawn.
        self._has_noise = not (isinstance(noise, Constant) and noise.value == 0)
        # Evaluation does not use it, and it is set before each training batch: it has no place in a saved model.
        initial = noise.value if isinstance(noise, Constant) else 0.0
        self.register_buffer("noise_std", torch.tensor(initial), persistent=False)

    def on_progress(self, progress: TrainingProgress) -> None:
        if self._has_noise:
            self.noise_std.fill_(self._noise(progress))

    def latent_of_code(self, code: Tensor, *, sample: bool) -> Latent:
        """Return the latent of codes ``(B, *shape)``; in training, and with `sample`, z has noise."""
        z = self._with_noise(code) if sample and self.training and self._has_noise else code
        return Latent(z, mean=code)

    def _with_noise(self, code: Tensor) -> Tensor:
        std = self.noise_std.to(code.dtype)
        if self.noise_scale != "fixed":
            one_per_sample = code.new_empty(code.shape[0], *[1] * (code.ndim - 1))
            drawn = one_per_sample.uniform_() if self.noise_scale == "uniform" else one_per_sample.normal_().abs()
            std = std * drawn
        return code + std * torch.randn_like(code)


class Point(PointLatent):
    """A code of `dim` numbers (Hinton & Salakhutdinov 2006, Science 313).

    `spatial` keeps the positions of the features, so that z is ``(dim, *positions)``. `activation` bounds the code, for
    example sigmoid in a sparse autoencoder. `noise` and `noise_scale` add noise to z in training (see `PointLatent`).
    """

    def __init__(
        self,
        feature_shape: Shape,
        *,
        dim: int = 16,
        spatial: bool = False,
        activation: str | None = None,
        noise: Schedule = fixed(0.0),
        noise_scale: NoiseScale = "fixed",
    ) -> None:
        super().__init__(noise=noise, noise_scale=noise_scale)
        self.head = Head(feature_shape, dim, spatial=spatial)
        self.shape = self.head.shape
        self.activation = MakeActivation.named(activation or "identity")()

    def forward(self, features: Tensor, *, sample: bool) -> Latent:
        return self.latent_of_code(self.activation(self.head(features)), sample=sample)


class Identity(PointLatent):
    """The encoder's features ``(C, *positions)`` as the code, without a learned layer, for a frozen encoder.

    A learned layer could scale the code up until the noise on it is negligible; the identity cannot.

    Args:
        feature_shape: ``(C, *positions)``.
        norm: ``layer`` normalises the channels at each position to mean 0 and variance 1, without learned parameters,
            so that `noise` is relative to the features; ``none`` leaves them.
        noise: Standard deviation of Gaussian noise on z in training, in the units of z; 0 for none.
        noise_scale: How it is drawn for each sample: ``fixed``, ``uniform`` or ``half_normal`` (see `NoiseScale`).
    """

    def __init__(
        self,
        feature_shape: Shape,
        *,
        norm: Literal["none", "layer"] = "none",
        noise: Schedule = fixed(0.0),
        noise_scale: NoiseScale = "fixed",
    ) -> None:
        super().__init__(noise=noise, noise_scale=noise_scale)
        self.shape, self.norm = feature_shape, norm

    def forward(self, features: Tensor, *, sample: bool) -> Latent:
        if self.norm == "layer":
            features = F.layer_norm(features.movedim(1, -1), (features.shape[1],)).movedim(-1, 1)
        return self.latent_of_code(features, sample=sample)
