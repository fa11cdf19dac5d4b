"""Refuse the settings of Hydra that have no effect, since a run chooses its folder and writes its files itself."""

from __future__ import annotations

from typing import Any

from omegaconf import DictConfig, OmegaConf

from aeframe.errors import AeframeError

_SWEEP_FOLDER = "${root}/sweeps/${oc.env:AEFRAME_RUN_ID,sweep}"
_EXPECTED = {
    "run.dir": (".", "a run makes its own folder", "set folder=PATH, or root=PATH for the folder of all runs"),
    "sweep.dir": (_SWEEP_FOLDER, "the folder of a sweep is a setting", "set folder=PATH, or root=PATH for all runs"),
    "sweep.subdir": (".", "the run of each point has a folder NUMBER-MODEL-DATA", "set folder=PATH for the sweep"),
    "output_subdir": (None, "the run folder has config.yaml and overrides.yaml", "leave it out"),
    "job.chdir": (False, "a run stays in the working folder", "set folder=PATH for its files"),
}
"""Values of ``train.yaml`` by key below ``hydra``: why another has no effect, and what to do instead."""
_LOGGING = ("job_logging", "hydra_logging")


def check_hydra_settings(config: DictConfig) -> None:
    """Check the node ``hydra`` of a composed config, wherever its values come from.

    Raises:
        AeframeError: A setting of Hydra's that has no effect; the message names the setting that has.
    """
    hydra: Any = OmegaConf.to_container(config.hydra, resolve=False)
    for key, (expected, reason, step) in _EXPECTED.items():
        section, _, name = key.rpartition(".")
        found = (hydra[section] if section else hydra)[name]
        if found != expected:
            raise AeframeError(f"hydra.{key}={found} has no effect, since {reason}; {step}")
    for key in _LOGGING:
        is_set = any(line.partition("=")[0].startswith(f"hydra.{key}") for line in hydra["overrides"]["hydra"])
        if is_set or hydra["runtime"]["choices"].get(f"hydra/{key}") != "none":
            raise AeframeError(
                f"hydra/{key} has no effect, since a run writes log.txt and metrics.csv into its folder; leave it out "
                "(verbose=false prints less)"
            )
