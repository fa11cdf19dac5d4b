"""`Model`: what a part may use of the autoencoder it belongs to."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from torch import Tensor, nn

from aeframe.types.batch import Batch
from aeframe.types.output import Latent
from aeframe.types.progress import TrainingProgress
from aeframe.types.spec import DataSpec, Shape


class LatentPart(Protocol):
    """The latent of a `Model`; see `aeframe.parts.LatentSpace`."""

    @property
    def shape(self) -> Shape: ...
    @property
    def space(self) -> str: ...
    @property
    def provides(self) -> frozenset[str]: ...
    @property
    def weights(self) -> Mapping[str, Callable[[TrainingProgress], float]]: ...
    @property
    def groups(self) -> tuple[int, ...]: ...
    @property
    def num_codes(self) -> int: ...
    @property
    def num_levels(self) -> int: ...
    def from_codes(self, codes: Tensor) -> Tensor: ...


class PriorPart(Protocol):
    """The prior of a `Model`; see `aeframe.parts.Prior`."""

    def log_prob(self, z: Tensor) -> Tensor: ...
    def sample(self, num: int) -> Tensor: ...
    def kl(self, latent: Latent) -> Tensor: ...


class LossPart(Protocol):
    """The loss of a `Model`; see `aeframe.parts.Loss`."""

    @property
    def unit(self) -> str: ...
    def __call__(self, output: Tensor, batch: Batch) -> Tensor: ...
    def mean(self, output: Tensor) -> Tensor: ...
    def visible(self, output: Tensor, batch: Batch) -> tuple[Tensor, Tensor]: ...


class CriticParts(Protocol):
    """The critics of a `Model`, by label; see `aeframe.parts.Critic`."""

    def __getitem__(self, label: str) -> Any: ...


class Model(Protocol):
    """The autoencoder as its own parts see it: `aeframe.model.autoencoder.Autoencoder` is one.

    Objectives, penalties, critics and samplers receive it. Parts are below the autoencoder in the layers, so they name
    this protocol and never the class.
    """

    training: bool

    @property
    def spec(self) -> DataSpec: ...
    @property
    def corruption(self) -> Callable[[Batch], Batch]: ...
    @property
    def encoder(self) -> nn.Module: ...
    @property
    def latent(self) -> LatentPart: ...
    @property
    def prior(self) -> PriorPart: ...
    @property
    def decoder(self) -> nn.Module: ...
    @property
    def loss(self) -> LossPart: ...
    @property
    def critics(self) -> CriticParts: ...
    def embed(self, batch: Batch, *, sample: bool = False, num_samples: int | None = None) -> Latent:
        """Return the latent of a batch, without corruption."""

    def decode(self, z: Tensor, batch: Batch | None = None, *, condition: Tensor | None = None) -> Tensor:
        """Return the decoder's output ``(B, outputs, *shape)`` of z ``(B, *z_shape)``."""
