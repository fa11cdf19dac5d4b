"""`WeightAverage`: a moving average of the weights, used for evaluation and the saved model.

The private ``_average_model`` and ``_swap_models`` of Lightning's `WeightAveraging` are used in this file only.
``tests/training/test_averaging.py`` names the version of Lightning.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import lightning.pytorch as L
import torch
from lightning.pytorch.callbacks import WeightAveraging
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.swa_utils import AveragedModel

from aeframe.errors import AeframeError
from aeframe.training.sharding import ShardedParameters, as_written, local, sharded_state


class WeightAverage(WeightAveraging):
    """Keep an exponential moving average of the parameters (Polyak & Juditsky 1992; decay as in Tarvainen & Valpola
    2017, arXiv 1703.01780); buffers are copied.

    It differs from Lightning's `EMAWeightAveraging` in three ways:

    - The decay of update t is the smaller of `decay` and ``(1 + t) / (10 + t)``, so that the initial weights soon lose
      their influence. The first update copies the weights.
    - It is updated after each step of the first optimizer, also if a call of `training_step` receives several batches.
    - It has the precision of the module.

    Args:
        decay: The decay of the average, in (0, 1).
    """

    # Allows the data module to pass several batches to one call of `training_step`.
    works_in_groups = True

    def __init__(self, decay: float) -> None:
        if not 0 < decay < 1:
            raise AeframeError(f"ema is a decay in (0, 1), found {decay}; set ema=0.999, or null for no average")
        super().__init__(use_buffers=False, multi_avg_fn=self._lerp)
        self.decay = decay
        self._num_updates = 0
        self._swapped = False

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Create the average as a copy of the module, in the precision of the Trainer."""
        if stage == "fit":
            # The method of Lightning's class warns that averages are not sharded, but `on_fit_start` shards this one.
            self._average_model = AveragedModel(pl_module, pl_module.device, multi_avg_fn=self._lerp)
            self._average_model.module = trainer.precision_plugin.convert_module(self._average_model.module)
            # torch reads this counter at every update; on the CPU that does not synchronize with the GPU.
            self._average_model.n_averaged = self._average_model.n_averaged.cpu()

    def on_fit_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Shard the average as the module, if that is sharded."""
        sharding = getattr(pl_module, "sharding", None)
        if isinstance(sharding, ShardedParameters) and sharding.active and self._average_model is not None:
            assert pl_module.device_mesh is not None
            average: Any = self._average_model.module
            average.sharding.begin(pl_module.device_mesh["data_parallel"])

    def on_save_checkpoint(self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]) -> None:
        """Store the average as ``state_dict`` and the weights as ``current_model_state``."""
        super().on_save_checkpoint(trainer, pl_module, checkpoint)
        checkpoint["state_dict"] = as_written(checkpoint["state_dict"], trainer.strategy)

    def on_load_checkpoint(self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]) -> None:
        """Restore the average and the weights."""
        if self._average_model is not None:
            average = sharded_state(checkpoint["state_dict"], self._average_model.module.state_dict())
            checkpoint = {**checkpoint, "state_dict": average}
            if "current_model_state" in checkpoint:
                current = sharded_state(checkpoint["current_model_state"], pl_module.state_dict())
                checkpoint["current_model_state"] = current
        super().on_load_checkpoint(trainer, pl_module, checkpoint)

    def on_before_zero_grad(self, trainer: L.Trainer, pl_module: L.LightningModule, optimizer: Optimizer) -> None:
        """Update the average after a step of the first optimizer.

        `on_train_batch_end` would update once for each call of `training_step`, which may receive several batches.
        """
        if optimizer is trainer.optimizers[0] and self._average_model is not None:
            self._average_model.update_parameters(pl_module)
            self._num_updates += 1
            self._latest_update_step = trainer.global_step

    def on_train_batch_end(self, *_: Any, **__: Any) -> None:
        """Do nothing: `on_before_zero_grad` updates the average."""

    def on_train_epoch_end(self, *_: Any, **__: Any) -> None:
        """Do nothing: `on_before_zero_grad` updates the average."""

    def on_validation_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Swap the average into the module for the evaluation."""
        super().on_validation_epoch_start(trainer, pl_module)
        self._swapped = self._average_model is not None

    def on_validation_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Swap the weights back into the module."""
        super().on_validation_epoch_end(trainer, pl_module)
        self._swapped = False

    def _swap_models(self, pl_module: L.LightningModule) -> None:
        """Swap the sharded weights, not those that were gathered for the evaluation."""
        if isinstance(sharding := getattr(pl_module, "sharding", None), ShardedParameters):
            sharding.release()
        super()._swap_models(pl_module)

    def restore_weights(self, pl_module: L.LightningModule) -> None:
        """Swap the weights back into the module after an interrupted validation."""
        if self._swapped:
            self._swap_models(pl_module)
            self._swapped = False

    def state_dict(self) -> dict[str, Any]:
        """Return the number of updates, on which the decay depends."""
        return {**super().state_dict(), "num_updates": self._num_updates}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the number of updates."""
        super().load_state_dict(state_dict)
        self._num_updates = state_dict["num_updates"]

    @torch.no_grad()
    def _lerp(self, averages: Sequence[Tensor], current: Sequence[Tensor], _: Any) -> None:
        """Move the averages towards the current parameters; called by Lightning's `WeightAveraging`."""
        decay = min(self.decay, (1 + self._num_updates) / (10 + self._num_updates))
        torch._foreach_lerp_([local(value) for value in averages], [local(value) for value in current], 1.0 - decay)
