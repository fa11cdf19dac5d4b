"""One job of Hydra: a single run, or one point of a sweep in whatever process its launcher chose."""

from __future__ import annotations

import sys
from dataclasses import dataclass

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from aeframe.errors import AeframeError
from aeframe.experiment.compose import resolve
from aeframe.experiment.loader import point_name
from aeframe.experiment.resume import continued, resumes


@dataclass(frozen=True, slots=True)
class Refusal:
    """What a job returns when it ended with something the user can mend, which it has said already."""

    sentence: str


def job(config: DictConfig) -> Refusal | None:
    """Train one run of a composed config; other points of a sweep go on when this one is refused."""
    hydra = HydraConfig.get()
    # Hydra numbers the jobs of a sweep, and no others.
    number = None if OmegaConf.is_missing(hydra.job, "num") else int(hydra.job.num)
    try:
        words = list(hydra.overrides.task)
        plain = continued(words) if resumes(words) else resolve(config)
        # Lightning takes seconds to import: a misspelt word is answered before.
        from aeframe.experiment.workflow import train

        train(plain, job=number, asked=words)
    except AeframeError as error:
        where = "" if number is None else f"{point_name(hydra.overrides.task)}: "
        refusal = Refusal(f"{where}{error}")
        print(f"error: {refusal.sentence}", file=sys.stderr)
        return refusal
    return None
