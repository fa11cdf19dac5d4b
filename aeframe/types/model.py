"""`Model`: the attributes and methods of an autoencoder that its parts may use.

Its parts are the encoder, the latent space, the prior, the decoder, the loss and so on. The protocols ending in
``Part`` list the members of a part that other parts use.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from torch import Tensor, nn

from aeframe.types.batch import Batch
from aeframe.types.output import Latent
from aeframe.types.progress import TrainingProgress
from aeframe.types.spec import DataSpec, Shape


class LatentPart(Protocol):
    """The latent space of a `Model`; `aeframe.parts.LatentSpace` documents its members."""

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
    def num_continuous(self) -> int | None: ...
    @property
    def num_codes(self) -> int: ...
    @property
    def num_levels(self) -> int: ...
    def from_codes(self, codes: Tensor) -> Tensor: ...


class PriorPart(Protocol):
    """The prior of a `Model`; `aeframe.parts.Prior` documents its members."""

    def log_prob(self, z: Tensor) -> Tensor: ...
    def sample(self, num: int) -> Tensor: ...
    def kl(self, latent: Latent) -> Tensor: ...


class LossPart(Protocol):
    """The loss of a `Model`; `aeframe.parts.Loss` documents its members."""

    @property
    def unit(self) -> str: ...
    @property
    def by_position(self) -> bool: ...
    @property
    def any_length(self) -> bool: ...
    def __call__(self, output: Tensor, batch: Batch) -> Tensor: ...
    def mean(self, output: Tensor) -> Tensor: ...
    def masked_x_and_reconstruction(self, output: Tensor, batch: Batch) -> tuple[Tensor, Tensor]: ...


class CriticParts(Protocol):
    """The critics of a `Model` (networks trained next to it, such as a discriminator) by their label in the config."""

    def __getitem__(self, label: str) -> Any: ...


class Model(Protocol):
    """An autoencoder, as its objectives, penalties, critics and samplers receive it.

    `aeframe.model.autoencoder.Autoencoder` implements it. Parts import this protocol instead of the class, because
    ``aeframe.model`` is a layer above ``aeframe.parts``.
    """

    training: bool

    @property
    def spec(self) -> DataSpec:
        """The shape, domain and condition of the data."""

    @property
    def corruption(self) -> Callable[[Batch], Batch]:
        """Maps clean samples to the encoder's input in training."""

    @property
    def encoder(self) -> nn.Module:
        """Maps a batch to features ``(B, C, *positions)``."""

    @property
    def latent(self) -> LatentPart:
        """Maps features to a `Latent`."""

    @property
    def prior(self) -> PriorPart:
        """p(z)."""

    @property
    def decoder(self) -> nn.Module:
        """Maps `LatentSpace.decoder_input` of z to the parameters of the likelihood."""

    @property
    def loss(self) -> LossPart:
        """The reconstruction loss."""

    @property
    def critics(self) -> CriticParts:
        """The critics by label."""

    def encode_features(self, batch: Batch) -> Tensor:
        """Return the encoder's features ``(B, C, *positions)`` of a batch, with its condition, without corruption."""

    def embed(self, batch: Batch, *, sample: bool = False) -> Latent:
        """Return the latent codes of a batch, without corruption.

        With `sample`, z is drawn from the posterior; otherwise it is the mean.
        """

    def decode(self, z: Tensor, batch: Batch | None = None, *, condition: Tensor | None = None) -> Tensor:
        """Return ``(B, outputs, *shape)`` of z ``(B, *z_shape)``: the parameters of the likelihood of each element.

        `batch` has the clean samples of these z, for teacher forcing and for quantities of a sample that scale its
        output; None decodes new codes, which have no samples. `condition` ``(B, C)`` replaces the batch's condition.
        """
