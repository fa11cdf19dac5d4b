"""Make a Lightning Trainer from the settings of a run."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import lightning.pytorch as L
from lightning.fabric.plugins.environments.slurm import SLURMEnvironment
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.strategies import DDPStrategy, Strategy

from aeframe.errors import AeframeError
from aeframe.model.autoencoder import Autoencoder
from aeframe.training.checkpoint import DurableCheckpointIO

_OURS = ("compile", "allocator", "threads")
"""Settings of a run's trainer that are no arguments of Lightning's."""
_DEFAULTS: Mapping[str, Any] = {
    "num_sanity_val_steps": 0,
    # Some penalties compute gradients in evaluation too.
    "inference_mode": False,
    "enable_progress_bar": False,
    "enable_model_summary": False,
    # The data module divides each batch among the devices.
    "use_distributed_sampler": False,
}


def make_trainer(
    settings: Mapping[str, Any],
    *,
    folder: Path,
    callbacks: Sequence[Callback] = (),
    several_groups: bool = False,
    **arguments: Any,
) -> L.Trainer:
    """Return a Trainer that writes checkpoints atomically.

    Args:
        settings: ``trainer`` of a run's config: any argument of `L.Trainer`.
        folder: Lightning's default folder for files.
        callbacks: The callbacks of the run.
        several_groups: Whether the model has several optimizer groups: then a step leaves some parameters without
            gradients, which data-parallel training has to know.
        arguments: More arguments of `L.Trainer`, such as ``max_epochs``.

    Raises:
        AeframeError: Devices, a strategy or a value that Lightning does not know, or this machine does not have.
    """
    chosen = {**_DEFAULTS, **{name: value for name, value in settings.items() if name not in _OURS}, **arguments}
    plugins: list[Any] = [DurableCheckpointIO()]
    if SLURMEnvironment.detect():
        # Lightning's requeueing writes a checkpoint into the run folder, which a later test would restore.
        plugins.append(SLURMEnvironment(auto_requeue=False))
    try:
        with warnings.catch_warnings():
            # Refused below.
            warnings.filterwarnings("ignore", message=".*AMP with fp16 is not supported on CPU")
            trainer = L.Trainer(
                **{**chosen, "strategy": _strategy(chosen, several_groups)},
                callbacks=list(callbacks),
                # The workflow sets `trainer.loggers` when it opens the run folder.
                logger=False,
                default_root_dir=folder,
                plugins=plugins,
            )
    except (MisconfigurationException, TypeError, ValueError) as error:
        # The first sentence only: the others refer to Lightning's documentation.
        first = " ".join(str(error).split()).partition(". ")[0].rstrip(".!")
        named = " ".join(f"trainer.{name}={value}" for name, value in settings.items() if _is_chosen(name, value))
        raise AeframeError(f"Lightning cannot run with {named}: {first}; choose what this machine has") from error
    if chosen.get("precision") == "16-mixed" and trainer.strategy.root_device.type == "cpu":
        # Lightning would use bf16-mixed instead, against the config of the run.
        raise AeframeError("trainer.precision=16-mixed needs a GPU, found a CPU; set trainer.precision=bf16-mixed")
    return trainer


def _is_chosen(name: str, value: Any) -> bool:
    return name in ("accelerator", "devices", "strategy") or (name not in _OURS and value is not None)


def _strategy(settings: Mapping[str, Any], several_groups: bool) -> str | Strategy:
    """Return the strategy; ``ddp`` is set up for models with several optimizer groups."""
    chosen = settings.get("strategy", "auto")
    devices, nodes = settings.get("devices", 1), settings.get("num_nodes", 1)
    parallel = isinstance(devices, int) and devices * int(nodes) > 1
    if chosen == "ddp" or (chosen == "auto" and parallel):
        return DDPStrategy(find_unused_parameters=several_groups, gradient_as_bucket_view=True)
    return chosen


def compile_in_place(model: Autoencoder) -> None:
    """Compile encoder and decoder in place, so that the names of parameters do not change."""
    model.encoder.compile()
    model.decoder.compile()
