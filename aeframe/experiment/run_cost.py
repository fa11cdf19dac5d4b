"""``dry_run=true``: what a run would cost, from a few of its own batches, before it is trained."""

from __future__ import annotations

import itertools
import math
import statistics
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning.pytorch as L
import torch
from lightning.pytorch.callbacks import Callback
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks
from torch.utils.flop_counter import FlopCounterMode

from aeframe.errors import AeframeError
from aeframe.evaluation.evaluator import measure
from aeframe.experiment.objects import RunObjects
from aeframe.experiment.run_setup import RunSetup, build_run
from aeframe.training.launchers import num_devices, with_devices
from aeframe.training.process_state import run_process
from aeframe.training.trainer import compile_in_place, make_trainer
from aeframe.types import Batch, TrainingProgress

_WARM_UP = 3
"""Batches that are not timed: the first ones allocate memory and build caches."""
_BATCHES = 5, 200
"""The fewest and the most batches that are timed."""
_SECONDS = 3.0
"""Batches are timed for so long."""
_VALIDATION_BATCHES = 3
_MIB = 2**20


@dataclass(frozen=True, slots=True)
class Cost:
    """What a run costs, by the time of a few batches on this machine."""

    num_parameters: int
    parameter_bytes: int
    optimizer_bytes: int
    """The state of all optimizers, such as the moments of Adam."""
    activation_bytes: int
    """Tensors that a training step on one batch keeps for its gradient, without the parameters."""
    flops: int
    """Floating-point operations of a training step for each sample: multiplications and additions of matrix products
    and convolutions, forward and backward."""
    batch_size: int
    batches: int
    """Training batches in an epoch."""
    epochs: float
    """Epochs of the run, also a fraction with ``max_batches``."""
    batch_seconds: float
    validation_seconds: float

    @property
    def epoch_seconds(self) -> float:
        """The time of an epoch with its validation, without its checkpoint."""
        return self.batches * self.batch_seconds + self.validation_seconds

    def table(self) -> Table:
        """Return the table that the command prints."""
        table = Table(title="cost of this run", title_style="bold", show_header=False, box=None)
        table.add_row("parameters", f"{self.num_parameters:,} ({_size(self.parameter_bytes)})")
        table.add_row("optimizer state", _size(self.optimizer_bytes))
        table.add_row("activations", f"{_size(self.activation_bytes)} for a batch of {self.batch_size}")
        table.add_row("arithmetic", f"{self.flops / 1e6:,.2f} million operations a sample, forward and backward")
        table.add_row("batch", f"{1000 * self.batch_seconds:.3g} ms")
        table.add_row("epoch", f"{_duration(self.epoch_seconds)}: {self.batches:,} batches, with validation")
        table.add_row("training", f"{_duration(self.epochs * self.epoch_seconds)}: {self.epochs:,.3g} epochs")
        return table


def print_cost(config: Mapping[str, Any]) -> None:
    """Print what the run of a config would cost; nothing is written.

    Raises:
        AeframeError: The run has an error that the user can correct, or is one of several devices.
    """
    cost = measure_cost(config)
    Console(stderr=True).print(cost.table())


def measure_cost(config: Mapping[str, Any], objects: RunObjects | None = None) -> Cost:
    """Return what a run would cost: build it, and train it for at most a few seconds in memory.

    Args:
        config: As `aeframe.experiment.compose.compose` returns it.
        objects: What `aeframe.fit` received besides the config.

    Raises:
        AeframeError: The run has an error that the user can correct, or is one of several devices.
    """
    devices = with_devices(config["trainer"])
    if num_devices(devices) * devices["num_nodes"] > 1:
        raise AeframeError(
            f"dry_run measures one device, found trainer.devices={devices['devices']}; set trainer.devices=1 and the "
            "batch_size of one device"
        )
    with run_process(config["trainer"]):
        setup = build_run(config, objects=objects)
        batches, size = setup.data.batches_per_epoch(), setup.config["batch_size"]
        if setup.config["trainer"]["compile"]:
            compile_in_place(setup.model)
        timer = _Timer()
        with tempfile.TemporaryDirectory() as folder:
            trainer = _trainer(setup, Path(folder), timer)
            trainer.fit(setup.module, datamodule=setup.data)
        parameters = list(setup.model.parameters())
        states = [each for group in setup.module.groups for each in group.optimizer.state.values()]
        batch = setup.splits.train.batch(torch.arange(min(size, len(setup.splits.train)))).to(parameters[0].device)
        limit = setup.config["max_batches"]
        return Cost(
            num_parameters=sum(parameter.numel() for parameter in parameters),
            parameter_bytes=_bytes_of(parameters),
            optimizer_bytes=_bytes_of(
                [value for state in states for value in state.values() if torch.is_tensor(value)]
            ),
            activation_bytes=_activation_bytes(setup, batch),
            flops=round(_flops(setup, batch) / len(batch)),
            batch_size=size,
            batches=batches,
            epochs=min(setup.config["max_epochs"], math.inf if limit is None else limit / batches),
            batch_seconds=timer.batch_seconds(),
            validation_seconds=_validation_seconds(setup, size),
        )


class _Timer(Callback):
    """Record the time of each batch, and end after a few seconds."""

    def __init__(self) -> None:
        self.times: list[float] = []

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Record the time at the end of a batch."""
        if pl_module.device.type == "cuda":
            torch.cuda.synchronize(pl_module.device)
        self.times.append(time.perf_counter())
        timed = len(self.times) - _WARM_UP
        fewest, most = _BATCHES
        is_long = timed > 0 and self.times[-1] - self.times[_WARM_UP - 1] >= _SECONDS
        if timed >= most or (timed >= fewest and is_long):
            pl_module.max_batches = len(self.times)  # type: ignore[assignment]

    def batch_seconds(self) -> float:
        """Return the mean time of the timed batches; with very few, of all but the first."""
        timed = self.times[_WARM_UP - 1 :] if len(self.times) > _WARM_UP else self.times
        gaps = [after - before for before, after in itertools.pairwise(timed)]
        return statistics.fmean(gaps) if gaps else math.nan


def _trainer(setup: RunSetup, folder: Path, timer: Callback) -> L.Trainer:
    settings = {**setup.config["trainer"], "limit_val_batches": 0}
    epochs = math.ceil((_WARM_UP + _BATCHES[1]) / setup.data.batches_per_epoch())
    return make_trainer(
        settings, folder=folder, callbacks=[timer], model=setup.model, max_epochs=epochs, enable_checkpointing=False
    )


def _validation_seconds(setup: RunSetup, size: int) -> float:
    """Return the time to validate the whole split, from a few batches of it."""
    validation, device = setup.splits.validation, next(setup.model.parameters()).device
    setup.evaluator.validates = True
    rows = torch.arange(len(validation)).split(size)
    progress = TrainingProgress(batch=1, planned=1)
    measure(setup.evaluator, [validation.batch(rows[0])], progress, device)
    setup.evaluator.reset()
    began = time.perf_counter()
    measure(setup.evaluator, (validation.batch(part) for part in rows[:_VALIDATION_BATCHES]), progress, device)
    used = time.perf_counter() - began
    return used * len(rows) / min(len(rows), _VALIDATION_BATCHES)


def _loss(setup: RunSetup, batch: Batch) -> Tensor:
    model = setup.model.train()
    return model.terms(model(batch), TrainingProgress(batch=1, planned=1)).total().mean()


def _flops(setup: RunSetup, batch: Batch) -> int:
    """Return the operations of the forward and the backward pass of the autoencoder; critics are left out."""
    with FlopCounterMode(display=False) as counter:
        _loss(setup, batch).backward()
    setup.model.zero_grad(set_to_none=True)
    return int(counter.get_total_flops())


def _activation_bytes(setup: RunSetup, batch: Batch) -> int:
    """Return the bytes of the tensors that the forward pass keeps for the backward pass; each memory once."""
    own = {parameter.untyped_storage().data_ptr() for parameter in setup.model.parameters()}
    kept: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with saved_tensors_hooks(pack, lambda tensor: tensor):
        _loss(setup, batch)
    return sum(kept.values())


def _bytes_of(tensors: list[nn.Parameter] | list[Tensor]) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


def _size(num_bytes: float) -> str:
    return f"{num_bytes / _MIB:,.3g} MiB"


def _duration(seconds: float) -> str:
    """Return a time in seconds, minutes or hours, such as ``4.2 min``."""
    for unit, length in (("h", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.3g} {unit}"
    return f"{seconds:.3g} s"
