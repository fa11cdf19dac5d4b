"""`make_trainer`: build a Lightning Trainer from the settings of a run."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import lightning.pytorch as L
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.callbacks import Callback

from aeframe.errors import AeframeError, first_sentence
from aeframe.model.autoencoder import Autoencoder
from aeframe.training.checkpoint import DurableCheckpointIO
from aeframe.training.launchers import TIMEOUT, cluster_environment, with_devices
from aeframe.training.strategies import make_strategy

_NOT_LIGHTNING = ("compile", "allocator", "threads", "timeout")
"""Settings under ``trainer`` that are not arguments of `L.Trainer`."""
_DEFAULTS: Mapping[str, Any] = {
    "num_sanity_val_steps": 0,
    # Some penalties compute gradients during evaluation.
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
    model: Autoencoder | None = None,
    **arguments: Any,
) -> L.Trainer:
    """Return a Trainer that writes checkpoints atomically.

    Args:
        settings: The entry ``trainer`` of a run's config: settings of aeframe and any other argument of `L.Trainer`.
        folder: The default folder for files that Lightning writes.
        callbacks: The callbacks of the run.
        model: The model that is trained; on several devices the strategy depends on it.
        arguments: More arguments of `L.Trainer`, such as ``max_epochs``.

    Raises:
        AeframeError: Lightning rejects a value, or this machine lacks the devices.
    """
    settings = with_devices(settings)
    arguments = {
        **_DEFAULTS,
        **{name: value for name, value in settings.items() if name not in _NOT_LIGHTNING},
        **arguments,
    }
    strategy = make_strategy(
        arguments,
        model=model,
        timeout=timedelta(seconds=settings.get("timeout", TIMEOUT)),
    )
    plugins: list[Any] = [DurableCheckpointIO()]
    environment = cluster_environment()
    if environment is not None:
        plugins.append(environment)
    try:
        with warnings.catch_warnings():
            # This combination is an error below.
            warnings.filterwarnings("ignore", message=".*AMP with fp16 is not supported on CPU")
            trainer = L.Trainer(
                **{**arguments, "strategy": strategy},
                callbacks=list(callbacks),
                # The workflow sets `trainer.loggers` when it opens the run folder.
                logger=False,
                default_root_dir=folder,
                plugins=plugins,
            )
    except (MisconfigurationException, TypeError, ValueError) as error:
        given = " ".join(f"trainer.{name}={value}" for name, value in settings.items() if _is_given(name, value))
        raise AeframeError(
            f"Lightning cannot run with {given}: {first_sentence(error)}; choose what this machine has"
        ) from error
    if arguments.get("precision") == "16-mixed" and trainer.strategy.root_device.type == "cpu":
        # Lightning would use bf16-mixed instead, and the config of the run would be wrong.
        raise AeframeError("trainer.precision=16-mixed needs a GPU, found a CPU; set trainer.precision=bf16-mixed")
    return trainer


def _is_given(name: str, value: Any) -> bool:
    """Return whether the message of an error should list the setting: devices, and what the user may have set."""
    return name in ("accelerator", "devices", "strategy") or (name not in _NOT_LIGHTNING and value is not None)


def compile_in_place(model: Autoencoder) -> None:
    """Compile encoder and decoder in place, so that the names of parameters do not change.

    On several devices each draws its own random numbers within them, such as dropout.
    """
    model.encoder.compile()
    model.decoder.compile()
    model.is_compiled = True
