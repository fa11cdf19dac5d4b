"""``batch_size=auto``: the smallest batch size at which training takes about the least time for a sample."""

from __future__ import annotations

import copy
import statistics
import time
from collections.abc import Mapping
from typing import Any

import lightning.pytorch as L
import torch

from aeframe.data.modality import Source
from aeframe.errors import AeframeError
from aeframe.experiment.objects import RunObjects
from aeframe.model.assembly import assemble
from aeframe.model.autoencoder import Autoencoder
from aeframe.training.optimizer_groups import OptimizerGroup, make_optimizer_groups
from aeframe.types import Batch, DataSpec, ForwardOutput, TrainingProgress

_SIZES = 16, 4096
"""The smallest and the largest size that is tried."""
_BATCHES_PER_EPOCH = 32
"""Sizes with fewer batches an epoch are not tried: the weights would take too few steps."""
_GAIN = 0.1
"""A size is large enough if no other takes less than this part less time for a sample."""
_REPEATS, _SECONDS = (3, 20), 0.2
"""The fewest and the most steps that are timed for a size, and after how long no further one begins."""


def fastest_batch_size(
    config: Mapping[str, Any], spec: DataSpec, train: Source, objects: RunObjects, world: int
) -> tuple[int, str]:
    """Return the batch size, and a sentence with the measured times.

    Training steps of a copy of the model are timed on the device of the run, for sizes that double until a sample takes
    no less time or the memory of the device is full. Of the sizes that are within a tenth of the fastest, the
    smallest is returned, since its epochs have most steps.

    Args:
        config: The config of the run.
        spec: What the model receives.
        train: The training samples.
        objects: What `aeframe.fit` received besides the config.
        world: Number of devices of the run.

    Raises:
        AeframeError: The run has several devices, whose measurements would differ.
    """
    if world > 1:
        raise AeframeError(
            f"batch_size=auto is measured on one device, found {world}; set batch_size to a number, such as the "
            "one that a run with trainer.devices=1 chooses, times the devices"
        )
    smallest, largest = _SIZES
    largest = max(smallest, min(largest, len(train) // _BATCHES_PER_EPOCH))
    device = L.Trainer(
        accelerator=config["trainer"]["accelerator"], devices=1, logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False,
    ).strategy.root_device  # fmt: skip
    # A copy, since `objects` may hold modules of the caller.
    model = copy.deepcopy(assemble(config, spec, modules=objects.modules)).to(device).train()
    groups = make_optimizer_groups(model, config["optimizer"], config["optimizers"], frozen=config["freeze"])
    times: dict[int, float] = {}
    size = smallest
    while size <= largest:
        rows = torch.arange(min(size, len(train)))
        try:
            times[size] = _step_seconds(model, groups, train.batch(rows).to(device)) / len(rows)
        except torch.OutOfMemoryError:
            break
        # Twice the size took longer for a sample: so will four times.
        if len(times) > 1 and times[size] > times[size // 2]:
            break
        size *= 2
    if not times:
        raise AeframeError(f"batch_size=auto found no memory for {smallest} samples; set a smaller batch_size")
    fastest = min(times.values())
    chosen = next(size for size, seconds in times.items() if seconds <= fastest / (1 - _GAIN))
    shown = ", ".join(f"{1e6 * seconds:,.3g} at {size}" for size, seconds in times.items())
    return chosen, f"batch_size={chosen}, by the microseconds of training for a sample: {shown}"


def _step_seconds(model: Autoencoder, groups: list[OptimizerGroup], batch: Batch) -> float:
    """Return the median time of a training step of all optimizer groups, after one that is not timed."""
    seconds: list[float] = []
    fewest, most = _REPEATS
    began = time.perf_counter()
    while len(seconds) <= most and (len(seconds) <= fewest or time.perf_counter() - began < _SECONDS):
        start = time.perf_counter()
        output: ForwardOutput = model(batch, num_samples=model.objective.num_samples)
        for group in groups:
            terms = group.terms(model, output, TrainingProgress(batch=1, planned=1))
            terms.total().mean().backward()
            group.optimizer.step()
            group.optimizer.zero_grad()
        if batch.x.device.type == "cuda":
            torch.cuda.synchronize(batch.x.device)
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds[1:])
