"""`FeatureSpace`: numbers in which sets of samples are compared, and the principal components of core."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from aeframe.errors import AeframeError
from aeframe.evaluation.principal_directions import principal_directions

if TYPE_CHECKING:
    from aeframe.data.modality import Modality
    from aeframe.types import DataSpec


class FeatureSpace(ABC):
    """Maps samples to numbers in which two sets of them are compared, such as those of a Fréchet distance.

    Positional arguments of the constructor without a default are injected: `modality` and `spec` of the model. Raise an
    `AeframeError` there for data that the space is not made for.
    """

    @abstractmethod
    def features(self, x: Tensor) -> Tensor:
        """Return the features ``(N, F)`` of samples ``(N, *shape)`` in the range of prepared data.

        Masked elements are 0, in real samples and in generated ones.
        """

    def fit(self, x: Tensor) -> None:
        """Compute what `features` needs from training samples ``(N, *shape)``. The default does nothing."""

    @property
    def label(self) -> str:
        """What follows the registered name in results, such as the number of components; empty by default."""
        return ""


class ReducedSpace(FeatureSpace):
    """A feature space of many numbers, reduced to principal components of training samples; subclass `raw`.

    The components are divided by one number, so that the variances of the training samples sum to 1: a squared distance
    is a fraction of that variance.

    Args:
        components: Number of components.
        standardize: Divide each raw feature by its standard deviation first, for features of different units.
    """

    def __init__(self, *, components: int = 32, standardize: bool = False) -> None:
        if components < 1:
            raise AeframeError(f"a feature space takes at least 1 of components, found {components}")
        self.components, self.standardize = components, standardize
        self._mean = self._scale = self._directions = torch.empty(0)

    @abstractmethod
    def raw(self, x: Tensor) -> Tensor:
        """Return many numbers ``(N, R)`` of samples ``(N, *shape)``."""

    @property
    def label(self) -> str:
        return str(self._directions.shape[1])

    def fit(self, x: Tensor) -> None:
        raw = self.raw(x).float().cpu()
        self._mean, self._scale = raw.mean(0), raw.new_ones(raw.shape[1])
        if self.standardize:
            deviation = raw.std(0)
            self._scale = torch.where(deviation > 0, deviation, 1.0)
        centred = (raw - self._mean) / self._scale
        found = principal_directions(centred, self.components)
        self._directions = found.vectors.T / found.scales.square().sum().clamp_min(1e-12).sqrt()

    def features(self, x: Tensor) -> Tensor:
        return ((self.raw(x).float().cpu() - self._mean) / self._scale) @ self._directions


class PrincipalComponents(ReducedSpace):
    """Principal components of the elements of the samples.

    For numbers whose position has a meaning: not for categories, such as tokens, and not for unordered elements.

    Args:
        modality: Kind of data of the model.
        spec: Shape and domain of the samples.
        components: Number of components.
        standardize: Divide each element by its standard deviation first, for elements of different units.
    """

    def __init__(self, modality: Modality, spec: DataSpec, *, components: int = 32, standardize: bool = False) -> None:
        super().__init__(components=components, standardize=standardize)
        if spec.domain.has_classes or spec.unordered:
            found = "unordered elements" if spec.unordered else "categories"
            names = ", ".join(type(modality).feature_spaces)
            raise AeframeError(
                f"feature space pca is for numbers at fixed positions, found {found}; feature spaces of modality "
                f"{type(modality).__name__} are {names or 'not known'}"
            )

    def raw(self, x: Tensor) -> Tensor:
        return x.flatten(1)


__all__ = ["FeatureSpace", "PrincipalComponents", "ReducedSpace"]
