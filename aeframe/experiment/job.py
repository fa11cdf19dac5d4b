"""One job of Hydra: a single run, or one point of a sweep in whatever process its launcher chose."""

from __future__ import annotations

import sys
from dataclasses import dataclass

from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from aeframe.errors import AeframeError
from aeframe.experiment.compose import overrides_of, resolve
from aeframe.experiment.identity import exported_run_id
from aeframe.experiment.loader import Loader, point_name


@dataclass(frozen=True, slots=True)
class UserError:
    """What a job returns when it ended with an error of its user, already printed."""

    sentence: str


def job(config: DictConfig) -> float | UserError:
    """Train one run of a composed config, and return its monitored number, which a sweeper optimizes.

    A run that is refused returns its error, so that the other points of a sweep are trained.
    """
    hydra = HydraConfig.get()
    # Hydra numbers the jobs of a sweep, and no others.
    number = None if OmegaConf.is_missing(hydra.job, "num") else int(hydra.job.num)
    overrides = overrides_of(hydra)
    try:
        plain = resolve(config, overrides, _loader())
        # Lightning takes seconds to import: a misspelt override is answered before.
        from aeframe.experiment.workflow import train

        with exported_run_id():
            return train(plain, job=number, overrides=overrides).monitored
    except AeframeError as error:
        where = "" if number is None else f"{point_name(overrides)}: "
        refused = UserError(f"{where}{error}")
        print(f"error: {refused.sentence}", file=sys.stderr)
        return refused


def _loader() -> Loader:
    """Return the loader of this command; a launcher's process may have none."""
    application = GlobalHydra.instance()
    found = application.config_loader() if application.is_initialized() else None
    return found if isinstance(found, Loader) else Loader()
