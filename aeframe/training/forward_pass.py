"""`ForwardPass`: the forward pass of one training batch, and the loss terms of each optimizer group."""

from __future__ import annotations

from torch import Tensor

from aeframe.batch_noise import batch_of_all_devices
from aeframe.devices import LocalRows
from aeframe.model.autoencoder import Autoencoder
from aeframe.training.optimizer_groups import OptimizerGroup
from aeframe.training.sharding import ShardedParameters
from aeframe.types import Batch, ForwardOutput, LossTerms, TrainingProgress


class ForwardPass:
    """Compute the output of a model for a batch once, and from it the loss terms of each optimizer group.

    Sharded parameters can be used within `ShardedParameters.compute` only, and each backward pass frees them. Every
    group then has a pass of its own, of which the first one computes the output too.

    Args:
        model: The model, in training mode.
        batch: The batch, on the model's device.
        parameters: The parameters of the model, which may be sharded.
        rows: The rows of this device; None on one device.
    """

    def __init__(
        self, model: Autoencoder, batch: Batch, parameters: ShardedParameters, rows: LocalRows | None = None
    ) -> None:
        self._model, self._batch, self._parameters, self._rows = model, batch, parameters, rows
        self._num_samples = model.objective.num_samples
        self._output: ForwardOutput | None = None
        if not parameters.active:
            self._compute()

    def terms(self, group: OptimizerGroup, progress: TrainingProgress) -> LossTerms:
        """Return the terms of a group, with their graph."""
        # FSDP2 finds tensors in tuples and dicts, but not in a `LossTerms`.
        _, terms = self._parameters.compute(lambda: _with_tensors(self._terms(group, progress)))
        return terms

    def _terms(self, group: OptimizerGroup, progress: TrainingProgress) -> LossTerms:
        output = self._compute()
        with batch_of_all_devices(self._rows, num_samples=self._num_samples):
            return group.terms(self._model, output, progress)

    def _compute(self) -> ForwardOutput:
        if self._output is None:
            with batch_of_all_devices(self._rows, num_samples=self._num_samples):
                self._output = self._model(self._batch, num_samples=self._num_samples)
        return self._output


def _with_tensors(terms: LossTerms) -> tuple[dict[str, Tensor], LossTerms]:
    """Return the values of the terms, and the terms themselves with these values."""
    # FSDP2 warns of outputs that are views of another tensor.
    terms.raw.update({name: value.clone() for name, value in terms.raw.items()})
    return dict(terms.raw), terms
