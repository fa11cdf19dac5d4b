"""Make Lightning's Trainer: everything it would do a second time is switched off."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import lightning.pytorch as L
import torch
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.callbacks import Callback, EarlyStopping, ModelCheckpoint
from lightning.pytorch.strategies import DDPStrategy, Strategy

from aeframe.autoencoder import Autoencoder
from aeframe.errors import AeframeError
from aeframe.training.allocator import keep_freed_memory
from aeframe.training.interrupted import SaveOnTermination


def make_trainer(
    settings: Mapping[str, Any],
    *,
    checkpoints: Path,
    callbacks: list[Callback],
    monitor: str = "bound",
    patience: int | None,
    several_players: bool,
) -> L.Trainer:
    """Return a trainer for `AutoencoderModule`.

    Args:
        settings: As `TrainerSettings`.
        checkpoints: The folder that ``best.ckpt`` and ``last.ckpt`` go to.
        callbacks: Those of the run, beside checkpoints and early stopping.
        monitor: The number of the validation split that is lowest for the best weights.
        patience: Epochs without a better one after which the run stops; None never stops.
        several_players: A discriminator's step leaves the other parameters without gradients, which data parallel
            training must be told.

    Raises:
        AeframeError: Devices or a strategy that Lightning does not know, or that this machine has not.
    """
    if settings["allocator"]:
        keep_freed_memory()
    if settings["threads"] is not None:
        torch.set_num_threads(int(settings["threads"]))
    checkpoint = ModelCheckpoint(
        dirpath=checkpoints,
        filename="best",
        monitor=f"val/{monitor}",
        mode="min",
        save_top_k=1,
        save_last=True,
        save_on_train_epoch_end=True,
        enable_version_counter=False,
        auto_insert_metric_name=False,
    )
    own: list[Callback] = [checkpoint, SaveOnTermination(checkpoints / "last.ckpt")]
    if patience is not None:
        own.append(EarlyStopping(f"val/{monitor}", patience=patience, mode="min", check_on_train_epoch_end=True))
    try:
        return L.Trainer(
            accelerator=settings["accelerator"],
            devices=settings["devices"],
            num_nodes=settings["num_nodes"],
            strategy=_strategy(settings, several_players),
            precision=settings["precision"],
            # The clock ends the run: it knows of batches, and an epoch may end early.
            max_epochs=-1,
            callbacks=[*callbacks, *own],
            # Whoever opens the run folder sets `trainer.loggers`.
            logger=False,
            default_root_dir=checkpoints.parent,
            use_distributed_sampler=False,
            reload_dataloaders_every_n_epochs=1,
            num_sanity_val_steps=0,
            # A contractive penalty differentiates in evaluation too.
            inference_mode=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            log_every_n_steps=1,
        )
    except (MisconfigurationException, TypeError, ValueError) as error:
        # The first of its sentences; the others point to its documentation.
        said = " ".join(str(error).split()).partition(". ")[0].rstrip(".!")
        asked = " ".join(f"trainer.{name}={settings[name]}" for name in ("accelerator", "devices", "strategy"))
        raise AeframeError(f"Lightning cannot run with {asked}: {said}; choose what this machine has") from error


def _strategy(settings: Mapping[str, Any], several_players: bool) -> str | Strategy:
    chosen = str(settings["strategy"])
    parallel = int(settings["devices"]) * int(settings["num_nodes"]) > 1
    if chosen == "ddp" or (chosen == "auto" and parallel):
        return DDPStrategy(find_unused_parameters=several_players, gradient_as_bucket_view=True)
    return chosen


def compile_in_place(model: Autoencoder) -> None:
    """Compile encoder and decoder where they stand, so that no parameter changes its name."""
    model.encoder.compile()
    model.decoder.compile()
