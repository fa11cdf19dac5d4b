"""Settings that are chosen from the number of training samples where a config leaves them out."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

CHOSEN = ("batch_size", "max_epochs")
"""Settings for which null means a choice by the data."""
AUTO = "auto"
"""The batch size that is chosen by measurement, see `aeframe.experiment.fastest_batch`."""
DEFAULT_EPOCHS = 50
_BATCHES = 1_000, 50_000
"""The fewest and the most batches of a run. Below, a network with default settings has hardly moved from its initial
weights: autoencoders of a few hundred rows need some hundred batches to reconstruct better than PCA. The most are an
hour or less for small networks; more epochs of millions of samples are of use to large ones only."""


def with_chosen(config: Mapping[str, Any], num_samples: int, world: int) -> tuple[dict[str, Any], list[str]]:
    """Return the config with the settings of `CHOSEN`, and a sentence for each that is not the usual one.

    Args:
        config: The config of a run.
        num_samples: Number of training samples.
        world: Number of devices.
    """
    # Imports torch, which the listings of settings do not need.
    from aeframe.data.plan import USUAL_BATCH_SIZE, default_batch_size

    config, notes = dict(config), []
    if config["batch_size"] is None:
        preferred = config["default_batch_size"]
        config["batch_size"] = size = default_batch_size(num_samples, world, preferred)
        if size != (preferred or USUAL_BATCH_SIZE):
            notes.append(f"batch_size={size}, because there are {_samples(num_samples)}")
    if config["max_epochs"] is None:
        # A batch size below 1 is an error of the data module.
        per_epoch = math.ceil(num_samples / max(1, config["batch_size"]))
        config["max_epochs"] = epochs = default_epochs(per_epoch, config["max_batches"])
        if epochs != DEFAULT_EPOCHS and config["max_batches"] is None:
            notes.append(f"max_epochs={epochs}, because {_samples(num_samples)} are {per_epoch} batches an epoch")
    return config, notes


def default_epochs(batches_per_epoch: int, max_batches: int | None = None) -> int:
    """Return the number of epochs where none is set: 50, but 1,000 to 50,000 batches, and at least one epoch.

    Args:
        batches_per_epoch: Batches in an epoch, rounded up.
        max_batches: The limit of batches that is set; the epochs then suffice for it.
    """
    if max_batches is not None:
        return math.ceil(max_batches / batches_per_epoch)
    fewest, most = _BATCHES
    return max(1, min(max(DEFAULT_EPOCHS, math.ceil(fewest / batches_per_epoch)), most // batches_per_epoch))


def is_left_out(name: str, value: Any) -> bool:
    """Return whether the value of a setting leaves the choice to the run."""
    return name in CHOSEN and (value is None or value == AUTO)


def stored_choices(config: Mapping[str, Any], read_stored: Callable[[], Mapping[str, Any]]) -> dict[str, Any]:
    """Return what a run has chosen from its data, for the settings that its command leaves out.

    Args:
        config: The config of the command.
        read_stored: Returns the config of the run; it is not called where the command leaves out nothing.
    """
    left_out = [name for name in CHOSEN if is_left_out(name, config[name])]
    stored = read_stored() if left_out else {}
    return {name: stored[name] for name in left_out}


def _samples(num: int) -> str:
    return f"{num:,} training samples"
