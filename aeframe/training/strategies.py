"""The strategies of a run by name: DDP, and FSDP2 by Lightning's `ModelParallelStrategy`."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

from lightning.fabric.plugins.io.torch_io import TorchCheckpointIO
from lightning.pytorch.core.optimizer import LightningOptimizer
from lightning.pytorch.strategies import DDPStrategy, ModelParallelStrategy, Strategy
from torch import Tensor
from torch.optim import Optimizer

from aeframe.errors import AeframeError
from aeframe.model.autoencoder import Autoencoder
from aeframe.training.checkpoint import DurableCheckpointIO
from aeframe.training.launchers import num_devices
from aeframe.training.shard_reader import read_shards, remove_unused_shards
from aeframe.training.shard_writer import has_sharded_tensors, new_shard_folder, write_shards
from aeframe.training.sharding import (
    ShardedParameters,
    as_written,
    check_shardable,
    empty_like,
    load_optimizer_state,
    sharded_state,
)


class FSDP2Strategy(ModelParallelStrategy):
    """Shard weights, gradients and optimizer states over all devices (FSDP2), and write sharded checkpoints.

    `AutoencoderModule` shards itself in the hook ``configure_model``, over ``device_mesh["data_parallel"]``. A
    checkpoint is one file by the first process, and a file of each process with its share of the sharded tensors (see
    `aeframe.training.shard_writer`). Runs with any strategy and number of devices can resume it.

    Args:
        num_devices: The number of devices of the run, on all machines.
        timeout: The time after which a device that waits for another one raises an error.
        save_distributed_checkpoint: Whether each process writes its share. If not, a checkpoint is one file, for which
            the first process gathers all tensors.
    """

    def __init__(self, num_devices: int, timeout: timedelta, *, save_distributed_checkpoint: bool = True) -> None:
        super().__init__(
            data_parallel_size=num_devices, tensor_parallel_size=1, save_distributed_checkpoint=False, timeout=timeout
        )
        # False in Lightning's class, which would write a folder with a pickled index.
        self.writes_shards = save_distributed_checkpoint

    def setup_environment(self) -> None:
        """Write checkpoints atomically, unless the Trainer has another way to write them."""
        if type(self.checkpoint_io) is TorchCheckpointIO:
            self.checkpoint_io = DurableCheckpointIO()
        super().setup_environment()

    @property
    def lightning_restore_optimizer(self) -> bool:
        """Whether Lightning calls `load_optimizer_state_dict`."""
        return True

    def lightning_module_state_dict(self) -> dict[str, Any]:
        """Return the tensors of the module; every process must call this."""
        module = self.lightning_module
        assert module is not None
        if isinstance(sharding := getattr(module, "sharding", None), ShardedParameters):
            # Tensors that were gathered for an evaluation may be older than the sharded ones.
            sharding.release()
        state: dict[str, Any] = as_written(module.state_dict(), self)
        return state

    def optimizer_state(self, optimizer: Optimizer) -> dict[str, Any]:
        """Return the state of an optimizer, with the names of one device; every process must call this."""
        inner = optimizer.optimizer if isinstance(optimizer, LightningOptimizer) else optimizer
        state: dict[str, Any] = as_written(inner.state_dict(), self)
        return state

    def save_checkpoint(
        self, checkpoint: dict[str, Any], filepath: str | Path, storage_options: Any | None = None
    ) -> None:
        """Write the shards of a checkpoint, and then its file; every process must call this."""
        path = Path(filepath)
        folder = None
        if has_sharded_tensors(checkpoint):
            if self.is_global_zero and isinstance(self.checkpoint_io, DurableCheckpointIO):
                # Those of a write that was interrupted may fill the disk.
                remove_unused_shards(path.parent)
            folder = Path(self.broadcast(str(new_shard_folder(path))))
            checkpoint = write_shards(checkpoint, folder, path)
        try:
            super(ModelParallelStrategy, self).save_checkpoint(checkpoint, path, storage_options)
        except BaseException:
            if folder is not None:
                shutil.rmtree(folder, ignore_errors=True)
            raise

    def load_checkpoint(self, checkpoint_path: str | Path, weights_only: bool | None = None) -> dict[str, Any]:
        """Read a checkpoint: every process reads the file, and its share of the sharded tensors."""
        # Lightning's class would read the weights into the module here, and rename the parameters of the optimizers.
        if isinstance(self.checkpoint_io, DurableCheckpointIO):
            return self.checkpoint_io.load_checkpoint(checkpoint_path, allocate=self._allocate)
        checkpoint = super(ModelParallelStrategy, self).load_checkpoint(checkpoint_path, weights_only)
        return read_shards(checkpoint, Path(checkpoint_path), self._allocate)

    def _allocate(self, value: Tensor) -> Tensor:
        """Return a tensor without values, sharded as the parameters of the module if those are."""
        module = self.lightning_module
        assert module is not None
        return empty_like(value, module.parameters())

    def load_model_state_dict(self, checkpoint: Mapping[str, Any], strict: bool = True) -> None:
        """Load the weights of a checkpoint; those that are not sharded yet are."""
        module = self.lightning_module
        assert module is not None
        module.load_state_dict(sharded_state(checkpoint["state_dict"], module.state_dict()), strict=strict)

    def load_optimizer_state_dict(self, checkpoint: Mapping[str, Any]) -> None:
        """Load the states of the optimizers of a checkpoint; those that are not sharded yet are."""
        for optimizer, state in zip(self.optimizers, checkpoint["optimizer_states"], strict=True):
            load_optimizer_state(optimizer, state)


def make_strategy(arguments: Mapping[str, Any], *, model: Autoencoder | None, timeout: timedelta) -> str | Strategy:
    """Return the strategy of a run: DDP or FSDP2 on several devices, else the single device.

    Args:
        arguments: Arguments of the Trainer: ``strategy``, ``accelerator``, ``devices``, ``num_nodes``, ``precision``.
        model: The model that is trained.
        timeout: The time after which a device that waits for another one raises an error.

    Raises:
        AeframeError: A combination that is not supported, or a parameter that cannot be sharded.
    """
    name = arguments.get("strategy", "auto")
    settings = {"accelerator": "auto", "devices": 1, "num_nodes": 1, **arguments}
    total = num_devices(settings) * int(settings["num_nodes"])
    if name == "fsdp2":
        for setting, value, remedy in _NOT_SHARDED:
            if arguments.get(setting) == value:
                raise AeframeError(f"trainer.strategy=fsdp2 does not support trainer.{setting}={value}; {remedy}")
        # On one device there is nothing to divide.
        if total == 1:
            return "auto"
        if model is not None:
            check_shardable(model)
        return FSDP2Strategy(total, timeout)
    if name in ("ddp", "ddp_spawn") or (name == "auto" and total > 1):
        # With critics, a backward pass leaves the parameters of other optimizer groups without gradients.
        several_groups = model is not None and len(model.critics) > 0
        return DDPStrategy(find_unused_parameters=several_groups, gradient_as_bucket_view=True, timeout=timeout)
    return str(name)


_NOT_SHARDED = (
    ("precision", "16-mixed", "set trainer.precision=bf16-mixed"),
    ("sync_batchnorm", True, "leave it out, or set trainer.strategy=ddp"),
)
"""Settings that FSDP2 does not support, and what to do."""
