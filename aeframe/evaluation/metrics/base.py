"""`ModelMetric`: base class of the metrics of a model on held-out data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor
from torchmetrics import Metric

from aeframe.data.modality import Source
from aeframe.evaluation.metric_table import MetricTable
from aeframe.types import Batch, ForwardOutput, Latent

if TYPE_CHECKING:
    from aeframe.model.autoencoder import Autoencoder

SUM_DTYPE = torch.float32 if torch.backends.mps.is_available() else torch.float64
"""Dtype of sums over samples. In double precision a sum is nearly independent of the batch size; Apple's GPUs have
single precision only.
"""


@dataclass(frozen=True, slots=True)
class Baseline:
    """What a number of a simple method is compared with."""

    metric: str
    """The metric of the model, such as ``mse``."""
    method: str
    """The method in words, such as ``the last frame, repeated``."""
    higher_is_better: bool = False


class ModelMetric(Metric):
    """A torchmetrics `Metric` that is updated with the forward output of each held-out batch.

    States should be sums over samples, which torchmetrics adds up over devices.
    """

    full_state_update = False
    sampled: ClassVar[bool] = False
    """Which z the metric is computed from. False: the mean of the posterior. True, for expectations over the posterior:
    z sampled from it, with as many importance samples as the objective uses.
    """

    unit: ClassVar[str] = ""
    """The unit of its value, for the table of a run: ``nats``, ``dB``, ``units of x``; empty without one."""
    by_position: ClassVar[bool] = False
    """Whether it compares each element of x with the element of the reconstruction at the same position. Such a metric
    is left out for unordered elements (`DataSpec.unordered`), and refused if the config names it.
    """

    uses_training_samples: ClassVar[bool] = False
    """Whether `update_training` is to receive samples of the training split before a test."""

    baselines: ClassVar[Mapping[str, Baseline]] = MappingProxyType({})
    """Which of its numbers are those of a simple method, by name. A run names each that is better than the model."""

    test_only: ClassVar[bool] = False
    """Whether it is left out of the validation after each epoch, since it costs as much as a forward pass."""

    @classmethod
    def applies(cls, model: Autoencoder) -> bool:
        """Return whether the metric is defined for `model`, such as codebook usage for a quantised latent.

        Metrics that are not defined are left out.
        """
        return True

    def update(self, model: Autoencoder, out: ForwardOutput) -> None:
        """Add one batch; its reconstruction is ``model.loss.mean(out.output)``."""
        raise NotImplementedError

    def start_training_samples(self) -> None:
        """Clear what `update_training` has stored; `reset` keeps it."""

    def update_training(self, model: Autoencoder, batch: Batch, latent: Latent) -> None:
        """Add one batch of training samples, with their latent; for `uses_training_samples`.

        Every device receives the same samples, so what is stored is not to be summed over devices.
        """

    def read_training_split(self, train: Source, *, seed: int) -> None:
        """Read what the metric needs of the whole training split, before a test; nothing by default.

        It is for baselines that a subset would make worse than they are. Every device reads the same split.
        """

    def compute(self) -> Tensor | dict[str, Tensor]:
        """Return one scalar, which is logged under the metric's name, or several by name."""
        raise NotImplementedError

    def table(self) -> MetricTable | None:
        """Return values of the parts of a sample, such as its columns or channels; None, the default, without any.

        Called after `compute`, which stores what it needs of the sums of all devices.
        """
        return None

    def protocol(self) -> str:
        """Return in words how `compute` has measured: on how many samples, by which method, or why on none.

        Empty, the default, for metrics of every sample that have no choices.
        """
        return ""
